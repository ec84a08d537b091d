import type { CommittedGroup, SignalGroup, SignalRow, SignalStore } from '../../database/signals.ts';
import { HalError } from '../../schemas/errors.ts';
import { isConnectionFailure, isRowFailure } from '../../database/failures.ts';
import type { IngestMetrics } from './metrics.ts';
import { GroupQueue, type QueuedRows } from './group-queue.ts';

export interface IngestOptions {
  /** Transactions at once. A lane belongs to one of them, so that its order holds. Default 2. */
  readonly writers?: number;
  /** Most signals a commit. Default 5,000. */
  readonly groupSignals?: number;
  /** Most signals waiting for a commit before senders are held back. Default 30,000. */
  readonly queueSignals?: number;
  /** Most bytes (UTF-16 code units of envelopes) waiting. Default 32 Mi. */
  readonly queueBytes?: number;
  /** How long a commit is tried again while the database is away, ms. Default 8,000. */
  readonly retryForMs?: number;
  /** How long a writer waits for more before it commits less than a full group, when the group before held several requests, ms. Default 5. */
  readonly lingerMs?: number;
}

/** What became of one request's signals. */
export interface IngestOutcome {
  readonly accepted: number;
  readonly duplicates: number;
}

const DEFAULTS = { writers: 2, groupSignals: 5000, queueSignals: 30_000, queueBytes: 32 * 1024 * 1024, retryForMs: 8000, lingerMs: 5 } as const;
const RETRY_DELAY_MS = 100;
/** A commit that says nothing for so long is given up: the server is frozen or cut off. Above the statements' own timeout. */
const COMMIT_TIMEOUT_MS = 25_000;

/**
 * Commits signals in groups. Requests of one organisation that arrive together share a commit; a request learns of its own
 * signals only, and only after the commit. The queue in front is bounded: {@link IngestRequest.add} waits while it is full.
 */
export class SignalIngest {
  readonly #store: SignalStore;
  readonly #metrics: IngestMetrics;
  readonly #options: Required<IngestOptions>;
  readonly #queues: readonly GroupQueue<IngestRequest>[];
  readonly #waiting: (() => void)[] = [];
  #queuedSignals = 0;
  #queuedBytes = 0;
  #closing = false;
  readonly #writers: Promise<void>[];

  constructor(store: SignalStore, metrics: IngestMetrics, options: IngestOptions = {}) {
    this.#store = store;
    this.#metrics = metrics;
    this.#options = { ...DEFAULTS, ...options };
    this.#queues = Array.from({ length: this.#options.writers }, () => new GroupQueue<IngestRequest>());
    this.#writers = this.#queues.map((queue) => this.#write(queue));
  }

  /** Begins a request; its signals keep their order within a lane. */
  begin(orgId: string, traceparent: string | undefined): IngestRequest {
    return new IngestRequest(this, orgId, traceparent);
  }

  /** Commits these signals. @throws {HalError} DependencyUnavailable when the database stays away. */
  async accept(orgId: string, traceparent: string | undefined, rows: readonly SignalRow[]): Promise<IngestOutcome> {
    const request = this.begin(orgId, traceparent);
    await request.add(rows);
    return request.finish();
  }

  /** Commits what is queued, refuses what comes. */
  async close(): Promise<void> {
    this.#closing = true;
    for (const queue of this.#queues) queue.close();
    await Promise.all(this.#writers);
  }

  /** Takes rows in; resolves when there is room for more. */
  async enqueue(request: IngestRequest, rows: readonly SignalRow[]): Promise<void> {
    if (this.#closing) throw new HalError('DependencyUnavailable', 'this process is shutting down', { retryAfterSeconds: 1 });
    const shares: SignalRow[][] = this.#queues.map(() => []);
    for (const row of rows) {
      shares[row.lane % shares.length]?.push(row);
      this.#queuedBytes += row.envelope.length;
    }
    this.#queuedSignals += rows.length;
    request.expect(rows.length);
    for (const [index, share] of shares.entries()) if (share.length > 0) this.#queues[index]?.push({ request, rows: share });
    this.#metrics.queued.set(this.#queuedSignals);
    while (this.#full() && !this.#closing) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  #full(): boolean {
    return this.#queuedSignals > this.#options.queueSignals || this.#queuedBytes > this.#options.queueBytes;
  }

  #release(rows: readonly SignalRow[]): void {
    this.#queuedSignals -= rows.length;
    for (const row of rows) this.#queuedBytes -= row.envelope.length;
    this.#metrics.queued.set(this.#queuedSignals);
    if (!this.#full()) for (const resume of this.#waiting.splice(0)) resume();
  }

  async #write(queue: GroupQueue<IngestRequest>): Promise<void> {
    // Who comes alone is not kept waiting. Where several come while one is committed, waiting for more makes commits fewer, and each costs more than its rows.
    let shared = false;
    for (;;) {
      const parts = await queue.take(this.#options.groupSignals, shared ? this.#options.lingerMs : 0);
      if (parts === undefined) return;
      shared = parts.length > 1;
      // What follows in a request that failed already would overtake what failed; its sender sends all of it again.
      const live = parts.filter((part) => part.request.failure === undefined);
      await this.#commitParts(live);
      for (const part of parts) {
        if (!live.includes(part)) part.request.settle(0, 0, part.rows.length);
        this.#release(part.rows);
      }
    }
  }

  async #commitParts(parts: readonly QueuedRows<IngestRequest>[]): Promise<void> {
    const first = parts[0];
    if (first === undefined) return;
    const rows = parts.length === 1 ? first.rows : parts.flatMap((part) => part.rows);
    const traceparent = parts.find((part) => part.request.traceparent !== undefined)?.request.traceparent;
    try {
      const result = await this.#commitRows({ orgId: first.request.orgId, rows, traceparent });
      let offset = 0;
      for (const part of parts) {
        const duplicates = result.duplicates.size === 0 ? 0 : countWithin(result.duplicates, offset, offset + part.rows.length);
        part.request.settle(part.rows.length - duplicates, duplicates, part.rows.length);
        offset += part.rows.length;
      }
      this.#metrics.accepted.inc(result.accepted);
      this.#metrics.duplicates.inc(result.duplicates.size);
    } catch (error) {
      if (isRowFailure(error) && rows.length > 1) return this.#commitHalves(parts);
      for (const part of parts) part.request.fail(error, part.rows.length);
    }
  }

  /** PostgreSQL refused a value the checks let through: narrows it down, so that the others of the group are not lost with it. */
  async #commitHalves(parts: readonly QueuedRows<IngestRequest>[]): Promise<void> {
    const [first] = parts;
    if (first === undefined) return;
    if (parts.length > 1) {
      const middle = parts.length >> 1;
      await this.#commitParts(parts.slice(0, middle));
      return this.#commitParts(parts.slice(middle));
    }
    const middle = first.rows.length >> 1;
    await this.#commitParts([{ request: first.request, rows: first.rows.slice(0, middle) }]);
    return this.#commitParts([{ request: first.request, rows: first.rows.slice(middle) }]);
  }

  /** Commits, and tries again while the database is away; a commit whose answer was lost is recognised by its chunks. */
  async #commitRows(group: SignalGroup): Promise<CommittedGroup> {
    const deadline = Date.now() + this.#options.retryForMs;
    let undecided: CommittedGroup | undefined;
    for (;;) {
      const end = this.#metrics.commitSeconds.startTimer();
      try {
        if (undecided !== undefined && (await this.#store.anyChunkExists(group.orgId, undecided.chunks.map((chunk) => chunk.id)))) return undecided;
        undecided = undefined;
        const committing = this.#store.commit(group, (result) => {
          undecided = result;
        });
        const result = await within(COMMIT_TIMEOUT_MS, committing);
        this.#metrics.groupSize.observe(group.rows.length);
        return result;
      } catch (error) {
        if (!isConnectionFailure(error)) throw error;
        if (Date.now() >= deadline || this.#closing) throw new HalError('DependencyUnavailable', 'the database does not answer', { retryAfterSeconds: 2, cause: error });
        this.#metrics.retries.inc();
        await new Promise((resolve) => setTimeout(resolve, RETRY_DELAY_MS));
      } finally {
        end();
      }
    }
  }
}

/** The signals of one request on their way into the database. */
export class IngestRequest {
  readonly orgId: string;
  readonly traceparent: string | undefined;
  readonly #ingest: SignalIngest;
  #open = 0;
  #accepted = 0;
  #duplicates = 0;
  #failure: Error | undefined;
  #finished: (() => void) | undefined;

  constructor(ingest: SignalIngest, orgId: string, traceparent: string | undefined) {
    this.#ingest = ingest;
    this.orgId = orgId;
    this.traceparent = traceparent;
  }

  get failure(): Error | undefined {
    return this.#failure;
  }

  /** Hands rows over; resolves when there is room for more. @throws as {@link finish} when an earlier commit of this request failed. */
  async add(rows: readonly SignalRow[]): Promise<void> {
    if (this.#failure !== undefined) await this.finish();
    if (rows.length > 0) await this.#ingest.enqueue(this, rows);
  }

  /**
   * Waits until all is committed.
   * @throws {HalError} DependencyUnavailable, saying how many signals are in although others are not; any other failure as it is.
   */
  async finish(): Promise<IngestOutcome> {
    if (this.#open > 0) await new Promise<void>((resolve) => (this.#finished = resolve));
    const failure = this.#failure;
    if (failure === undefined) return { accepted: this.#accepted, duplicates: this.#duplicates };
    if (this.#accepted === 0 || !(failure instanceof HalError) || failure.retryAfterSeconds === undefined) throw failure;
    const detail = `${failure.message}; ${this.#accepted} signals of this request are committed and count as duplicates when it is sent again`;
    throw new HalError(failure.type, detail, { retryAfterSeconds: failure.retryAfterSeconds, cause: failure });
  }

  expect(rows: number): void {
    this.#open += rows;
  }

  settle(accepted: number, duplicates: number, rows: number): void {
    this.#accepted += accepted;
    this.#duplicates += duplicates;
    this.#open -= rows;
    if (this.#open === 0) this.#finished?.();
  }

  fail(error: unknown, rows: number): void {
    this.#failure ??= error instanceof Error ? error : new Error('the commit failed', { cause: error });
    this.settle(0, 0, rows);
  }
}

/** @throws {Error} with the code of a socket that timed out; the work itself may still end, which the deduplication makes harmless. */
async function within<T>(ms: number, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(Object.assign(new Error(`the commit took longer than ${ms / 1000} s`), { code: 'ETIMEDOUT' })), ms);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

function countWithin(positions: ReadonlySet<number>, from: number, to: number): number {
  let count = 0;
  for (const position of positions) if (position >= from && position < to) count++;
  return count;
}
