import { join } from 'node:path';
import { Pool } from 'undici';
import { startStack } from '../../deploy/local/stack.ts';
import { StandardWebhook } from '../../platform/webhooks/standard-webhooks.ts';
import type { Bench } from './arguments.ts';
import { cpuSeconds } from './cascade/cpu-time.ts';

/** Connections a provider holds. */
const CONNECTIONS = 128;

/**
 * Signed deliveries (Standard Webhooks) to `POST /v1/hooks/{id}`, each answered once its signal and its receipt are committed. `perSecond`, `p50Ms`, `p99Ms`: at a fixed offered rate, each counted from the moment it was due, whether or not the one before was answered.
 * `maxPerSecond`: with all connections busy. `plainPerSecond`: its limit, the same as single signals with an API key, without signature and log.
 * `cpuMicroseconds`: CPU of each process for one delivery at the fixed rate, whatever else the machine does.
 * `warmUpP99Ms`: that of the first seconds of a new process, before and while V8 compiles; it compiles most a second time after 10,000 deliveries.
 * Options: `--rate N` (default 1,020), `--seconds N` (each part, default 10), `--warm N` (seconds before the first, default 30).
 */
export const run: Bench = async (args) => {
  const rate = args.number('rate', 1_020);
  const seconds = args.number('seconds', 10);
  const stack = await startStack({
    settings: { HAL9_DATA: join(args.folder, 'data'), HAL9_PORT: '0', HAL9_RATE_LIMIT: '0' },
    processes: ['api', 'core', 'dispatcher'],
    progress: args.progress,
    signal: args.signal,
  });
  const pool = new Pool(stack.url, { connections: CONNECTIONS });
  try {
    const apiKey = stack.first?.apiKey;
    if (apiKey === undefined) throw new Error('the stack is not new');
    const authorization = `Bearer ${apiKey}`;
    const hook = await make(pool, authorization);
    const signer = new StandardWebhook(hook.secret);
    const signed = (name: string) => async (n: number): Promise<void> => {
      const id = `${name}-${String(n)}`;
      const body = JSON.stringify({ type: 'bench.order', timestamp: new Date().toISOString(), data: { order: n, total: (n * 7919) % 1000, customer: `c-${String(n % 100)}` } });
      const at = Math.floor(Date.now() / 1000);
      await post(pool, hook.url, body, { 'webhook-id': id, 'webhook-timestamp': String(at), 'webhook-signature': signer.sign(id, at, body) });
    };
    const plain = async (n: number): Promise<void> =>
      post(pool, '/v1/signals', JSON.stringify({ id: `plain-${String(n)}`, source: 'bench', type: 'bench.order', data: { order: n, total: (n * 7919) % 1000, customer: `c-${String(n % 100)}` } }), { authorization });
    const warmUp = await offered(signed('warm'), rate, args.number('warm', 30), args.signal);
    const before = await cpuSeconds(stack.processes());
    const fixed = await offered(signed('fixed'), rate, seconds, args.signal);
    const cpuMicroseconds = Object.fromEntries([...(await cpuSeconds(stack.processes()))].map(([process, used]) => [process, Math.round(((used - (before.get(process) ?? 0)) * 1e6) / (rate * seconds))]));
    args.progress(`${String(rate)} a second offered: ${fixed.perSecond.toFixed(0)} answered, p50 ${fixed.p50Ms.toFixed(1)} ms, p99 ${fixed.p99Ms.toFixed(1)} ms`);
    const most = await saturated(signed('most'), seconds, args.signal);
    const limit = await saturated(plain, seconds, args.signal);
    return { ...fixed, offeredPerSecond: rate, maxPerSecond: most, plainPerSecond: limit, ratio: most / limit, warmUpP99Ms: warmUp.p99Ms, seconds, cpuMicroseconds };
  } finally {
    await pool.close();
    await stack.stop();
  }
};

interface Offered {
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

async function make(pool: Pool, authorization: string): Promise<{ url: string; secret: string }> {
  const { statusCode, body } = await pool.request({ method: 'POST', path: '/v1/webhooks', headers: { authorization, 'content-type': 'application/json' }, body: JSON.stringify({ name: 'bench', settings: { preset: 'standard' } }) });
  const answer: unknown = await body.json();
  if (statusCode !== 201 || typeof answer !== 'object' || answer === null || !('url' in answer) || !('secret' in answer)) throw new Error(`no webhook: ${String(statusCode)}`);
  return { url: String(answer.url), secret: String(answer.secret) };
}

async function post(pool: Pool, path: string, body: string, headers: Readonly<Record<string, string>>): Promise<void> {
  const answer = await pool.request({ method: 'POST', path, headers: { 'content-type': 'application/json', ...headers }, body });
  const text = await answer.body.text();
  if (answer.statusCode !== 202) throw new Error(`answered ${String(answer.statusCode)}: ${text.slice(0, 300)}`);
}

/** Sends on time, however long answers take. */
async function offered(send: (n: number) => Promise<void>, rate: number, seconds: number, signal: AbortSignal): Promise<Offered> {
  const total = Math.round(rate * seconds);
  const times = new Float64Array(total);
  // What waits is counted, not kept: the collections of a generator that holds every promise would show in the times.
  const ended = Promise.withResolvers<void>();
  let answered = 0;
  const began = performance.now();
  for (let n = 0; n < total; ) {
    signal.throwIfAborted();
    const due = Math.min(total, Math.floor(((performance.now() - began) * rate) / 1000) + 1);
    for (; n < due; n++) {
      const at = began + (n * 1000) / rate;
      send(n).then(() => {
        times[answered++] = performance.now() - at;
        if (answered === total) ended.resolve();
      }, ended.reject);
    }
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  await ended.promise;
  const elapsed = (performance.now() - began) / 1000;
  times.sort();
  const share = (part: number): number => times[Math.min(times.length - 1, Math.floor(times.length * part))] ?? Number.NaN;
  return { perSecond: total / elapsed, p50Ms: share(0.5), p99Ms: share(0.99), maxMs: share(1) };
}

/** Every connection sends its next as soon as it was answered. @returns deliveries a second. */
async function saturated(send: (n: number) => Promise<void>, seconds: number, signal: AbortSignal): Promise<number> {
  const began = performance.now();
  const end = began + seconds * 1000;
  let next = 0;
  await Promise.all(
    Array.from({ length: CONNECTIONS }, async () => {
      while (performance.now() < end) {
        signal.throwIfAborted();
        await send(next++);
      }
    }),
  );
  return next / ((performance.now() - began) / 1000);
}
