import { describe, expect, it } from 'vitest';
import { steadyPicture } from '../../activities/browser/steady-picture.ts';

/** A page that shows these, one after the other, and then the last one for ever. */
function page(...shows: readonly string[]): { shoot: () => Promise<Buffer>; looks: () => number } {
  let looks = 0;
  return { looks: () => looks, shoot: async () => Buffer.from(shows[Math.min(looks++, shows.length - 1)] ?? '') };
}
const same = async (one: Buffer, other: Buffer): Promise<boolean> => one.equals(other);
const common = { same, timeoutMs: 10_000, signal: new AbortController().signal };

describe('a picture of a page that stands still', () => {
  it('is the first when it is as expected', async () => {
    const { shoot, looks } = page('right', 'wrong');
    expect(String(await steadyPicture({ ...common, shoot, expected: async (picture) => String(picture) === 'right' }))).toBe('right');
    expect(looks()).toBe(1);
  });

  it('is otherwise the first that is the same as the one before', async () => {
    const { shoot, looks } = page('a', 'b', 'c', 'c', 'd');
    expect(String(await steadyPicture({ ...common, shoot, expected: async () => false }))).toBe('c');
    expect(looks()).toBe(4);
  });

  it('is none when the page never does', async () => {
    let turn = 0;
    const shoot = async (): Promise<Buffer> => Buffer.from(String(turn++));
    await expect(steadyPicture({ ...common, timeoutMs: 300, shoot, expected: async () => false })).rejects.toMatchObject({ type: 'StepFailed', message: expect.stringContaining('does not stand still') as string });
  });

  it('is not waited for any more once the session is over', async () => {
    const over = new AbortController();
    const shoot = async (): Promise<Buffer> => {
      over.abort(new Error('over'));
      return Buffer.from('x');
    };
    await expect(steadyPicture({ ...common, signal: over.signal, shoot, expected: async () => false })).rejects.toThrow('over');
  });
});
