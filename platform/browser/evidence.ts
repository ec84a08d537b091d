import { AuditActStore } from '../../database/audit-acts.ts';
import { BrowserSessionStore, type BrowserSession, type StoredBrowserStep } from '../../database/browser-sessions.ts';
import type { Database } from '../../database/database.ts';
import { HalError } from '../../schemas/errors.ts';
import { actOf } from '../audit/act.ts';
import { isBlobRef, type BlobStore } from '../blobs/blob-store.ts';
import type { Caller } from '../identity/caller.ts';
import { contentOf } from './handed-file.ts';
import { evidenceArchive } from './evidence-archive.ts';

/** What a look is called in the audit log. */
const AUDITED = { picture: 'picture', snapshot: 'snapshot', actual: 'picture', baseline: 'picture', difference: 'picture', file: 'file' } as const;
/** Steps that are read at a time. */
const PAGE = 200;

/** What browser sessions did, for who asks afterwards. */
export class BrowserEvidence {
  readonly #store: BrowserSessionStore;
  readonly #acts: AuditActStore;
  readonly #blobs: Pick<BlobStore, 'get'>;

  constructor({ database, blobs }: { database: Database; blobs: Pick<BlobStore, 'get'> }) {
    this.#store = new BrowserSessionStore(database);
    this.#acts = new AuditActStore(database);
    this.#blobs = blobs;
  }

  /** The latest session of a run, and a page of its steps in order. @throws {HalError} NotFound when the run has none. */
  async steps(caller: Caller, runId: string, limit: number, after: number | undefined): Promise<{ session: BrowserSession; steps: StoredBrowserStep[] }> {
    const session = await this.#session(caller, runId);
    return { session, steps: await this.#store.steps(caller.orgId, session.id, limit, after ?? 0) };
  }

  /** The picture taken after a step; that it was looked at is on record. @throws {HalError} NotFound. */
  async picture(caller: Caller, runId: string, seq: number): Promise<Buffer> {
    const { picture } = await this.step(caller, runId, seq);
    return this.#shown(caller, runId, seq, 'picture', picture);
  }

  /** The page after a step in words; that it was looked at is on record. @throws {HalError} NotFound. */
  async snapshot(caller: Caller, runId: string, seq: number): Promise<Buffer> {
    const { snapshot } = await this.step(caller, runId, seq);
    return this.#shown(caller, runId, seq, 'snapshot', snapshot);
  }

  /** A picture that a step compared: a PNG; that it was looked at is on record. @throws {HalError} NotFound. */
  async compared(caller: Caller, runId: string, seq: number, which: 'actual' | 'baseline' | 'difference'): Promise<Buffer> {
    const { [which]: reference } = await this.step(caller, runId, seq);
    return this.#shown(caller, runId, seq, which, reference);
  }

  /** A file that a step handed to a page or took from it; that it was fetched is on record. @param number from 1. @throws {HalError} NotFound. */
  async file(caller: Caller, runId: string, seq: number, number: number): Promise<{ readonly name: string; readonly content: Buffer }> {
    const file = (await this.step(caller, runId, seq)).files[number - 1];
    if (file === undefined) throw new HalError('NotFound', 'the step has no such file');
    const bytes = await this.#shown(caller, runId, seq, 'file', file.blob);
    return { name: file.name, content: file.direction === 'up' ? contentOf(bytes) : bytes };
  }

  /** A step of the run's latest session. @throws {HalError} NotFound. */
  async step(caller: Caller, runId: string, seq: number): Promise<StoredBrowserStep & { readonly flow: string | null }> {
    const session = await this.#session(caller, runId);
    const [step] = await this.#store.steps(caller.orgId, session.id, 1, seq - 1);
    if (step?.seq !== seq) throw new HalError('NotFound', 'the session has no such step');
    return { ...step, flow: session.flow };
  }

  /**
   * The evidence of the run's latest session as a ZIP archive, in parts as they are made; that it was asked for is on record.
   * @throws {HalError} NotFound when the run has none.
   */
  async archive(caller: Caller, runId: string, signal: AbortSignal): Promise<AsyncGenerator<Uint8Array, void, undefined>> {
    const session = await this.#session(caller, runId);
    await this.#acts.record(actOf(caller, 'browser.evidence', { kind: 'run', id: runId }));
    return evidenceArchive(session, { steps: () => this.#all(caller.orgId, session.id, signal), blob: (reference) => this.#there(caller.orgId, reference) });
  }

  async *#all(orgId: string, sessionId: string, signal: AbortSignal): AsyncGenerator<StoredBrowserStep, void, undefined> {
    for (let after: number | undefined = 0; after !== undefined; ) {
      signal.throwIfAborted();
      const steps: StoredBrowserStep[] = await this.#store.steps(orgId, sessionId, PAGE, after);
      yield* steps;
      after = steps.length < PAGE ? undefined : steps.at(-1)?.seq;
    }
  }

  async #shown(caller: Caller, runId: string, seq: number, what: 'picture' | 'snapshot' | 'actual' | 'baseline' | 'difference' | 'file', reference: string | null): Promise<Buffer> {
    if (!isBlobRef(reference)) throw new HalError('NotFound', `the step has no such ${AUDITED[what]}`);
    const bytes = await this.#blobs.get(caller.orgId, reference);
    await this.#acts.record(actOf(caller, `browser.${AUDITED[what]}`, { kind: 'run', id: runId }, { step: seq }));
    return bytes;
  }

  /** Undefined when there is none, and when it was deleted since. */
  async #there(orgId: string, reference: string | null): Promise<Buffer | undefined> {
    if (!isBlobRef(reference)) return undefined;
    return this.#blobs.get(orgId, reference).catch((error: unknown) => {
      if (error instanceof HalError && error.type === 'NotFound') return undefined;
      throw error;
    });
  }

  async #session(caller: Caller, runId: string): Promise<BrowserSession> {
    const [session] = await this.#store.ofRun(caller.orgId, runId);
    if (session === undefined) throw new HalError('NotFound', 'the run has no browser session');
    return session;
  }
}
