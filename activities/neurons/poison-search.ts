import type { Layer } from '../../schemas/names/layers.ts';
import type { Poison } from './stage-evaluation.ts';
import { ThreadDied, type ThreadPool } from './thread-pool.ts';

/** Threads one search may cost; a batch with more poison than that is given up as a whole. */
const MAX_CRASHES = 64;

interface Place {
  readonly orgId: string;
  readonly batchId: string;
  readonly layer: Layer;
}

/**
 * Finds the signals that kill an evaluation thread (out of memory, a regular expression without end, a crash of the engine) by
 * halving the batch until single ones remain.
 * @param options `timeoutMs`: time one probe may take before it counts as a crash.
 * @returns empty when no single signal does it, so that the batch as a whole is too large.
 */
export async function findPoison(pool: ThreadPool, { orgId, batchId, layer }: Place, options: { readonly timeoutMs: number; readonly signal: AbortSignal }): Promise<Poison[]> {
  const place = { orgId, batchId, layer };
  const refs = await pool.run<'refs'>({ kind: 'refs', ...place }, options);
  const poison: Poison[] = [];
  let crashes = 0;
  const crashOf = async (from: number, to: number): Promise<string | undefined> => {
    try {
      await pool.run<'probe'>({ kind: 'probe', ...place, from, to }, options);
      return undefined;
    } catch (error) {
      if (!(error instanceof ThreadDied)) throw error;
      crashes += 1;
      return error.message;
    }
  };
  const search = async (from: number, to: number): Promise<void> => {
    if (from >= to || crashes >= MAX_CRASHES) return;
    const cause = await crashOf(from, to);
    if (cause === undefined) return;
    const ref = refs[from];
    if (to - from === 1 && ref !== undefined) {
      poison.push({ ref, cause: `the evaluation thread ended on this signal: ${cause}` });
      return;
    }
    const middle = from + Math.floor((to - from) / 2);
    await search(from, middle);
    await search(middle, to);
  };
  await search(0, refs.length);
  return crashes >= MAX_CRASHES ? [] : poison;
}
