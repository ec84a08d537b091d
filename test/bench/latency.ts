import { join } from 'node:path';
import { startStack } from '../../deploy/local/stack.ts';
import type { Bench } from './arguments.ts';
import { createNeurons, type Target } from './cascade/neurons.ts';
import { eventBody } from './cascade/event-body.ts';
import { sendLines } from './ingest/sender.ts';
import { startBareTemporal } from './latency/bare-temporal.ts';

/** Signals a second that stream in while callers wait. */
const BACKGROUND_RATE = 2000;

/** Of each kind before anything counts. */
const WARM = 100;
/** From an answer to the next call, ms: a run ends after its answer, and a caller that went on at once would measure the end of the run before too. */
const PAUSE_MS = 40;
/** Callers alone take turns with the bare library, so that whatever else the machine does meets both. */
const TURNS = 10;

/**
 * One signal with `wait=true` through three layers of rules to its decision in the response, one caller after the other with {@link PAUSE_MS}
 * between them: alone, and while batches of signals stream in. Limit, from the same run: the bare Temporal client and worker, where an update that starts its workflow is
 * answered by a local activity that does nothing. `ratioToBare` is of the medians.
 * Options: `--requests N` (each, default 200), `--rate N` signals a second beside them (default 2,000).
 */
export const run: Bench = async (args) => {
  const requests = args.number('requests', 200);
  const rate = args.number('rate', BACKGROUND_RATE);
  const stack = await startStack({
    settings: { HAL9_DATA: join(args.folder, 'data'), HAL9_PORT: '0' },
    processes: ['api', 'core', 'dispatcher'],
    progress: args.progress,
    signal: args.signal,
  });
  const bare = await startBareTemporal(stack.temporalAddress, stack.temporalNamespace);
  try {
    const apiKey = stack.first?.apiKey;
    if (apiKey === undefined) throw new Error('the stack is not new');
    const target = { url: stack.url, apiKey };
    await createNeurons(target);
    const wait = (name: string) => (n: number) => waited(target, `${name}-${String(n)}`, args.signal);
    const plain = (): Promise<void> => bare.answered();
    await times(WARM, wait('warm'));
    await times(WARM, plain);
    const waits: number[] = [];
    const limits: number[] = [];
    for (let turn = 0; turn < TURNS; turn++) {
      waits.push(...(await times(Math.ceil(requests / TURNS), wait(`alone-${String(turn)}`))));
      limits.push(...(await times(Math.ceil(requests / TURNS), plain)));
    }
    const [alone, limit] = [latency(waits), latency(limits)];
    args.progress(`alone: p50 ${alone.p50Ms.toFixed(1)} ms, p95 ${alone.p95Ms.toFixed(1)} ms; bare Temporal: p50 ${limit.p50Ms.toFixed(1)} ms, p95 ${limit.p95Ms.toFixed(1)} ms`);
    const stream = background(target, rate, args.signal);
    const busy = latency(await times(requests, wait('busy')));
    const sent = await stream.stop();
    args.progress(`while ${String(sent)} signals streamed in: p50 ${busy.p50Ms.toFixed(1)} ms, p95 ${busy.p95Ms.toFixed(1)} ms`);
    return { ...alone, bareP50Ms: limit.p50Ms, bareP95Ms: limit.p95Ms, ratioToBare: alone.p50Ms / limit.p50Ms, whileBatchesRun: { ...busy, signalsPerSecond: rate, signals: sent }, requests };
  } finally {
    await bare.close();
    await stack.stop();
  }
};

interface Latency {
  readonly p50Ms: number;
  readonly p95Ms: number;
  readonly maxMs: number;
}

/** Does `work` so often, one after the other with a pause after each. @returns how long each took, ms. */
async function times(count: number, work: (n: number) => Promise<void>): Promise<number[]> {
  const taken: number[] = [];
  for (let n = 0; n < count; n++) {
    const began = performance.now();
    await work(n);
    taken.push(performance.now() - began);
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
  return taken;
}

async function waited({ url, apiKey }: Target, id: string, signal: AbortSignal): Promise<void> {
  const response = await fetch(`${url}/v1/signals?wait=true`, {
    method: 'POST',
    headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' },
    body: JSON.stringify({ id, source: 'bench/caller', type: 'bench.reading', subject: 'caller', data: { value: 95.5 } }),
    signal,
  });
  const text = await response.text();
  if (response.status !== 200 || !text.includes('cool caller')) throw new Error(`answered ${String(response.status)}: ${text.slice(0, 300)}`);
}

function latency(taken: readonly number[]): Latency {
  const sorted = taken.toSorted((a, b) => a - b);
  const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
  return { p50Ms: at(0.5), p95Ms: at(0.95), maxMs: at(1) };
}

/** Sends signals at a steady rate until it is stopped. */
function background(target: Target, rate: number, signal: AbortSignal): { stop(): Promise<number> } {
  const end = new AbortController();
  let sent = 0;
  const running = (async () => {
    for (let round = 0; !end.signal.aborted; round++) {
      signal.throwIfAborted();
      const began = performance.now();
      await sendLines(target, eventBody(`background-${String(round)}`, { from: 0, to: Math.round(rate / 4), emitShare: 0.01 }));
      sent += Math.round(rate / 4);
      await new Promise((resolve) => setTimeout(resolve, Math.max(0, 250 - (performance.now() - began))));
    }
  })();
  return {
    async stop() {
      end.abort();
      await running;
      return sent;
    },
  };
}
