import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { z } from 'zod';
import { startStack, type Stack } from '../../deploy/local/stack.ts';
import type { Bench, BenchArguments } from '../bench/arguments.ts';
import { bytesOf } from '../bench/erasure/search.ts';
import { erasureSchema, forget, openShop } from '../bench/erasure/shop.ts';
import { askAsAdministrator, type Ask } from '../environment/stack-client.ts';
import { ROWS, subjectOf, type Subject } from '../bench/erasure/subjects.ts';
import { FaultyLink } from './erasure/faulty-link.ts';

const FULL = { kills: 60, subjects: 400 } as const;
const SMOKE = { kills: 1, subjects: 20 } as const;
const WORKER = 'core-1';
/** Messages an erasure sends to its source, about: faults are spread over them. */
const MESSAGES = 120;
const STRIKE_MS = 60_000;
const AWAY_MS = 3_000;
const SETTLE_MS = 900_000;
/** In turn; others lock rows all the time. */
const FAULTS = ['away', 'kill', 'silent', 'kill'] as const;

/**
 * Erasures run while something goes wrong before a chosen statement of theirs, each time another one: the worker is killed (SIGKILL), the source goes away, a statement is never answered;
 * and all the time others lock the same rows in the other order. Whoever waits is told to try again, as people would.
 * `kills`: of the worker. `reportedEarly`: erasures that were complete while a look at all tables still found the person, or that count other rows than the person had. `left`: canaries in the end,
 * and erasures that did not become complete. `faults`: all of them, `deadlocks`: those PostgreSQL saw. Options: `--smoke`, `--kills N`.
 */
export const run: Bench = async (args) => {
  const preset = args.options['smoke'] === undefined ? FULL : SMOKE;
  const kills = args.number('kills', preset.kills);
  const began = performance.now();
  const stack = await startStack({
    settings: { HAL9_DATA: join(args.folder, 'data'), HAL9_PORT: '0', HAL9_RATE_LIMIT: '0', HAL9_ALLOW_PRIVATE_ADDRESSES: 'true' },
    processes: ['api', 'core', 'dispatcher'],
    postgresSettings: { max_connections: '300', deadlock_timeout: '100ms' },
    progress: args.progress,
    signal: args.signal,
  });
  const shop = await openShop(stack, Math.max(preset.subjects, kills * 2 + 10));
  const link = await FaultyLink.open(shop.url.hostname, Number(shop.url.port));
  const watching = new pg.Pool({ connectionString: shop.url.href, max: 4 });
  const others = new AbortController();
  const locking = lockRows(watching, others.signal);
  try {
    const ask = askAsAdministrator(stack, args.signal);
    const address = new URL(shop.url);
    [address.hostname, address.port] = ['127.0.0.1', String(link.port)];
    await ask('POST', '/v1/privacy/sources', { name: 'shop', kind: 'postgres', address: `${address.href}?sslmode=disable`, annotations: shop.annotations });
    const watch = new Watch(ask, watching);
    const faults = await goWrong(stack, link, kills, watch, args);
    await watch.settle(args);
    others.abort();
    await locking;
    const { rows } = await watching.query<{ deadlocks: number }>('select deadlocks::int from pg_stat_database where datname = current_database()');
    const canaries = await watch.canaries([...watch.asked.values()]);
    return { kills: faults.kill, reportedEarly: watch.early, left: canaries + watch.open, erasures: watch.asked.size, faults: faults.kill + faults.away + faults.silent, deadlocks: rows[0]?.deadlocks ?? 0, seconds: Math.round((performance.now() - began) / 1000) };
  } finally {
    others.abort();
    await locking;
    await watching.end();
    await link.close();
    await stack.stop();
  }
};

/** One erasure after the other, each with a fault before another of its statements. */
async function goWrong(stack: Stack, link: FaultyLink, kills: number, watch: Watch, { progress, signal }: BenchArguments): Promise<Record<(typeof FAULTS)[number], number>> {
  const done = { kill: 0, away: 0, silent: 0 };
  for (let turn = 0; done.kill < kills; turn += 1) {
    signal.throwIfAborted();
    const fault = FAULTS[turn % FAULTS.length] ?? 'kill';
    // Steps of a prime go through all of them.
    const before = 1 + ((turn * 37) % MESSAGES);
    const struck = link.arm(before, () => {
      if (fault === 'kill') stack.kill(WORKER, 'SIGKILL');
      else if (fault === 'away') link.down();
    });
    await watch.forget(subjectOf(turn));
    const hit = await Promise.race([struck.then(() => true), sleep(STRIKE_MS, false)]);
    link.disarm();
    if (!hit) continue;
    done[fault] += 1;
    progress(`${fault} before message ${String(before)}: ${String(done.kill)} of ${String(kills)} kills`);
    if (fault === 'away') {
      await sleep(AWAY_MS);
      link.up();
    }
    if (fault === 'kill') await stack.whenReady(WORKER);
    await watch.look();
  }
  return done;
}

/** Erasures that were asked for, and whether what they say is true. */
class Watch {
  readonly asked = new Map<string, Subject>();
  readonly #ask: Ask;
  readonly #source: pg.Pool;
  readonly #complete = new Set<string>();
  early = 0;

  constructor(ask: Ask, source: pg.Pool) {
    this.#ask = ask;
    this.#source = source;
  }

  get open(): number {
    return this.asked.size - this.#complete.size;
  }

  async forget(subject: Subject): Promise<void> {
    this.asked.set(await forget(this.#ask, subject.email), subject);
  }

  /** Believes none that is complete; has those that are blocked try again. */
  async look(): Promise<void> {
    for (const [id, subject] of this.asked) {
      if (this.#complete.has(id)) continue;
      const erasure = erasureSchema.parse(await this.#ask('GET', `/v1/privacy/erasures/${id}`));
      if (erasure.state === 'blocked') await this.#ask('POST', `/v1/privacy/erasures/${id}/resume`, {});
      if (erasure.state !== 'complete') continue;
      this.#complete.add(id);
      const counted = Object.fromEntries(erasure.tables.filter(({ source, rows }) => source === 'shop' && rows > 0).map(({ table, rows }) => [table, rows]));
      const right = Object.entries(ROWS).every(([table, rows]) => counted[table] === rows);
      if (!right || (await this.canaries([subject])) > 0) this.early += 1;
    }
  }

  async settle({ progress, signal }: BenchArguments): Promise<void> {
    for (const until = Date.now() + SETTLE_MS; this.open > 0 && Date.now() < until; ) {
      signal.throwIfAborted();
      await this.look();
      progress(`${String(this.open)} of ${String(this.asked.size)} erasures are open`);
      if (this.open > 0) await sleep(3_000);
    }
  }

  /** Bytes of them in any table. */
  async canaries(subjects: readonly Subject[]): Promise<number> {
    const words = new Set(subjects.flatMap(({ canaries }) => canaries));
    const { rows: tables } = await this.#source.query<{ name: string }>("select quote_ident(schemaname) || '.' || quote_ident(tablename) as name from pg_tables where schemaname !~ '^pg_' and schemaname <> 'information_schema'");
    let bytes = 0;
    for (const { name } of tables) {
      const { rows } = await this.#source.query<{ row: string }>(`select t::text as row from ${name} t where t::text ~ $1`, [[...words].join('|') || '^$']);
      for (const { row } of rows) bytes += bytesOf(words, z.string().parse(row));
    }
    return bytes;
  }
}

/** Others change two rows of a person in the order that an erasure does not take, so that each may hold what the other waits for. */
async function lockRows(source: pg.Pool, signal: AbortSignal): Promise<void> {
  for (let turn = 0; !signal.aborted; turn += 1) {
    const one = await source.connect();
    try {
      await one.query('begin');
      await one.query('update login set time = time where id = (select max(id) - $1 from login)', [(turn * 7) % 60]);
      await sleep(20);
      await one.query("update login set time = time where customer_id in (select customer_id from login where id = (select max(id) - $1 from login))", [(turn * 7) % 60]);
      await one.query('commit');
    } catch (error) {
      await one.query('rollback');
      if (!(error instanceof pg.DatabaseError)) throw error;
    } finally {
      one.release();
    }
    await sleep(30);
  }
}
