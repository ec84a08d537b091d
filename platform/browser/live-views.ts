import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import { BrowserLiveViewStore, type LiveFrame } from '../../database/browser-live-views.ts';
import { BrowserSessionStore } from '../../database/browser-sessions.ts';
import type { Database } from '../../database/database.ts';
import type { LiveInput } from '../../schemas/browser/live-input.ts';
import { HalError } from '../../schemas/errors.ts';
import { LIVE_VIEW_PURPOSE } from '../../schemas/names/live-view.ts';
import { BROWSER_ATTEND_SIGNAL, BROWSER_HAND_BACK_UPDATE, BROWSER_TAKE_OVER_UPDATE } from '../../schemas/names/messages.ts';
import type { TakeOver } from '../../schemas/operations/browser.ts';
import { actOf } from '../audit/act.ts';
import type { Caller } from '../identity/caller.ts';
import { KeyError, type KeyRing } from '../keys/key-ring.ts';
import type { Operations } from '../operations/contract.ts';

/** How long a link shows anything, ms. */
const LINK_MS = 15 * 60_000;
const contentSchema = z.object({ org: z.uuid(), session: z.uuid(), view: z.uuid(), run: z.string() });

/** The right to look at a page, for people. */
export interface LiveLink {
  readonly id: string;
  readonly token: string;
  readonly url: string;
  readonly expiresAt: Date;
}

/** What a link opens. */
export interface OpenView {
  readonly orgId: string;
  readonly sessionId: string;
  readonly viewId: string;
  readonly runId: string;
}

export interface LiveViewsParts {
  readonly database: Database;
  readonly keys: KeyRing;
  readonly operations: Pick<Operations, 'signal' | 'update'>;
  /** Where people reach the API. */
  readonly publicUrl: string;
}

/** The live pages of browser sessions, for people who were let in: by a link that is signed and ends soon. */
export class LiveViews {
  readonly #store: BrowserLiveViewStore;
  readonly #sessions: BrowserSessionStore;
  readonly #parts: LiveViewsParts;

  constructor(parts: LiveViewsParts) {
    this.#parts = parts;
    this.#store = new BrowserLiveViewStore(parts.database);
    this.#sessions = new BrowserSessionStore(parts.database);
  }

  /**
   * Opens the page of a run's session; that it was opened is on record. A session that waits for a person gets a browser again.
   * @throws {HalError} NotFound, Conflict when the session has ended.
   */
  async open(caller: Caller, runId: string): Promise<LiveLink> {
    return this.#link(caller, runId, 'browser.live-view', {}, () => this.#parts.operations.signal(caller, runId, BROWSER_ATTEND_SIGNAL, {}));
  }

  /**
   * Takes a session over for whoever opens the link: it stops before its next step, and mouse and keys go to the page until {@link handBack}, or the deadline.
   * @throws {HalError} NotFound, Conflict when the session has ended, waits for a person or is taken over already.
   */
  async takeOver(caller: Caller, runId: string, asked: TakeOver): Promise<LiveLink> {
    return this.#link(caller, runId, 'browser.take-over', { deadlineSeconds: asked.deadlineSeconds }, () => this.#parts.operations.update(caller, runId, BROWSER_TAKE_OVER_UPDATE, asked));
  }

  /** Gives a session back that was taken over; it goes on from the page as it is. @throws {HalError} NotFound, Conflict when nobody has it. */
  async handBack(caller: Caller, runId: string): Promise<void> {
    await this.#parts.operations.update(caller, runId, BROWSER_HAND_BACK_UPDATE, {});
  }

  async #link(caller: Caller, runId: string, verb: 'browser.live-view' | 'browser.take-over', details: Record<string, number>, ask: () => Promise<unknown>): Promise<LiveLink> {
    const [session] = await this.#sessions.ofRun(caller.orgId, runId);
    if (session === undefined) throw new HalError('NotFound', 'the run has no browser session yet: it has one once its first step is taken');
    if (session.state !== 'open') throw new HalError('Conflict', 'the session has ended');
    const id = randomUUID();
    const expiresAt = new Date(Date.now() + LINK_MS);
    // First, so that only who may send messages to the run gets a link.
    await ask();
    await this.#store.open({ orgId: caller.orgId, sessionId: session.id, id, expiresAt }, actOf(caller, verb, { kind: 'run', id: runId }, { view: id, ...details }));
    const token = this.#parts.keys.sign(LIVE_VIEW_PURPOSE, { org: caller.orgId, session: session.id, view: id, run: runId }, expiresAt);
    // Behind the hash, which is sent to nobody.
    return { id, token, url: `${this.#parts.publicUrl}/console/browser-live.html#${token}`, expiresAt };
  }

  /** @throws {HalError} NotFound when the link is none, or over. */
  read(token: string): OpenView {
    try {
      const { org, session, view, run } = contentSchema.parse(this.#parts.keys.verify(LIVE_VIEW_PURPOSE, token));
      return { orgId: org, sessionId: session, viewId: view, runId: run };
    } catch (error) {
      if (error instanceof KeyError || error instanceof z.ZodError) throw new HalError('NotFound', 'the link is over: open the live view again');
      throw error;
    }
  }

  /** Whether the view is open; says that its viewer is there. */
  async present({ orgId, sessionId, viewId }: OpenView): Promise<boolean> {
    return this.#store.present(orgId, sessionId, viewId);
  }

  /** The page, when it is newer than what the viewer has. */
  async frame({ orgId, sessionId }: OpenView, after: number): Promise<LiveFrame | undefined> {
    const frame = await this.#store.frame(orgId, sessionId, after);
    return frame === undefined ? undefined : { ...frame, picture: this.#parts.keys.open(orgId, LIVE_VIEW_PURPOSE, frame.picture, sessionId) };
  }

  /** Sends what a viewer did to the page. @throws {HalError} NotFound when the view is over; RateLimited when too much is on its way. */
  async send(view: OpenView, inputs: readonly LiveInput[]): Promise<void> {
    if (!(await this.present(view))) throw new HalError('NotFound', 'the view is over');
    const sealed = this.#parts.keys.seal(view.orgId, LIVE_VIEW_PURPOSE, JSON.stringify(inputs), view.sessionId);
    if (!(await this.#store.send(view.orgId, view.sessionId, sealed))) throw new HalError('RateLimited', 'the page does not take as much at once');
  }
}
