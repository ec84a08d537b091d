import { join } from 'node:path';
import { startStack } from '../../deploy/local/stack.ts';
import type { Bench } from './arguments.ts';
import { createNeurons, type Target } from './cascade/neurons.ts';
import { eventBody } from './cascade/event-body.ts';
import { sendLines } from './ingest/sender.ts';

/** Signals a second that stream in while callers wait. */
const BACKGROUND_RATE = 2000;

/**
 * One signal with `wait=true` through three layers of rules to its decision in the response, one caller after the other: alone, and while
 * batches of signals stream in. Options: `--requests N` (each, default 200), `--rate N` signals a second beside them (default 2,000).
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
  try {
    const apiKey = stack.first?.apiKey;
    if (apiKey === undefined) throw new Error('the stack is not new');
    const target = { url: stack.url, apiKey };
    await createNeurons(target);
    await callers(target, 'warm', 30, args.signal);
    const alone = await callers(target, 'alone', requests, args.signal);
    args.progress(`alone: p50 ${alone.p50Ms.toFixed(1)} ms, p95 ${alone.p95Ms.toFixed(1)} ms`);
    const stream = background(target, rate, args.signal);
    const busy = await callers(target, 'busy', requests, args.signal);
    const sent = await stream.stop();
    args.progress(`while ${String(sent)} signals streamed in: p50 ${busy.p50Ms.toFixed(1)} ms, p95 ${busy.p95Ms.toFixed(1)} ms`);
    return { ...alone, whileBatchesRun: { ...busy, signalsPerSecond: rate, signals: sent }, requests };
  } finally {
    await stack.stop();
  }
};

interface Latency {
  readonly p50Ms: number;
  readonly p95Ms: number;
  readonly maxMs: number;
}

async function callers(target: Target, name: string, requests: number, signal: AbortSignal): Promise<Latency> {
  const times: number[] = [];
  for (let n = 0; n < requests; n++) {
    const began = performance.now();
    const response = await fetch(`${target.url}/v1/signals?wait=true`, {
      method: 'POST',
      headers: { authorization: `Bearer ${target.apiKey}`, 'content-type': 'application/json' },
      body: JSON.stringify({ id: `${name}-wait-${String(n)}`, source: 'bench/caller', type: 'bench.reading', subject: 'caller', data: { value: 95.5 } }),
      signal,
    });
    const text = await response.text();
    times.push(performance.now() - began);
    if (response.status !== 200 || !text.includes('cool caller')) throw new Error(`answered ${String(response.status)}: ${text.slice(0, 300)}`);
  }
  times.sort((a, b) => a - b);
  const at = (share: number): number => times[Math.min(times.length - 1, Math.floor(times.length * share))] ?? Number.NaN;
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
