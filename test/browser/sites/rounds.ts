import { isDeepStrictEqual } from 'node:util';
import type { Hal9Client } from '../../../clients/typescript/index.ts';
import { forum } from './forum.ts';
import { hotel } from './hotel.ts';
import { mailBox } from './mail-box.ts';
import { Mood } from './mood.ts';
import { startMoodySite } from './moody-server.ts';
import { shop } from './shop.ts';

const SITES = [shop, forum, mailBox, hotel];
/** A run that takes longer is not finished, ms. */
const RUN_MS = 300_000;

interface RoundsOptions {
  readonly client: Hal9Client;
  /** The sites take turns; each run has a seed of its own. */
  readonly runs: number;
  /** Runs at once. */
  readonly abreast: number;
  /** First seed. */
  readonly from?: number;
  readonly progress: (message: string) => void;
  readonly signal: AbortSignal;
}

interface Rounds {
  readonly runs: number;
  /** Ended with the right result, and the site knows of it exactly once. */
  readonly finished: number;
  readonly shareFinished: number;
  readonly averageActionMs: number;
  readonly actions: number;
  readonly failed: readonly { readonly site: string; readonly seed: number; readonly reason: string }[];
}

/** Runs the flows of the sites through the operation `browser`, each on a site of its own with another mood, and counts. */
export async function playRounds({ client, runs, abreast, from = 1, progress, signal }: RoundsOptions): Promise<Rounds> {
  const failed: { site: string; seed: number; reason: string }[] = [];
  let actions = 0;
  let tookMs = 0;
  let next = 0;
  const play = async (number: number): Promise<void> => {
    const seed = from + number;
    const site = SITES[number % SITES.length] ?? shop;
    const { name, outcome, times } = await playOnce(client, site, seed, signal);
    actions += times.length;
    tookMs += times.reduce((sum, time) => sum + time, 0);
    if (outcome !== undefined) failed.push({ site: name, seed, reason: outcome });
    progress(`${name} ${String(seed)}: ${outcome ?? 'finished'}, ${String(times.length)} actions`);
  };
  await Promise.all(Array.from({ length: abreast }, async () => {
    while (next < runs) {
      signal.throwIfAborted();
      next += 1;
      await play(next - 1);
    }
  }));
  return { runs, finished: runs - failed.length, shareFinished: (runs - failed.length) / runs, averageActionMs: Math.round(tookMs / Math.max(1, actions)), actions, failed };
}

/** Plays one flow. @returns why it is not finished, undefined when it is; ms of each action up to the beginning of the next. */
async function playOnce(client: Hal9Client, siteOf: (typeof SITES)[number], seed: number, signal: AbortSignal): Promise<{ name: string; outcome: string | undefined; times: readonly number[] }> {
  const mood = new Mood(String(seed));
  const site = siteOf(mood);
  const served = await startMoodySite(site, mood);
  try {
    const { runId } = await client.runs.start('browser', { flow: served.flow });
    const ended = await client.runs.result(runId, { limitMs: RUN_MS, signal }).then((result) => ({ result, reason: undefined }), (error: unknown) => ({ result: undefined, reason: error instanceof Error ? error.message : String(error) }));
    signal.throwIfAborted();
    const { items } = await client.call('listBrowserSteps', { params: { id: runId, limit: 100 } });
    const times = items.map(({ startedAt, endedAt }, index) => Date.parse(items[index + 1]?.startedAt ?? endedAt) - Date.parse(startedAt));
    return { name: site.name, outcome: ended.reason ?? reasonOf(ended.result, site), times };
  } finally {
    await served.close();
  }
}

function reasonOf(outcome: Awaited<ReturnType<Hal9Client['runs']['result']>> | undefined, site: ReturnType<typeof shop>): string | undefined {
  if (outcome?.status !== 'completed') return JSON.stringify(outcome);
  const { result } = outcome;
  const answered = typeof result === 'object' && result !== null && 'result' in result ? result.result : undefined;
  if (!isDeepStrictEqual(answered, site.expected)) return `it answered ${JSON.stringify(answered)}`;
  const times = site.happened();
  return times === 1 ? undefined : `the site knows of it ${String(times)} times`;
}
