import type { Logger } from 'pino';
import type { Database } from '../../database/database.ts';
import { Listener } from '../../database/listener.ts';
import { RUN_CHANNEL, RunEventStore, type RunEvent } from '../../database/run-events.ts';
import { RunStore, type RunRow } from '../../database/runs.ts';

/** How long changes share one read, ms. */
const GATHER_MS = 25;
/** Rows remembered by a process. */
const REMEMBERED = 20_000;
/** How often watched runs are looked up although nothing was announced, ms: the bound on a lost notification. */
const SWEEP_MS = 10_000;

interface Watcher {
  seq: number;
  readonly orgId: string;
  readonly runId: string;
  readonly deliver: (events: readonly RunEvent[]) => void;
}

/**
 * What changes about runs, heard over one connection by LISTEN, whoever many watch. Watched runs that changed are read together, one
 * statement an organisation; rows of runs are remembered until they change. While the connection is down nothing is remembered.
 */
export class RunFeed {
  readonly #events: RunEventStore;
  readonly #runs: RunStore;
  readonly #database: Database;
  readonly #logger: Pick<Logger, 'warn'>;
  readonly #watchers = new Map<string, Set<Watcher>>();
  readonly #changed = new Set<string>();
  readonly #known = new Map<string, RunRow>();
  /** Counts what was heard, so that a row read before a change is not remembered after it. */
  #heard = 0;
  #listening = false;
  #listener: Listener | undefined;
  #gathering: NodeJS.Timeout | undefined;
  #sweep: NodeJS.Timeout | undefined;
  #reading = false;

  constructor(database: Database, logger: Pick<Logger, 'warn'>) {
    this.#database = database;
    this.#logger = logger;
    this.#events = new RunEventStore(database);
    this.#runs = new RunStore(database);
  }

  /** The run's row, from memory where it has not changed since it was read. */
  async row(orgId: string, runId: string): Promise<RunRow | undefined> {
    this.#listen();
    const key = keyOf(orgId, runId);
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const heard = this.#heard;
    const row = await this.#runs.get(orgId, runId);
    if (row !== undefined && this.#listening && heard === this.#heard) {
      if (this.#known.size >= REMEMBERED) this.#known.clear();
      this.#known.set(key, row);
    }
    return row;
  }

  /** Whether the run has ended and nothing came after `seq`. */
  async ended(orgId: string, runId: string, seq: number): Promise<boolean> {
    const row = await this.row(orgId, runId);
    return row !== undefined && row.closedAt !== null && !(await this.#events.after(orgId, [{ runId, seq }])).has(runId);
  }

  /** For who changed it in this process and has not heard of it yet. */
  forget(orgId: string, runId: string): void {
    this.#heard += 1;
    this.#known.delete(keyOf(orgId, runId));
  }

  /**
   * Calls `deliver` with what happened to the run after `seq`, in order and each event once, now and whenever there is more.
   * @returns what ends it.
   */
  watch(orgId: string, runId: string, seq: number, deliver: (events: readonly RunEvent[]) => void): () => void {
    this.#listen();
    const key = keyOf(orgId, runId);
    const watcher: Watcher = { seq, orgId, runId, deliver };
    const all = this.#watchers.get(key) ?? new Set();
    this.#watchers.set(key, all.add(watcher));
    this.#gather(key);
    return () => {
      all.delete(watcher);
      if (all.size === 0) this.#watchers.delete(key);
    };
  }

  async close(): Promise<void> {
    clearTimeout(this.#gathering);
    clearInterval(this.#sweep);
    await this.#listener?.close();
  }

  #listen(): void {
    if (this.#listener !== undefined) return;
    const { url, appUrl, ssl, applicationName } = this.#database.options;
    this.#listener = new Listener({
      connection: { connectionString: appUrl ?? url, ...(ssl === undefined ? {} : { ssl }), application_name: `${applicationName}-runs` },
      channels: [RUN_CHANNEL],
      onNotify: (_channel, payload) => this.#hear(payload),
      onLost: (error) => {
        this.#listening = false;
        this.#heard += 1;
        this.#known.clear();
        this.#logger.warn({ reason: error.message }, 'changes of runs are not announced, reading them until they are');
      },
    });
    this.#sweep = setInterval(() => this.#gatherAll(), SWEEP_MS);
    this.#sweep.unref();
  }

  #hear(payload: string | undefined): void {
    this.#heard += 1;
    if (payload !== undefined) {
      this.#known.delete(payload);
      this.#gather(payload);
      return;
    }
    this.#listening = true;
    this.#known.clear();
    this.#gatherAll();
  }

  #gatherAll(): void {
    for (const key of this.#watchers.keys()) this.#gather(key);
  }

  #gather(key: string): void {
    if (!this.#watchers.has(key)) return;
    this.#changed.add(key);
    this.#gathering ??= setTimeout(() => {
      this.#gathering = undefined;
      void this.#read();
    }, GATHER_MS);
  }

  async #read(): Promise<void> {
    if (this.#reading) return;
    this.#reading = true;
    try {
      while (this.#changed.size > 0) {
        const keys = [...this.#changed];
        this.#changed.clear();
        await this.#readOf(keys);
      }
    } catch (error) {
      this.#logger.warn({ reason: error instanceof Error ? error.message : String(error) }, 'events of runs not read, trying again');
      setTimeout(() => this.#gatherAll(), 1000).unref();
    } finally {
      this.#reading = false;
    }
  }

  async #readOf(keys: readonly string[]): Promise<void> {
    const byOrganisation = new Map<string, { runId: string; seq: number }[]>();
    for (const key of keys) {
      const watchers = [...(this.#watchers.get(key) ?? [])];
      const [first] = watchers;
      if (first === undefined) continue;
      const wanted = byOrganisation.get(first.orgId) ?? [];
      // The one furthest behind decides; the others leave out what they have.
      wanted.push({ runId: first.runId, seq: Math.min(...watchers.map(({ seq }) => seq)) });
      byOrganisation.set(first.orgId, wanted);
    }
    for (const [orgId, wanted] of byOrganisation) {
      for (const [runId, events] of await this.#events.after(orgId, wanted)) this.#deliver(keyOf(orgId, runId), events);
    }
  }

  #deliver(key: string, events: readonly RunEvent[]): void {
    const last = events.at(-1)?.seq ?? 0;
    for (const watcher of this.#watchers.get(key) ?? []) {
      const news = watcher.seq >= last ? [] : events.filter(({ seq }) => seq > watcher.seq);
      if (news.length === 0) continue;
      watcher.seq = last;
      watcher.deliver(news);
    }
    // A full page may not have been all.
    if (events.length >= 500) this.#gather(key);
  }
}

function keyOf(orgId: string, runId: string): string {
  return `${orgId} ${runId}`;
}
