import { PNG } from 'pngjs';
import { describe, expect, it } from 'vitest';
import { differenceOf } from '../../activities/browser/picture-difference.ts';
import { labelled, sizeOf } from '../../platform/browser/png.ts';

type Colour = readonly [number, number, number];
const WHITE: Colour = [255, 255, 255];
const RED = [255, 0, 0, 255];

/** A picture of one colour, with single pixels of others. */
function picture(width: number, height: number, colour: Colour, pixels: readonly { x: number; y: number; colour: Colour }[] = []): Buffer {
  const png = new PNG({ width, height });
  const paint = (at: number, [r, g, b]: Colour): void => png.data.set([r, g, b, 255], at * 4);
  for (let at = 0; at < width * height; at += 1) paint(at, colour);
  for (const { x, y, colour: other } of pixels) paint(y * width + x, other);
  return PNG.sync.write(png);
}

const shown = (png: Uint8Array): { size: number[]; pixel: (x: number, y: number) => number[] } => {
  const { width, height, data } = PNG.sync.read(Buffer.from(png));
  return { size: [width, height], pixel: (x, y) => [...data.subarray((y * width + x) * 4, (y * width + x) * 4 + 4)] };
};

describe('the difference of two pictures', () => {
  it('is counted in pixels and painted red', () => {
    const block = [10, 11, 12, 13].flatMap((x) => [10, 11, 12, 13].map((y) => ({ x, y, colour: [0, 0, 0] as const })));
    const { different, picture: painted } = differenceOf(picture(40, 30, WHITE, block), picture(40, 30, WHITE), 0.1);
    expect(different).toBe(16);
    expect(shown(painted).size).toEqual([40, 30]);
    expect(shown(painted).pixel(11, 11)).toEqual(RED);
    expect(shown(painted).pixel(30, 20)).not.toEqual(RED);
    expect(differenceOf(picture(40, 30, WHITE), picture(40, 30, WHITE), 0).different).toBe(0);
  });

  it('begins where the threshold says', () => {
    const [white, nearly] = [picture(8, 8, WHITE), picture(8, 8, [240, 240, 240])];
    expect(differenceOf(white, nearly, 0.01).different).toBe(64);
    expect(differenceOf(white, nearly, 0.1).different).toBe(0);
  });

  it('of two sizes is also what only one of them has', () => {
    const { different, picture: painted } = differenceOf(picture(10, 12, WHITE), picture(8, 14, WHITE), 0.1);
    expect(different).toBe(10 * 14 - 8 * 12);
    expect(shown(painted).size).toEqual([10, 14]);
    expect(shown(painted).pixel(9, 1)).toEqual(RED);
    expect(shown(painted).pixel(1, 13)).toEqual(RED);
    expect(shown(painted).pixel(1, 1)).not.toEqual(RED);
  });
});

describe('a picture with a label', () => {
  const png = picture(3, 2, [1, 2, 3]);

  it('shows the same and has other bytes than with any other label', () => {
    const [one, other] = [labelled(png, 'one'), labelled(png, 'other')];
    expect(one.equals(other)).toBe(false);
    expect(PNG.sync.read(one, { checkCRC: true }).data).toEqual(PNG.sync.read(png).data);
    expect(sizeOf(one)).toEqual({ width: 3, height: 2 });
  });

  it('has one label, the last', () => {
    expect(labelled(labelled(png, 'one'), 'other').equals(labelled(png, 'other'))).toBe(true);
  });

  it('must be a whole PNG', () => {
    expect(() => sizeOf(Buffer.from('GIF89a'))).toThrow('the picture is no PNG');
    expect(() => labelled(Buffer.from([0xff, 0xd8, 0xff]), 'x')).toThrow(RangeError);
    expect(() => labelled(png.subarray(0, png.length - 4), 'x')).toThrow('the picture is cut off');
  });
});
