import { spawn, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { join } from 'node:path';
import { Hal9Client } from '../../clients/typescript/index.ts';
import { startStack } from '../../deploy/local/stack.ts';
import type { Bench } from './arguments.ts';
import { cpuSeconds } from './cascade/cpu-time.ts';
import { Connections, type Round } from './read/connections.ts';

/** Shared with the bench of starts: nothing serves its queue, so the runs stay as they are. */
const OPERATIONS = join(import.meta.dirname, 'start-overhead/operations');
const OPERATION = 'bench-start';

type Side = 'api' | 'express';

/**
 * Authenticated `GET /v1/runs/{id}` of many runs in turn, every connection sending its next request once it was answered. Limit: a process
 * with Express and one route that answers the same JSON, with neither credential nor data. Rounds of both alternate and their order turns,
 * so that whatever else the machine does meets both; `ratioToExpress` is the median of the pairs. `cpuMicroseconds`: processor time of a
 * request in each process, which hardly depends on what else runs; `otherMicroseconds` that of the rest of the stack, PostgreSQL included.
 *
 * Options: `--connections` (1,000), `--runs` (500), `--rounds` (6), `--seconds` of each round (3), `--warm`, seconds before the first on each
 * side (8: V8 compiles most a second time after some 10,000 requests).
 */
export const run: Bench = async (args) => {
  const connections = args.number('connections', 1000);
  const rounds = args.number('rounds', 6);
  const seconds = args.number('seconds', 3);
  const stack = await startStack({
    settings: { HAL9_DATA: join(args.folder, 'data'), HAL9_PORT: '0', HAL9_OPERATIONS: OPERATIONS, HAL9_RATE_LIMIT: '0' },
    processes: ['api'],
    progress: args.progress,
    signal: args.signal,
  });
  const open: Connections[] = [];
  let bare: ChildProcess | undefined;
  try {
    const credential = stack.first?.apiKey ?? '';
    const client = new Hal9Client({ url: stack.url, credential });
    const ids = await start(client, args.number('runs', 500));
    const answer = await readable(client, ids);
    bare = spawn(process.execPath, [join(import.meta.dirname, 'read/bare-express.ts'), JSON.stringify(answer)], { stdio: ['ignore', 'pipe', 'inherit'] });
    const ports: Record<Side, number> = { api: Number(new URL(stack.url).port), express: await portOf(bare) };
    const requests = (port: number): Buffer[] => ids.map((id) => Buffer.from(`GET /v1/runs/${encodeURIComponent(id)} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nAuthorization: Bearer ${credential}\r\nAccept: application/json\r\n\r\n`));
    const sides = { api: await side('api'), express: await side('express') };
    const pairs: Record<Side, Round>[] = [];
    const before = await processors();
    for (let index = 0; index < rounds; index += 1) {
      const order: readonly Side[] = index % 2 === 0 ? ['express', 'api'] : ['api', 'express'];
      const pair: Partial<Record<Side, Round>> = {};
      for (const name of order) {
        pair[name] = await sides[name](seconds);
        args.progress(`round ${index + 1}: ${name} ${Math.round(rateOf(pair[name]))}/s`);
      }
      if (pair.api !== undefined && pair.express !== undefined) pairs.push({ api: pair.api, express: pair.express });
    }
    const after = await processors();
    const used = (name: string, count: number): number => Math.round((((after.get(name) ?? 0) - (before.get(name) ?? 0)) * 1e6) / count);
    const count = (of: Side): number => pairs.reduce((sum, pair) => sum + pair[of].requests, 0);
    const others = [...after.keys()].filter((name) => name !== 'api' && name !== 'express');
    const latencies = pairs.flatMap(({ api }) => api.latencies).sort((a, b) => a - b);
    return {
      perSecond: Math.round(median(pairs.map(({ api }) => rateOf(api)))),
      ratioToExpress: Math.round(median(pairs.map(({ api, express }) => rateOf(api) / rateOf(express))) * 1000) / 1000,
      p50Ms: share(latencies, 0.5),
      p99Ms: share(latencies, 0.99),
      expressPerSecond: Math.round(median(pairs.map(({ express }) => rateOf(express)))),
      cpuMicroseconds: { api: used('api', count('api')), express: used('express', count('express')) },
      otherMicroseconds: others.reduce((sum, name) => sum + used(name, count('api')), 0),
      connections,
    };

    async function side(name: Side): Promise<(time: number) => Promise<Round>> {
      const own = await Connections.open(ports[name], connections);
      open.push(own);
      const asked = requests(ports[name]);
      const load = (time: number): Promise<Round> => own.load(asked, time, args.signal);
      await load(args.number('warm', 8)); // until both are compiled and the runs are known
      return load;
    }

    function processors(): Promise<Map<string, number>> {
      return cpuSeconds([...stack.processes(), { name: 'express', pid: bare?.pid }]);
    }
  } finally {
    for (const connection of open) connection.close();
    bare?.kill();
    await stack.stop();
  }
};

async function start(client: Hal9Client, count: number): Promise<string[]> {
  const ids: string[] = [];
  while (ids.length < count) {
    const some = Math.min(32, count - ids.length);
    const started = await Promise.all(Array.from({ length: some }, () => client.runs.start(OPERATION, { order: randomUUID(), lines: [] }, { tags: ['bench'] })));
    ids.push(...started.map(({ runId }) => runId));
  }
  return ids;
}

/** Until the last is in the read model. @returns what the API answers. */
async function readable(client: Hal9Client, ids: readonly string[]): Promise<unknown> {
  const id = ids.at(-1) ?? '';
  for (;;) {
    const found = await client.call('getRun', { params: { id } });
    if (found.source === 'read-model') return found;
  }
}

async function portOf(child: ChildProcess): Promise<number> {
  if (child.stdout === null) throw new Error('the bare server says nothing');
  const [line] = await once(child.stdout, 'data');
  return Number(String(line).trim());
}

function rateOf({ requests, seconds }: Round): number {
  return requests / seconds;
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? (sorted[middle] ?? Number.NaN) : ((sorted[middle - 1] ?? Number.NaN) + (sorted[middle] ?? Number.NaN)) / 2;
}

function share(sorted: readonly number[], part: number): number {
  return Math.round((sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN) * 10) / 10;
}
