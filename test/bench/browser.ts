import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { launchChromium } from '../../activities/browser/chromium.ts';
import { Hal9Client } from '../../clients/typescript/index.ts';
import { startStack, type Stack } from '../../deploy/local/stack.ts';
import { BOOKING_LOGIN, bookingFlow, startBookingSite, type BookingSite } from '../browser/sites/booking.ts';
import type { Bench } from './arguments.ts';
import { bytesBelow } from './browser/memory.ts';
import { playPlainly } from './browser/plain-actions.ts';

const GIB = 1024 ** 3;
const POLL_MS = 100;

/** How a round is played: by HAL9 or a plain script, with pictures or without. */
interface Side {
  readonly times: number[][];
  play(reference: string): Promise<number[]>;
}

/**
 * The twenty actions of a sign-in and a booking through the shipped processes, and the same ones by a plain Playwright script, in turns:
 * without evidence and with the default one, of which the script takes the same pictures. The time of an action is that from its start to the
 * start of the next, so all that lies between two steps (journal, checkpoint, pictures, proxy) is in it. `addedP50Ms`: the median over the
 * actions of the difference of their medians, with the default evidence; `contextReadyMs`: the median time from a session's first row to its first step
 * in a warm worker; `sessionsPerGb`: sessions open at once, by the memory of all Chromium processes.
 *
 * Options: `--rounds` of each kind (8), `--sessions` open at once for the memory (8), `--ready` sessions one after the other for the time to the first step (10).
 */
export const run: Bench = async (args) => {
  const rounds = args.number('rounds', 8);
  const sessions = args.number('sessions', 8);
  const site = await startBookingSite();
  const stack = await startStack({
    settings: { HAL9_DATA: join(args.folder, 'data'), HAL9_PORT: '0', HAL9_ALLOW_PRIVATE_ADDRESSES: 'true', HAL9_BROWSER_SLOTS: String(sessions) },
    processes: ['api', 'core', 'dispatcher', 'browser'],
    progress: args.progress,
    signal: args.signal,
  });
  const plain = await launchChromium({ executablePath: process.env['HAL9_CHROMIUM'] });
  try {
    const client = new Hal9Client({ url: stack.url, credential: stack.first?.apiKey ?? '' });
    await client.call('createConnection', { params: { test: 'false' }, body: { name: 'booking', settings: { kind: 'website', origins: [site.url], ...BOOKING_LOGIN } } });
    const bare = { ...bookingFlow(site.url), evidence: 'none' };
    const flow = bookingFlow(site.url);
    const sides: Record<'plain' | 'hal9' | 'plainPictures' | 'hal9Pictures', Side> = {
      plain: { times: [], play: (reference) => playPlainly(plain, bare, reference, false) },
      hal9: { times: [], play: (reference) => playByHal9(client, bare, reference) },
      plainPictures: { times: [], play: (reference) => playPlainly(plain, flow, reference, true) },
      hal9Pictures: { times: [], play: (reference) => playByHal9(client, flow, reference) },
    };
    for (let round = 0; round <= rounds; round += 1) {
      for (const [name, side] of Object.entries(sides)) {
        args.signal.throwIfAborted();
        const times = await side.play(`${name}-${String(round)}`);
        // The first round warms both up.
        if (round > 0) side.times.push(times);
      }
      args.progress(`round ${String(round)}: ${Object.entries(sides).map(([name, { times }]) => `${name} ${String(Math.round(sum(times.at(-1) ?? [])))} ms`).join(', ')}`);
    }
    assertBooked(site, 4 * (rounds + 1));
    const ready = await readyTimes(client, site, args.number('ready', 10));
    const sessionsPerGb = await openAtOnce(client, stack, site, sessions, args.signal);
    const withEvidence = compared(sides.hal9Pictures.times, sides.plainPictures.times);
    return {
      addedP50Ms: withEvidence.addedP50Ms,
      actionP50Ms: withEvidence.actionP50Ms,
      actionP95Ms: withEvidence.actionP95Ms,
      contextReadyMs: round(median(ready)),
      sessionsPerGb,
      withEvidence,
      withoutEvidence: compared(sides.hal9.times, sides.plain.times),
      rounds,
    };
  } finally {
    await plain.close();
    await stack.stop();
    await site.close();
  }
};

async function playByHal9(client: Hal9Client, flow: unknown, reference: string): Promise<number[]> {
  const { runId } = await client.runs.start('browser', { flow, input: { reference } });
  await client.runs.result(runId);
  const { items } = await client.call('listBrowserSteps', { params: { id: runId, limit: 100 } });
  const starts = items.map(({ startedAt }) => Date.parse(startedAt));
  // Of the last action the end is its own: what comes after it no step waits for.
  return items.map(({ startedAt, endedAt }, index) => (starts[index + 1] ?? Date.parse(endedAt)) - Date.parse(startedAt));
}

/** From the row of a session to its first step, one short session after the other: the pool is warm from the second on. */
async function readyTimes(client: Hal9Client, site: BookingSite, sessions: number): Promise<number[]> {
  const times: number[] = [];
  for (let index = 0; index <= sessions; index += 1) {
    const { runId } = await client.runs.start('browser', { flow: { evidence: 'none', steps: [{ do: 'navigate', url: `${site.url}/login` }, { do: 'assert', that: { text: 'Sign in' } }] } });
    await client.runs.result(runId);
    const { session, items } = await client.call('listBrowserSteps', { params: { id: runId, limit: 10 } });
    if (index > 0) times.push(Date.parse(items[0]?.startedAt ?? '') - Date.parse(session.createdAt));
  }
  return times;
}

/** Opens so many sessions and holds them on a page of the site until all are there. */
async function openAtOnce(client: Hal9Client, stack: Stack, site: BookingSite, sessions: number, signal: AbortSignal): Promise<number> {
  const flow = { evidence: 'none', steps: [{ do: 'navigate', url: `${site.url}/login` }, { do: 'pause', seconds: 600 }] };
  const ids: string[] = [];
  for (let index = 0; index < sessions; index += 1) ids.push((await client.runs.start('browser', { flow })).runId);
  for (const id of ids) {
    for (;;) {
      signal.throwIfAborted();
      const steps = await client.call('listBrowserSteps', { params: { id, limit: 10 } }).catch(() => undefined); // not taken up yet
      if (steps !== undefined && steps.items.length > 0) break;
      await sleep(POLL_MS);
    }
  }
  const worker = stack.processes().find(({ name }) => name === 'browser')?.pid;
  if (worker === undefined) throw new Error('there is no browser worker');
  const bytes = await bytesBelow(worker);
  for (const id of ids) await client.call('cancelRun', { params: { id } });
  return round(sessions / (bytes / GIB));
}

function compared(hal9: readonly number[][], plain: readonly number[][]): { addedP50Ms: number; addedMeanMs: number; actionP50Ms: number; actionP95Ms: number; plainP50Ms: number; plainP95Ms: number } {
  const at = (side: readonly number[][], action: number): number => median(side.map((times) => times[action] ?? Number.NaN));
  const added = (hal9[0] ?? []).map((_, action) => at(hal9, action) - at(plain, action));
  const [all, allPlain] = [hal9.flat(), plain.flat()];
  return { addedP50Ms: round(median(added)), addedMeanMs: round(sum(added) / added.length), actionP50Ms: round(median(all)), actionP95Ms: round(share(all, 0.95)), plainP50Ms: round(median(allPlain)), plainP95Ms: round(share(allPlain, 0.95)) };
}

function assertBooked(site: BookingSite, wanted: number): void {
  const counts = [...site.bookings.values()];
  if (counts.length !== wanted || counts.some((count) => count !== 1)) throw new Error(`${String(counts.length)} of ${String(wanted)} bookings were made, the most ${String(Math.max(...counts))} times`);
}

function share(values: readonly number[], part: number): number {
  const sorted = values.toSorted((one, other) => one - other);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN;
}

function median(values: readonly number[]): number {
  return share(values, 0.5);
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
