import type { Page } from 'playwright-core';
import type { BrowserSessionStore, BrowserStep, SessionHold } from '../../database/browser-sessions.ts';
import { isBlobRef, type BlobStore } from '../../platform/blobs/blob-store.ts';
import { captureCheckpoint, encodeCheckpoint } from './checkpoint.ts';
import { isSeen, type Journal, type StepRecord } from './flow-runner.ts';
import type { DueStep, FlowState } from './flow-machine.ts';
import type { LiveSession } from './live-session.ts';
import { withoutQuery } from './url-pattern.ts';

/** Another worker has taken the session up: this one must not touch it any more. */
export class SessionLost extends Error {
  override readonly name = 'SessionLost';

  constructor() {
    super('another worker has taken the session up');
  }
}

export interface SessionJournalOptions {
  readonly store: Pick<BrowserSessionStore, 'begin' | 'record' | 'checkpoint'>;
  readonly blobs: Pick<BlobStore, 'put' | 'delete'>;
  readonly hold: SessionHold;
  readonly session: LiveSession;
  readonly begun: readonly string[];
  readonly pictures: boolean;
  /** Takes secrets out of a text before it is kept. */
  readonly redact: (text: string) => string;
}

const PICTURE_MS = 5_000;
const PICTURE = { type: 'jpeg', quality: 60, timeout: PICTURE_MS, animations: 'disabled', caret: 'initial' } as const;

/** The journal of a session in PostgreSQL and the blob store. */
export class SessionJournal implements Journal {
  readonly begun: ReadonlySet<string>;
  readonly #options: SessionJournalOptions;
  #waiting: BrowserStep[] = [];
  #writing: Promise<void> = Promise.resolve();
  #failure: unknown;

  constructor(options: SessionJournalOptions) {
    this.#options = options;
    this.begun = new Set(options.begun);
  }

  /** Notes an effect of a step without a guard, the moment it leaves; a crash before the next checkpoint is then told from none. */
  noteEffect(key: string): void {
    const { store, hold } = this.#options;
    this.#then(async () => this.#mustHold(await store.begin(hold, key)));
  }

  async begin({ key }: DueStep): Promise<void> {
    await this.#settled();
    const { store, hold } = this.#options;
    this.#mustHold(await store.begin(hold, key));
  }

  async record(record: StepRecord, page: Page): Promise<void> {
    this.#throwFailure();
    const { session, redact } = this.#options;
    const troubles = session.takeTroubles().map(({ kind, text }) => ({ kind, text: redact(text) }));
    const step = { ...record, url: redact(withoutQuery(record.url)), failure: record.failure === null ? null : redact(record.failure), troubles };
    const picture = isSeen(record.verb) ? await this.#picture(page) : null;
    this.#waiting.push({ ...step, picture });
    this.#flush();
  }

  async checkpoint(state: FlowState): Promise<void> {
    const { store, blobs, hold, session } = this.#options;
    const captured = encodeCheckpoint(await captureCheckpoint(hold.id, session, state));
    await this.#settled();
    const reference = await blobs.put(hold.orgId, captured);
    const outcome = await store.checkpoint(hold, reference, this.#waiting.splice(0));
    if (outcome === undefined) {
      await blobs.delete(hold.orgId, reference);
      throw new SessionLost();
    }
    if (isBlobRef(outcome.before) && outcome.before !== reference) await blobs.delete(hold.orgId, outcome.before);
  }

  /** Waits until all that was recorded is durable. */
  async close(): Promise<void> {
    this.#flush();
    await this.#settled();
  }

  /** Nothing of a page is worth failing a step that succeeded: a picture that cannot be taken is left out. */
  async #picture(page: Page): Promise<string | null> {
    const { pictures, blobs, hold } = this.#options;
    if (!pictures || page.isClosed()) return null;
    const mask = [page.locator('input[type=password]')];
    const taken = await page.screenshot({ ...PICTURE, mask }).catch(() => undefined);
    return taken === undefined ? null : blobs.put(hold.orgId, taken);
  }

  /** One write at a time, so that steps keep their order. */
  #flush(): void {
    this.#then(async () => {
      const steps = this.#waiting.splice(0);
      this.#mustHold(await this.#options.store.record(this.#options.hold, steps));
    });
  }

  #then(work: () => Promise<void>): void {
    this.#writing = this.#writing.then(async () => {
      if (this.#failure === undefined) await work();
    }).catch((error: unknown) => {
      this.#failure ??= error;
    });
  }

  async #settled(): Promise<void> {
    await this.#writing;
    this.#throwFailure();
  }

  #throwFailure(): void {
    if (this.#failure !== undefined) throw this.#failure instanceof Error ? this.#failure : new Error('the journal cannot be written');
  }

  #mustHold(held: boolean): void {
    if (!held) throw new SessionLost();
  }
}
