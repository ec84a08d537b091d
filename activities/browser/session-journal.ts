import { createHash } from 'node:crypto';
import type { Page } from 'playwright-core';
import { z } from 'zod';
import type { BrowserAnswer, BrowserFile, BrowserSessionStore, BrowserStep, SessionHold } from '../../database/browser-sessions.ts';
import type { Flow } from '../../schemas/browser/flow.ts';
import type { TurnAnswer } from '../../schemas/browser/turn.ts';
import { isBlobRef, type BlobStore } from '../../platform/blobs/blob-store.ts';
import { handedOver } from '../../platform/browser/handed-file.ts';
import { labelled } from '../../platform/browser/png.ts';
import { captureCheckpoint, encodeCheckpoint } from './checkpoint.ts';
import { isSeen, type Journal, type StepRecord } from './flow-runner.ts';
import type { DueStep, FlowState } from './flow-machine.ts';
import type { LiveSession } from './live-session.ts';
import { snapshotOf } from './snapshot.ts';
import type { StepFile } from './steps.ts';
import { withoutQuery } from './url-pattern.ts';

/** Another worker has taken the session up: this one must not touch it any more. */
export class SessionLost extends Error {
  override readonly name = 'SessionLost';

  constructor() {
    super('another worker has taken the session up');
  }
}

export interface SessionJournalOptions {
  readonly store: Pick<BrowserSessionStore, 'begin' | 'record' | 'checkpoint' | 'work' | 'answer' | 'propose' | 'proposalOf'>;
  readonly blobs: Pick<BlobStore, 'put' | 'get' | 'delete'>;
  readonly hold: SessionHold;
  readonly session: LiveSession;
  readonly begun: readonly string[];
  readonly evidence: Flow['evidence'];
  /** Names of the credentials that were typed so far. */
  readonly credentials: ReadonlySet<string>;
  /** Takes secrets out of a text before it is kept. */
  readonly redact: (text: string) => string;
}

const proposalSchema = z.object({ proposal: z.unknown() });

const PICTURE_MS = 5_000;
const PICTURE = { type: 'jpeg', quality: 60, timeout: PICTURE_MS, animations: 'disabled', caret: 'initial' } as const;
/** Elements of a page that is put into words beside its picture by default: a few milliseconds. */
const FEW_ELEMENTS = 100;
/** A page of more takes seconds to put into words. */
const MOST_ELEMENTS = 20_000;
/** How long steps wait for others to be written with, ms. */
const GATHER_MS = 200;

/** The journal of a session in PostgreSQL and the blob store. What is written is written behind the steps, in their order. */
export class SessionJournal implements Journal {
  readonly begun: ReadonlySet<string>;
  readonly #options: SessionJournalOptions;
  /** Effects that are on record and not behind a checkpoint yet. */
  readonly #noted: Set<string>;
  #waiting: BrowserStep[] = [];
  #writing: Promise<void> = Promise.resolve();
  #noting: Promise<void> = Promise.resolve();
  #checkpointing: Promise<void> = Promise.resolve();
  #gathering: NodeJS.Timeout | undefined;
  /** Since when the work is not on record, ms; undefined while nobody works. */
  #workedFrom: number | undefined;
  #failure: unknown;

  constructor(options: SessionJournalOptions) {
    this.#options = options;
    this.begun = new Set(options.begun);
    this.#noted = new Set(options.begun);
  }

  /** Notes an effect of a step without a guard, the moment it leaves; a crash before the next checkpoint is then told from none. */
  noteEffect(key: string): void {
    if (this.#noted.has(key)) return;
    this.#noted.add(key);
    const { store, hold } = this.#options;
    // Not behind what else is being written: the shorter the time in which a crash would hide it, the better.
    const noted = store.begin(hold, key).then((held) => this.#mustHold(held)).catch((error: unknown) => this.#failed(error));
    this.#noting = Promise.all([this.#noting, noted]).then(() => undefined);
  }

  /** A stretch of work begins; {@link close} ends it. */
  work(): void {
    this.#workedFrom = performance.now();
  }

  async begin({ key }: DueStep): Promise<void> {
    await this.#settled();
    const { store, hold } = this.#options;
    this.#noted.add(key);
    this.#mustHold(await store.begin(hold, key));
  }

  async record({ compared, files = [], ...record }: StepRecord, page: Page): Promise<void> {
    this.#throwFailure();
    const { session, redact, blobs, hold, evidence } = this.#options;
    const troubles = session.takeTroubles().map(({ kind, text }) => ({ kind, text: redact(text) }));
    const step = { ...record, url: redact(withoutQuery(record.url)), failure: record.failure === null ? null : redact(record.failure), troubles };
    const seen = isSeen(record.verb) || record.outcome === 'failed';
    const [picture, snapshot] = await Promise.all([isSeen(record.verb) ? this.#picture(page) : undefined, seen ? this.#snapshot(page, record.outcome === 'failed') : undefined]);
    const put = async (bytes: Buffer | undefined): Promise<string | null> => (bytes === undefined ? null : blobs.put(hold.orgId, bytes));
    // The session keeps equal pictures of two sessions, and baselines, apart: each goes with its own.
    const putCompared = async (png: Uint8Array | undefined): Promise<string | null> => put(png === undefined || evidence === 'none' ? undefined : labelled(png, hold.id));
    void this.#then(async () => {
      const pictures = { actual: await putCompared(compared?.actual), baseline: await putCompared(compared?.baseline), difference: await putCompared(compared?.difference) };
      this.#waiting.push({ ...step, picture: await put(picture), snapshot: await put(snapshot), comparison: compared?.comparison ?? null, ...pictures, files: await Promise.all(files.map((file) => this.#file(file))) });
    });
    this.#gathering ??= setTimeout(() => this.#flush(), GATHER_MS).unref();
  }

  /** What was taken from a page is kept beside the run already. What was handed to it is evidence; the session keeps equal files of two sessions apart. */
  async #file({ direction, name, mediaType, content, reference }: StepFile): Promise<BrowserFile> {
    const { evidence, redact, blobs, hold } = this.#options;
    const blob = reference ?? (evidence === 'none' ? null : await blobs.put(hold.orgId, handedOver(hold.id, content)));
    return { direction, name: redact(name), bytes: content.length, sha256: createHash('sha256').update(content).digest('hex'), mediaType, blob };
  }

  async checkpoint(state: FlowState): Promise<void> {
    const { store, blobs, hold, session, credentials } = this.#options;
    const captured = encodeCheckpoint(await captureCheckpoint(hold.id, session, state, credentials));
    const over = [...this.#noted];
    this.#noted.clear();
    // One is on its way at a time: a session never runs further ahead of what is durable.
    await this.#checkpointing;
    this.#throwFailure();
    this.#checkpointing = this.#then(async () => {
      const reference = await blobs.put(hold.orgId, captured);
      const outcome = await store.checkpoint(hold, { reference, over, workedMs: this.#takeWorked() }, this.#waiting.splice(0));
      if (outcome === undefined) {
        await blobs.delete(hold.orgId, reference);
        throw new SessionLost();
      }
      if (isBlobRef(outcome.before) && outcome.before !== reference) await blobs.delete(hold.orgId, outcome.before);
    });
  }

  /** What was proposed for a step in words: `ask` is called when nobody has before. */
  async proposal(key: string, ask: () => Promise<unknown>): Promise<unknown> {
    const { store, blobs, hold } = this.#options;
    let reference = await store.proposalOf(hold.orgId, hold.id, key);
    if (reference === undefined) {
      // Key and session keep equal proposals apart: each is deleted by itself.
      const mine = await blobs.put(hold.orgId, Buffer.from(JSON.stringify({ session: hold.id, key, proposal: await ask() })));
      reference = await store.propose(hold, key, mine);
      if (reference !== mine) await blobs.delete(hold.orgId, mine);
    }
    if (!isBlobRef(reference)) throw new SessionLost();
    return proposalSchema.parse(JSON.parse((await blobs.get(hold.orgId, reference)).toString('utf8'))).proposal;
  }

  /** Keeps what a turn came to, with all that was recorded before. */
  async answer(turn: Omit<BrowserAnswer, 'answer'>, seen: TurnAnswer): Promise<BrowserAnswer> {
    await this.close();
    const { store, blobs, hold } = this.#options;
    // The id keeps equal answers apart: each is deleted by itself.
    const answer = { ...turn, answer: await blobs.put(hold.orgId, Buffer.from(JSON.stringify({ turn: turn.turnId, ...seen }))) };
    const kept = await store.answer(hold, answer);
    if (!kept && isBlobRef(answer.answer)) await blobs.delete(hold.orgId, answer.answer);
    this.#mustHold(kept);
    return answer;
  }

  /** Ends a stretch of work: waits until all that was recorded is durable. */
  async close(): Promise<void> {
    this.#flush();
    const { store, hold } = this.#options;
    void this.#then(async () => {
      const workedMs = this.#takeWorked();
      this.#workedFrom = undefined;
      this.#mustHold(await store.work(hold, workedMs));
    });
    await this.#settled();
  }

  #takeWorked(): number {
    if (this.#workedFrom === undefined) return 0;
    const now = performance.now();
    const workedMs = now - this.#workedFrom;
    this.#workedFrom = now;
    return workedMs;
  }

  /** Nothing of a page is worth failing a step that succeeded: a picture that cannot be taken is left out. */
  async #picture(page: Page): Promise<Buffer | undefined> {
    if (this.#options.evidence === 'none' || page.isClosed()) return undefined;
    const mask = [page.locator('input[type=password]')];
    return page.screenshot({ ...PICTURE, mask }).catch(() => undefined);
  }

  /** The page in words; of a large one only where it is asked for, or a step failed. As a picture, it is left out when it cannot be taken. */
  async #snapshot(page: Page, failed: boolean): Promise<Buffer | undefined> {
    const { evidence, redact, hold } = this.#options;
    if (evidence === 'none' || page.isClosed()) return undefined;
    const taken = snapshotOf(page, redact, evidence === 'full' || failed ? MOST_ELEMENTS : FEW_ELEMENTS).catch(() => undefined);
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<undefined>((resolve) => (timer = setTimeout(() => resolve(undefined), PICTURE_MS)));
    const snapshot = await Promise.race([taken, late]).finally(() => clearTimeout(timer));
    // The session keeps equal pages of two sessions apart: each goes with its own.
    return snapshot === undefined ? undefined : Buffer.from(`# ${hold.id}\n${snapshot}\n`);
  }

  #flush(): void {
    clearTimeout(this.#gathering);
    this.#gathering = undefined;
    void this.#then(async () => {
      const steps = this.#waiting.splice(0);
      this.#mustHold(await this.#options.store.record(this.#options.hold, steps));
    });
  }

  /** One write at a time, so that steps keep their order; the first failure is told to whoever writes next. */
  #then(work: () => Promise<void>): Promise<void> {
    this.#writing = this.#writing.then(async () => {
      if (this.#failure === undefined) await work();
    }).catch((error: unknown) => this.#failed(error));
    return this.#writing;
  }

  #failed(error: unknown): void {
    this.#failure ??= error;
  }

  async #settled(): Promise<void> {
    await Promise.all([this.#writing, this.#noting]);
    this.#throwFailure();
  }

  #throwFailure(): void {
    if (this.#failure !== undefined) throw this.#failure instanceof Error ? this.#failure : new Error('the journal cannot be written');
  }

  #mustHold(held: boolean): void {
    if (!held) throw new SessionLost();
  }
}
