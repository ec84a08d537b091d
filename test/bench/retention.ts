import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { z } from 'zod';
import { startStack } from '../../deploy/local/stack.ts';
import { askAsAdministrator, makeDatabaseBeside } from '../environment/stack-client.ts';
import type { Bench } from './arguments.ts';

const TABLES = 5;
/** Of each table: rows that stay, for each row that goes. */
const LIVE = 0.2;
/** Seconds the writer is watched alone before the first table, and after each. */
const ALONE_S = 8;
const RUN_MS = 1_200_000;

const startedSchema = z.object({ runId: z.string() });
const resultSchema = z.object({ status: z.string(), result: z.object({ state: z.string(), due: z.int(), deleted: z.int(), reasons: z.array(z.string()) }).optional() });

/**
 * Rows that have expired are deleted by the operation `retention` while a writer inserts and updates in the same tables at a fixed rate, each transaction counted from
 * the moment it was due. The rows are in five tables; the writer is watched in turn alone and during the deletion of one, so that what else the machine does falls on both alike.
 * `rows`: deleted. `dryRunRows`: counted before. `writerP95Rise`: of the writer's p95 during deletions over its p95 alone, 0.1 is 10 %.
 * Options: `--rows N` (default 1,000,000), `--rate N` (the writer's transactions a second, default 100), `--share N` (of the operation, default its own).
 */
export const run: Bench = async (args) => {
  const rows = args.number('rows', 1_000_000);
  const rate = args.number('rate', 100);
  const stack = await startStack({
    settings: { HAL9_DATA: join(args.folder, 'data'), HAL9_PORT: '0', HAL9_RATE_LIMIT: '0', HAL9_ALLOW_PRIVATE_ADDRESSES: 'true' },
    processes: ['api', 'core', 'dispatcher'],
    progress: args.progress,
    signal: args.signal,
  });
  try {
    const { href: url } = await makeDatabaseBeside(stack, 'bench', (source) => fill(source, rows));
    args.progress(`${String(rows)} rows of ${String(Math.ceil(rows * (1 + LIVE)))} have expired`);
    const ask = askAsAdministrator(stack, args.signal);
    await ask('POST', '/v1/privacy/sources', { name: 'bench', kind: 'postgres', address: `${url}?sslmode=disable`, annotations: annotations() });
    const retention = async (input: object) => {
      const { runId } = startedSchema.parse(await ask('POST', '/v1/workflows/retention/runs', { input: { source: 'bench', ...input } }));
      for (const until = Date.now() + RUN_MS; Date.now() < until; ) {
        const { status, result } = resultSchema.parse(await ask('GET', `/v1/runs/${runId}/result?waitSeconds=30`));
        if (result !== undefined) return result;
        if (status !== 'running') throw new Error(`the run ended as ${status}`);
      }
      throw new Error('the run did not end in time');
    };
    const dry = await retention({ dryRun: true });
    args.progress(`${String(dry.due)} rows would go`);
    const writer = await Writer.start(url, rate, args.signal);
    const [alone, during]: [number[], number[]] = [[], []];
    let [deleted, seconds] = [0, 0];
    try {
      await writer.watch([], () => sleep(2_000, undefined, { signal: args.signal }));
      for (let table = 0; table <= TABLES; table += 1) {
        await writer.watch(alone, () => sleep(ALONE_S * 1000, undefined, { signal: args.signal }));
        if (table === TABLES) break;
        const began = performance.now();
        const result = await writer.watch(during, () => retention({ tables: [`visit_${String(table)}`], ...(args.options['share'] === undefined ? {} : { share: args.number('share', 0.1) }) }));
        seconds += (performance.now() - began) / 1000;
        if (result.state !== 'done') throw new Error(`the run is ${result.state}: ${result.reasons.join('; ')}`);
        deleted += result.deleted;
        args.progress(`${String(deleted)} rows are gone; p95 of the writer alone ${p95(alone).toFixed(2)} ms, meanwhile ${p95(during).toFixed(2)} ms`);
      }
    } finally {
      await writer.stop();
    }
    return { rows: deleted, dryRunRows: dry.due, writerP95Rise: Number((p95(during) / p95(alone) - 1).toFixed(4)), aloneP95Ms: p95(alone), duringP95Ms: p95(during), writes: alone.length + during.length, seconds: Math.round(seconds), rowsPerSecond: Math.round(deleted / seconds) };
  } finally {
    await stack.stop();
  }
};

function annotations(): string {
  const table = (n: number): string => `  visit_${String(n)}: {retention: {keep: P1Y, since: at}, columns: {id: {category: system}, at: {category: system}, mail: {category: user.contact.email, identity: email}, page: {category: user.behavior}}}\n`;
  return `source: bench\ntables:\n${Array.from({ length: TABLES }, (_, n) => table(n)).join('')}`;
}

/** Makes the tables, with so many rows that have expired. */
async function fill(source: pg.Client, rows: number): Promise<void> {
  const each = Math.ceil(rows / TABLES);
  for (let table = 0; table < TABLES; table += 1) {
    const expired = Math.min(each, rows - table * each);
    const all = Math.ceil(expired * (1 + LIVE));
    await source.query(`create table visit_${String(table)} (id bigint generated always as identity primary key, at timestamptz not null, mail text, page text)`);
    // Those that stay lie among those that go.
    await source.query(
      `insert into visit_${String(table)} (at, mail, page) select case when n % $2 = 0 and n / $2 <= $3 then now() else now() - interval '2 years' end, 'v' || n || '@example.com', '/page/' || n % 100 from generate_series(1, $1::int) n`,
      [all, Math.floor(all / (all - expired)), all - expired],
    );
    await source.query(`vacuum analyze visit_${String(table)}`);
  }
  await source.query('checkpoint');
}

/** Inserts and updates at a fixed rate, whether or not the one before was answered. */
class Writer {
  readonly #pool: pg.Pool;
  readonly #running: Promise<void>;
  readonly #ending = new AbortController();
  #into: number[] = [];
  #failure: unknown;

  private constructor(pool: pg.Pool, rate: number, signal: AbortSignal) {
    this.#pool = pool;
    this.#running = this.#run(rate, signal).catch((error: unknown) => {
      this.#failure = error;
    });
  }

  static async start(url: string, rate: number, signal: AbortSignal): Promise<Writer> {
    const pool = new pg.Pool({ connectionString: url, max: 8 });
    await Promise.all(Array.from({ length: 8 }, () => pool.query('select 1')));
    return new Writer(pool, rate, signal);
  }

  /** Latencies, milliseconds, of what was due while the work was done. */
  async watch<Answer>(into: number[], work: () => Promise<Answer>): Promise<Answer> {
    this.#into = into;
    const answer = await work();
    if (this.#failure !== undefined) throw this.#failure;
    return answer;
  }

  async stop(): Promise<void> {
    this.#ending.abort();
    await this.#running;
    await this.#pool.end();
  }

  async #run(rate: number, signal: AbortSignal): Promise<void> {
    const open = new Set<Promise<void>>();
    const began = performance.now();
    for (let n = 0; !this.#ending.signal.aborted; ) {
      signal.throwIfAborted();
      const due = Math.floor(((performance.now() - began) * rate) / 1000);
      for (; n < due; n += 1) {
        const [into, at] = [this.#into, began + (n * 1000) / rate];
        const write = this.#write(n % TABLES).then(() => void into.push(performance.now() - at));
        const told = write.catch((error: unknown) => {
          this.#failure = error;
        });
        open.add(told);
        void told.finally(() => open.delete(told));
      }
      await sleep(1);
    }
    await Promise.all(open);
  }

  async #write(table: number): Promise<void> {
    await this.#pool.query(`with made as (insert into visit_${String(table)} (at, mail, page) values (now(), 'writer@example.com', '/') returning id) update visit_${String(table)} set page = '/home' where id = (select id - 5 from made)`);
  }
}

function p95(times: readonly number[]): number {
  const sorted = times.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * 0.95))] ?? Number.NaN;
}
