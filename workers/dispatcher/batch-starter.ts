import type { Logger } from 'pino';
import { v5 } from 'uuid';
import type { OpenBatchStore, OpenedBatch } from '../../database/batches-open.ts';
import { systemCaller, type Caller } from '../../platform/identity/caller.ts';
import type { OperationsPort } from '../../platform/operations/contract.ts';

/** Starts on their way to Temporal at once. */
const CONCURRENT_STARTS = 16;
/** Batches waiting for a start before no more are opened. */
const MOST_WAITING = 256;

export interface BatchStarterOptions {
  readonly operations: Pick<OperationsPort, 'start'>;
  readonly batches: OpenBatchStore;
  readonly logger: Logger;
}

/**
 * Starts the cascade of each open batch. Its uuid is the batch's, so a start that is repeated is the same run; what cannot be
 * started now is found again by the recovery.
 */
export class BatchStarter {
  readonly #options: BatchStarterOptions;
  readonly #queue: OpenedBatch[] = [];
  readonly #inHand = new Set<string>();
  readonly #workers = new Set<Promise<void>>();

  constructor(options: BatchStarterOptions) {
    this.#options = options;
  }

  /** Whether this process has enough to start already. */
  get busy(): boolean {
    return this.#inHand.size >= MOST_WAITING;
  }

  /** Takes batches in; those in hand already are left out. */
  add(batches: readonly OpenedBatch[]): void {
    for (const batch of batches) {
      if (this.#inHand.has(batch.id)) continue;
      this.#inHand.add(batch.id);
      this.#queue.push(batch);
    }
    while (this.#queue.length > 0 && this.#workers.size < CONCURRENT_STARTS) {
      const worker = this.#work().finally(() => this.#workers.delete(worker));
      this.#workers.add(worker);
    }
  }

  /** Waits for the starts in hand. */
  async idle(): Promise<void> {
    while (this.#workers.size > 0) await Promise.all(this.#workers);
  }

  async #work(): Promise<void> {
    for (let batch = this.#queue.shift(); batch !== undefined; batch = this.#queue.shift()) {
      try {
        await this.#start(batch);
      } catch (error) {
        this.#options.logger.warn({ reason: error instanceof Error ? error.message : String(error), batch: batch.id }, 'cascade not started, will be tried again');
      } finally {
        this.#inHand.delete(batch.id);
      }
    }
  }

  async #start(batch: OpenedBatch): Promise<void> {
    const { operations, batches } = this.#options;
    await operations.start(dispatcherCaller(batch), { operation: 'cascade', uuid: cascadeUuid(batch), origin: 'dispatcher', input: { batchId: batch.id } });
    await batches.markStarted([batch]);
  }
}

/** The uuid of the run: the batch's own, and after a cascade that ended without deciding it one derived from batch and attempt. */
export function cascadeUuid(batch: Pick<OpenedBatch, 'id' | 'attempts'>): string {
  return batch.attempts === 0 ? batch.id : v5(String(batch.attempts), batch.id);
}

export function dispatcherCaller(batch: Pick<OpenedBatch, 'orgId' | 'traceparent'>): Caller {
  return systemCaller(batch.orgId, 'dispatcher', batch.traceparent ?? undefined);
}
