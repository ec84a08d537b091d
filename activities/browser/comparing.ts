import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { extname } from 'node:path';
import { Worker } from 'node:worker_threads';
import type { BaselinePlace, BrowserBaseline, BrowserBaselineStore } from '../../database/browser-baselines.ts';
import type { SessionHold } from '../../database/browser-sessions.ts';
import { isBlobRef, type BlobStore } from '../../platform/blobs/blob-store.ts';
import { labelled, sizeOf, type PictureSize } from '../../platform/browser/png.ts';
import type { LeafOf } from '../../schemas/browser/flow.ts';
import { HalError } from '../../schemas/errors.ts';
import { parseRunId } from '../../schemas/names/workflow-id.ts';
import { stepFailed } from './browser-error.ts';
import { ComparisonFailed, type Compared } from './compared.ts';
import type { DifferenceTask } from './difference-thread.ts';
import type { PictureDifference } from './picture-difference.ts';
import { SessionLost } from './session-journal.ts';
import { steadyPicture } from './steady-picture.ts';

/** Larger pictures take too much memory: four bytes a pixel, four times. */
const MOST_PIXELS = 16_000_000;

/** Where baselines are, and whose step asks. */
export interface ComparingParts {
  readonly store: Pick<BrowserBaselineStore, 'find' | 'create'>;
  readonly blobs: Pick<BlobStore, 'put' | 'get' | 'delete'>;
  readonly hold: SessionHold;
  readonly flow: string;
  readonly viewport: string;
  readonly runId: string;
  /** The execution of the step. */
  readonly stepKey: string;
}

/** How the page is looked at. */
export interface Shooting {
  readonly shoot: () => Promise<Buffer>;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/** A baseline with its bytes. */
interface Known {
  readonly row: BrowserBaseline;
  readonly picture: Buffer;
}

/**
 * Takes a picture of a page that stands still and compares it with its baseline; without one it becomes it.
 * @throws {ComparisonFailed} PictureDiffers, or StepFailed where the flow wants a baseline and there is none.
 * @throws {BrowserError} StepFailed for a page that does not stand still, or a picture that is too large.
 */
export async function compareWithBaseline(parts: ComparingParts, step: LeafOf<'compare'>, { shoot, timeoutMs, signal }: Shooting): Promise<Compared> {
  const place = { flow: parts.flow, name: step.baseline, viewport: parts.viewport };
  const row = await parts.store.find(parts.hold.orgId, place);
  const known = row === undefined ? undefined : await knownOf(parts, row);
  const judge = async (picture: Buffer, against: Known): Promise<Compared> => {
    const outcome = await compared(step, against, picture, signal);
    return mayKeep(against.row, parts.runId) ? outcome : { actual: outcome.actual, comparison: outcome.comparison };
  };
  let first: Compared | undefined;
  const actual = await steadyPicture({
    shoot,
    timeoutMs,
    signal,
    expected: async (picture) => {
      assertComparable(picture);
      if (known === undefined) return false;
      first = await judge(picture, known);
      return first.comparison.outcome === 'same';
    },
    same: async (one, other) => one.equals(other) || (sameSize(sizeOf(one), sizeOf(other)) && (await difference(one, other, step.threshold, signal)).different === 0),
  });
  assertComparable(actual);
  if (known !== undefined) return told(parts, known.row, first !== undefined && actual.equals(first.actual) ? first : await judge(actual, known));
  const alone: Compared = { actual, comparison: { name: step.baseline, viewport: place.viewport, outcome: 'missing', size: sizeOf(actual), baselineSize: null, different: 0, most: mostOf(step, sizeOf(actual)), threshold: step.threshold } };
  if (step.ifNew === 'fail') throw new ComparisonFailed('StepFailed', `there is no baseline "${step.baseline}" of ${place.viewport}: look at the picture in the evidence, and accept it`, alone);
  const counts = await create(parts, place, actual, row);
  if (counts === undefined) return { ...alone, comparison: { ...alone.comparison, outcome: 'created' } };
  // Another session was faster: its picture counts.
  return told(parts, counts.row, await judge(actual, counts));
}

/** Undefined when its blob is gone: with the key of the person whom it was about, or cut off while it was deleted. */
async function knownOf({ blobs, hold }: ComparingParts, row: BrowserBaseline): Promise<Known | undefined> {
  if (!isBlobRef(row.picture)) return undefined;
  const picture = await blobs.get(hold.orgId, row.picture).catch((error: unknown) => {
    if (error instanceof HalError && error.type === 'NotFound') return undefined;
    throw error;
  });
  return picture === undefined ? undefined : { row, picture };
}

/** Makes the picture the baseline. Answers the one that counts when that is another one. */
async function create(parts: ComparingParts, place: BaselinePlace, actual: Buffer, gone: BrowserBaseline | undefined): Promise<Known | undefined> {
  const { store, blobs, hold, runId, stepKey } = parts;
  const id = randomUUID();
  const picture = await blobs.put(hold.orgId, labelled(actual, id));
  const counts = await store.create(hold, { ...place, id, ...sizeOf(actual), picture, runId, stepKey }, gone);
  if (counts?.id === id) return undefined;
  await blobs.delete(hold.orgId, picture);
  if (counts === undefined) throw new SessionLost();
  const known = await knownOf(parts, counts);
  if (known === undefined) throw stepFailed('the baseline was deleted while the step was taken');
  return known;
}

/** @throws {ComparisonFailed} PictureDiffers. */
function told({ runId, stepKey }: ComparingParts, row: BrowserBaseline, outcome: Compared): Compared {
  const { comparison } = outcome;
  const { size, baselineSize, different, most } = comparison;
  // Taken again after a crash, the step finds the baseline that it made itself.
  if (comparison.outcome === 'same') return !row.accepted && row.runId === runId && row.stepKey === stepKey ? { actual: outcome.actual, comparison: { ...comparison, outcome: 'created', baselineSize: null } } : outcome;
  const how = baselineSize !== null && !sameSize(size, baselineSize) ? `it is ${inWords(size)} and its baseline ${inWords(baselineSize)} pixels` : `${String(different)} of ${String(size.width * size.height)} pixels differ, ${String(most)} may`;
  throw new ComparisonFailed('PictureDiffers', `the picture "${comparison.name}" differs from its baseline: ${how}`, outcome);
}

async function compared(step: LeafOf<'compare'>, { row: { id, name, viewport }, picture: baseline }: Known, actual: Buffer, signal: AbortSignal): Promise<Compared> {
  const [size, baselineSize] = [sizeOf(actual), sizeOf(baseline)];
  const most = mostOf(step, size);
  const numbers = (different: number, outcome: 'same' | 'differs') => ({ name, viewport, outcome, size, baselineSize, different, most, threshold: step.threshold });
  // Chromium encodes equal pixels to equal bytes: most pictures need no second look.
  if (labelled(actual, id).equals(baseline)) return { actual, comparison: numbers(0, 'same') };
  const { different, picture } = await difference(actual, baseline, step.threshold, signal);
  return { actual, ...(different === 0 && sameSize(size, baselineSize) ? {} : { baseline, difference: picture }), comparison: numbers(different, sameSize(size, baselineSize) && different <= most ? 'same' : 'differs') };
}

/** Whether the evidence may hold the baseline: not one that shows a person where the run is not about them, or it would stay when they are erased. */
function mayKeep({ runId: takenBy }: BrowserBaseline, runId: string): boolean {
  const shown = parseRunId(takenBy)?.keyId;
  return shown === undefined || shown === parseRunId(runId)?.keyId;
}

/** Pixels that may differ. */
function mostOf({ maxDifferentPixels, maxDifferentRatio }: LeafOf<'compare'>, { width, height }: PictureSize): number {
  if (maxDifferentPixels === undefined && maxDifferentRatio === undefined) return 0;
  return Math.min(maxDifferentPixels ?? Infinity, maxDifferentRatio === undefined ? Infinity : Math.floor(maxDifferentRatio * width * height));
}

/** @throws {BrowserError} StepFailed for a picture that takes too much memory. */
function assertComparable(picture: Buffer): void {
  const { width, height } = sizeOf(picture);
  if (width * height > MOST_PIXELS) throw stepFailed(`the picture has ${inWords({ width, height })} pixels, and more than ${String(MOST_PIXELS)} are not compared: compare an element, or not the full page`);
}

/** On a thread of its own, which ends with the signal. */
async function difference(actual: Uint8Array, baseline: Uint8Array, threshold: number, signal: AbortSignal): Promise<PictureDifference> {
  signal.throwIfAborted();
  const workerData: DifferenceTask = { actual, baseline, threshold };
  // The entry has this file's extension: TypeScript in the repository, JavaScript in a published package.
  const thread = new Worker(new URL(`./difference-thread${extname(import.meta.filename)}`, import.meta.url), { workerData, execArgv: [] });
  try {
    const [answer]: PictureDifference[] = await once(thread, 'message', { signal });
    if (answer === undefined) throw new HalError('Internal', 'the comparison answered nothing');
    return answer;
  } finally {
    await thread.terminate();
  }
}

function sameSize(one: PictureSize, other: PictureSize): boolean {
  return one.width === other.width && one.height === other.height;
}

function inWords({ width, height }: PictureSize): string {
  return `${String(width)} x ${String(height)}`;
}
