import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pino from 'pino';
import { Registry } from 'prom-client';
import { Pool } from 'undici';
import { createApp } from '../../api/app.ts';
import { openIdentity, type Identity } from '../../api/identity.ts';
import { RateLimits } from '../../platform/usage/rate-limits.ts';
import { SharedCounters } from '../../platform/usage/shared-counters.ts';
import { defineRoute, type AnyRoute } from '../../api/route.ts';
import { listen, type RunningServer } from '../../api/server.ts';
import { startStack, type Stack } from '../../deploy/local/stack.ts';
import { ActWriter } from '../../platform/audit/act-writer.ts';
import { loadConfig } from '../../platform/config/config.ts';
import { connectDatabase } from '../../platform/database/connect.ts';
import { loadKeyRing } from '../../platform/keys/load.ts';
import type { Bench } from './arguments.ts';

/** The same number of requests in each. */
const ROUNDS = 20;

interface Percentiles {
  readonly p50Ms: number;
  readonly p95Ms: number;
}

/**
 * What the check of a credential adds to a request, and how soon a revocation is felt. One route, twice in one server: with a permission
 * and open; the same handler, client and connection take turns, so that whatever else the machine does meets both. `addedP95Ms` is the
 * difference of the two p95, the median of twenty rounds: one burst of something else on the machine is no cost of the check. For the revocation a key is used without pause against two API processes, the stack's and this one, and
 * revoked through the stack's; `revocationP100Ms` is the longest time from the revocation's answer to the last success anywhere.
 *
 * Options: `--requests` of each kind (20000), `--revocations` (25).
 */
export const run: Bench = async (args) => {
  const requests = args.number('requests', 20_000);
  const revocations = args.number('revocations', 25);
  const stack = await startStack({ settings: { HAL9_DATA: join(args.folder, 'data'), HAL9_PORT: '0', HAL9_RATE_LIMIT: '0', HAL9_FAILED_LOGINS: '0' }, processes: ['api'], progress: args.progress, signal: args.signal });
  const mine = await openServer(stack);
  try {
    const key = stack.first?.apiKey;
    if (key === undefined) throw new Error('the stack is not new');
    const pool = new Pool(mine.url, { connections: 1, pipelining: 1 });
    const one = async (path: string): Promise<number> => {
      const began = performance.now();
      const answer = await pool.request({ method: 'GET', path, headers: { authorization: `Bearer ${key}` } });
      await answer.body.dump();
      if (answer.statusCode !== 200) throw new Error(`${path} answered ${answer.statusCode}`);
      return performance.now() - began;
    };
    for (let index = 0; index < 1000; index += 1) await one(index % 2 === 0 ? '/guarded' : '/open');
    const rounds: { guarded: Percentiles; open: Percentiles }[] = [];
    for (let round = 0; round < ROUNDS; round += 1) {
      const times: Record<'guarded' | 'open', number[]> = { guarded: [], open: [] };
      for (let index = 0; index < requests / ROUNDS; index += 1) {
        args.signal.throwIfAborted();
        for (const kind of index % 2 === 0 ? (['guarded', 'open'] as const) : (['open', 'guarded'] as const)) times[kind].push(await one(`/${kind}`));
      }
      rounds.push({ guarded: percentiles(times.guarded), open: percentiles(times.open) });
    }
    await pool.close();
    const added = (of: keyof Percentiles): number => median(rounds.map(({ guarded, open }) => guarded[of] - open[of]));
    const kind = (of: 'guarded' | 'open'): Percentiles => ({ p50Ms: median(rounds.map((round) => round[of].p50Ms)), p95Ms: median(rounds.map((round) => round[of].p95Ms)) });
    args.progress(`the check adds ${added('p95Ms').toFixed(3)} ms to p95`);
    const felt: number[] = [];
    for (let index = 0; index < revocations; index += 1) felt.push(await revocation(stack.url, mine.url, key, args.signal));
    felt.sort((a, b) => a - b);
    return { addedP95Ms: round(added('p95Ms')), revocationP100Ms: round(felt.at(-1) ?? Number.NaN), addedP50Ms: round(added('p50Ms')), revocationP50Ms: round(felt[Math.floor(felt.length / 2)] ?? Number.NaN), guarded: kind('guarded'), open: kind('open'), requests, revocations, processes: 2 };
  } finally {
    await mine.close();
    await stack.stop();
  }
};

interface OwnServer {
  readonly url: string;
  close(): Promise<void>;
}

/** A second API process on the stack's database: this one, with the shipped app around two routes. */
async function openServer(stack: Stack): Promise<OwnServer> {
  const config = loadConfig({ ...stack.environment, HAL9_PORT: '0' });
  const [database, keys] = await Promise.all([connectDatabase(config, 'hal9-bench'), loadKeyRing(config)]);
  const [logger, registry] = [pino({ level: 'silent' }), new Registry()];
  const identity: Identity = openIdentity({ config, database, keys, logger });
  const acts = new ActWriter(database, logger, registry);
  const route = (path: string, permission: string): AnyRoute =>
    defineRoute({ method: 'get', path, id: path.slice(1), tag: 'bench', summary: 'Answers', permission, responses: { 200: { description: 'Always.' } }, handler: async () => ({ status: 200, body: { ok: true } }) });
  const app = createApp({
    routes: [route('/guarded', 'runs:read'), route('/open', 'public')],
    credentials: identity.credentials,
    sessions: identity.sessions,
    limits: new RateLimits({ counters: new SharedCounters(undefined, logger), requestsPerKey: 0, failedAuthentications: 0, addressKey: (address) => address, logger }),
    logger,
    registry,
    acts,
    corsOrigins: [],
    bodyLimitBytes: 1024,
    https: false,
  });
  const server: RunningServer = await listen(app, { host: '127.0.0.1', port: 0, logger, drainMs: 1000 });
  return {
    url: `http://127.0.0.1:${server.port}`,
    async close() {
      await server.stop();
      await acts.close();
      await identity.close();
      await database.close();
    },
  };
}

/** @returns milliseconds from the revocation's answer to the last success in either process; 0 when there was none after it. */
async function revocation(stackUrl: string, mineUrl: string, administrator: string, signal: AbortSignal): Promise<number> {
  const headers = { authorization: `Bearer ${administrator}`, 'content-type': 'application/json' };
  const made = await fetch(`${stackUrl}/v1/api-keys`, { method: 'POST', headers, body: JSON.stringify({ name: `bench ${randomUUID()}`, scopes: ['runs:read'] }), signal });
  const { id, secret } = (await made.json()) as { id: string; secret: string };
  let over = false;
  let lastSuccess = 0;
  let refusals = 0;
  const user = async (address: string): Promise<void> => {
    let refused = false;
    while (!over) {
      const status = (await fetch(address, { headers: { authorization: `Bearer ${secret}` }, signal })).status;
      if (status === 200) lastSuccess = performance.now();
      else if (status !== 401) throw new Error(`${address} answered ${status}`);
      else if (!refused) {
        refused = true;
        refusals += 1;
      }
      await sleep(2);
    }
  };
  const users = Promise.all([user(`${stackUrl}/v1/runs?limit=1`), user(`${mineUrl}/guarded`)]);
  await sleep(100);
  const answer = await fetch(`${stackUrl}/v1/api-keys/${id}`, { method: 'DELETE', headers, signal });
  if (answer.status !== 200) throw new Error(`the revocation answered ${answer.status}`);
  const revokedAt = performance.now();
  // Both have refused, and a success after that would still count for a moment.
  while (refusals < 2 && performance.now() - revokedAt < 5000) await sleep(5);
  await sleep(100);
  over = true;
  await users;
  if (refusals < 2) throw new Error('a process still takes the key after five seconds');
  return Math.max(0, lastSuccess - revokedAt);
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

function percentiles(times: readonly number[]): Percentiles {
  const sorted = [...times].sort((a, b) => a - b);
  const at = (share: number): number => round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN);
  return { p50Ms: at(0.5), p95Ms: at(0.95) };
}

function round(value: number): number {
  return Number(value.toFixed(3));
}
