import { setTimeout as sleep } from 'node:timers/promises';
import { stepFailed } from './browser-error.ts';

/** Before each picture, ms; as Playwright's `toHaveScreenshot` waits. */
const WAITS_MS = [0, 100, 250, 500];
const LATER_WAITS_MS = 1000;

export interface SteadyPictureOptions {
  readonly shoot: () => Promise<Buffer>;
  /** Whether two pictures in a row show the same. */
  readonly same: (one: Buffer, other: Buffer) => Promise<boolean>;
  /** Whether the first picture is as it should be: then no second one is needed. */
  readonly expected: (picture: Buffer) => Promise<boolean>;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/**
 * A picture of a page that stands still: the first if it is as expected, else the first that is the same as the one before it.
 * @throws {BrowserError} StepFailed when the page does not stand still in time.
 */
export async function steadyPicture({ shoot, same, expected, timeoutMs, signal }: SteadyPictureOptions): Promise<Buffer> {
  const deadline = Date.now() + timeoutMs;
  let before: Buffer | undefined;
  for (let look = 0; ; look += 1) {
    const waitMs = WAITS_MS[look] ?? LATER_WAITS_MS;
    // One look is made at least: a picture takes its time on a busy machine.
    if (look > 1 && Date.now() + waitMs > deadline) throw stepFailed('the page does not stand still: no two pictures in a row were the same; `mask` what changes by itself');
    await sleep(waitMs, undefined, { signal }).catch(() => undefined); // says less than the signal's reason
    signal.throwIfAborted();
    const picture = await shoot();
    if (before === undefined ? await expected(picture) : await same(before, picture)) return picture;
    before = picture;
  }
}
