import { setTimeout as delay } from 'node:timers/promises';
import type { NewReceipt, ReceiptStore } from '../../database/webhook-receipts.ts';

/** Most rows of one statement. */
const MOST_ROWS = 500;

/** Waited for more after a group of several, milliseconds: a commit costs more than its rows. */
const LINGER_MS = 5;

/** Writes receipts in groups: whatever comes while one statement runs goes with the next. */
export class ReceiptLog {
  readonly #store: Pick<ReceiptStore, 'insertAcrossOrganisations'>;
  #waiting: { readonly receipt: NewReceipt; readonly done: () => void; readonly failed: (error: unknown) => void }[] = [];
  #writing: Promise<void> | undefined;

  constructor(store: Pick<ReceiptStore, 'insertAcrossOrganisations'>) {
    this.#store = store;
  }

  /** @returns once the row is committed. */
  write(receipt: NewReceipt): Promise<void> {
    const written = new Promise<void>((done, failed) => this.#waiting.push({ receipt, done, failed }));
    this.#writing ??= this.#work();
    return written;
  }

  /** Waits for what is still to be written. */
  async close(): Promise<void> {
    await this.#writing;
  }

  async #work(): Promise<void> {
    // What comes in the same turn goes with the first group.
    await Promise.resolve();
    while (this.#waiting.length > 0) {
      const group = this.#waiting.splice(0, MOST_ROWS);
      try {
        await this.#store.insertAcrossOrganisations(group.map(({ receipt }) => receipt));
        for (const { done } of group) done();
        if (group.length > 1) await delay(LINGER_MS);
      } catch (error) {
        for (const { failed } of group) failed(error);
      }
    }
    // In the same turn as the last look at the queue, so that nothing is left behind in it.
    this.#writing = undefined;
  }
}
