import type { Logger } from 'pino';
import { DECIDED_CHANNEL } from '../../database/cascade-commit.ts';
import type { Database } from '../../database/database.ts';
import { Listener } from '../../database/listener.ts';

/** Somebody waits for a batch. */
export interface Expectation {
  /** Resolves when the commit that decides the batch is announced; never when the announcement is lost, so have another way to learn of it. */
  readonly decided: Promise<void>;
  /** Ends the wait. */
  forget(): void;
}

/** Hears over one connection, by LISTEN, which of the batches that somebody waits for are decided. */
export class DecidedBatches {
  readonly #database: Database;
  readonly #logger: Pick<Logger, 'warn'>;
  readonly #expected = new Map<string, () => void>();
  #listener: Listener | undefined;

  constructor(database: Database, logger: Pick<Logger, 'warn'>) {
    this.#database = database;
    this.#logger = logger;
  }

  /** Call it before the batch's cascade begins. */
  expect(batchId: string): Expectation {
    this.#listen();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#expected.set(batchId, resolve);
    return { decided: promise, forget: () => void this.#expected.delete(batchId) };
  }

  async close(): Promise<void> {
    await this.#listener?.close();
  }

  #listen(): void {
    if (this.#listener !== undefined) return;
    const { url, appUrl, ssl, applicationName } = this.#database.options;
    this.#listener = new Listener({
      connection: { connectionString: appUrl ?? url, ...(ssl === undefined ? {} : { ssl }), application_name: `${applicationName}-decided` },
      channels: [DECIDED_CHANNEL],
      onNotify: (_channel, batchId) => {
        if (batchId !== undefined) this.#expected.get(batchId)?.();
      },
      onLost: (error) => this.#logger.warn({ reason: error.message }, 'decisions are not announced, callers wait for the end of the cascade until they are'),
    });
  }
}
