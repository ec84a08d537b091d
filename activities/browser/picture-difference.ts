import pixelmatch from 'pixelmatch';
import { PNG } from 'pngjs';
import type { PictureSize } from '../../platform/browser/png.ts';

/** How two pictures differ. */
export interface PictureDifference {
  /** Pixels that differ; of pictures of two sizes also those that only one of them has. */
  readonly different: number;
  /** PNG of both, faint, with what differs in red. */
  readonly picture: Uint8Array;
}

const RED = [255, 0, 0, 255] as const;

/**
 * Compares two PNGs pixel by pixel, leaving out what only smooths edges. Takes some 0.3 µs a pixel, decoding and encoding included, on the thread that calls it.
 * @param threshold how much a pixel may differ before it counts, from 0 to 1, in the metric of pixelmatch (Kotsarenko and Ramos 2010, YIQ).
 */
export function differenceOf(actual: Uint8Array, baseline: Uint8Array, threshold: number): PictureDifference {
  const [one, other] = [decoded(actual), decoded(baseline)];
  const common = { width: Math.min(one.width, other.width), height: Math.min(one.height, other.height) };
  const all = { width: Math.max(one.width, other.width), height: Math.max(one.height, other.height) };
  const both = new PNG(common);
  const differing = pixelmatch(cropped(one, common).data, cropped(other, common).data, both.data, common.width, common.height, { threshold });
  const shown = new PNG(all);
  shown.data.fill(Buffer.from(RED));
  PNG.bitblt(both, shown, 0, 0, common.width, common.height, 0, 0);
  return { different: differing + all.width * all.height - common.width * common.height, picture: PNG.sync.write(shown, { deflateLevel: 6 }) };
}

function decoded(png: Uint8Array): PNG {
  return PNG.sync.read(Buffer.from(png.buffer, png.byteOffset, png.byteLength));
}

function cropped(picture: PNG, { width, height }: PictureSize): PNG {
  if (picture.width === width && picture.height === height) return picture;
  const part = new PNG({ width, height });
  PNG.bitblt(picture, part, 0, 0, width, height, 0, 0);
  return part;
}
