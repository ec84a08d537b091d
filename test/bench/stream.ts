import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { Agent, request } from 'undici';
import { startStack } from '../../deploy/local/stack.ts';
import type { Bench } from './arguments.ts';

/** Time for all watchers to connect and for the last event to arrive, ms. */
const PATIENCE_MS = 30_000;
/** Items of a bulk action a second. */
const PER_SECOND = 5;

/**
 * Watchers of one run over server-sent events, while it reports progress every second. The lag of an event is from its own time, when PostgreSQL wrote it, to its
 * arrival, for each watcher, counted once all are connected. `unfinished`: watchers that did not see the end. Options: `--watchers N` (default 1,000), `--rounds N` (seconds, default 15).
 */
export const run: Bench = async (args) => {
  const watchers = args.number('watchers', 1_000);
  const rounds = args.number('rounds', 15);
  const stack = await startStack({ settings: { HAL9_DATA: join(args.folder, 'data'), HAL9_PORT: '0', HAL9_RATE_LIMIT: '0' }, processes: ['api', 'core', 'dispatcher'], progress: args.progress, signal: args.signal });
  const agent = new Agent({ connections: null, bodyTimeout: 0 });
  const end = new AbortController();
  try {
    const apiKey = stack.first?.apiKey;
    if (apiKey === undefined) throw new Error('the stack is not new');
    const headers = { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' };
    const call = async (method: 'GET' | 'POST', path: string, body?: unknown): Promise<Record<string, unknown>> => {
      const answer = await request(`${stack.url}${path}`, { method, headers, dispatcher: agent, ...(body === undefined ? {} : { body: JSON.stringify(body) }) });
      if (answer.statusCode >= 300) throw new Error(`${path}: ${answer.statusCode} ${await answer.body.text()}`);
      return (await answer.body.json()) as Record<string, unknown>;
    };
    // A bulk action reports its progress every second; runs that are not there are quickly done with.
    const runIds = Array.from({ length: rounds * PER_SECOND }, () => `compliance-evidence~${randomUUID()}`);
    const runId = String((await call('POST', '/v1/runs/bulk', { action: 'cancel', runIds, perSecond: PER_SECOND }))['runId']);
    // Until it is in the read model each reader asks Temporal.
    while ((await call('GET', `/v1/runs/${runId}`))['source'] !== 'read-model') await new Promise((resolve) => setTimeout(resolve, 50));
    const lags: number[] = [];
    let [open, closed, readyAt] = [0, 0, Number.POSITIVE_INFINITY];
    await Promise.all(Array.from({ length: watchers }, async () => {
      const { statusCode, body } = await request(`${stack.url}/v1/runs/${runId}/stream`, { headers, dispatcher: agent, signal: end.signal });
      if (statusCode !== 200) throw new Error(`stream: ${statusCode}`);
      open += 1;
      body.on('error', () => undefined);
      body.on('data', (chunk: Buffer) => {
        const text = chunk.toString('utf8');
        for (const [, type, at] of text.matchAll(/"type":"(progress|closed)","at":"([^"]+)"/g)) {
          if (Date.parse(at ?? '') > readyAt) lags.push(Date.now() - Date.parse(at ?? ''));
          if (type === 'closed') closed += 1;
        }
      });
    }));
    readyAt = Date.now();
    args.progress(`${open} watchers`);
    const until = Date.now() + rounds * 1000 + PATIENCE_MS;
    while (closed < watchers && Date.now() < until) await new Promise((resolve) => setTimeout(resolve, 50));
    lags.sort((a, b) => a - b);
    const at = (share: number): number => lags[Math.min(lags.length - 1, Math.floor(lags.length * share))] ?? Number.NaN;
    return { watchers, events: lags.length, lagP50Ms: at(0.5), lagP99Ms: at(0.99), unfinished: watchers - closed };
  } finally {
    end.abort();
    await agent.close().catch(() => undefined);
    await stack.stop();
  }
};
