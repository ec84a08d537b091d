import { AuditActStore } from '../../database/audit-acts.ts';
import type { Database } from '../../database/database.ts';
import { turnAnswerSchema, turnSchema, type TurnAnswer, type TurnFailure } from '../../schemas/browser/turn.ts';
import { HalError } from '../../schemas/errors.ts';
import { BROWSER_END_UPDATE, BROWSER_STEP_UPDATE } from '../../schemas/names/messages.ts';
import { parseRunId } from '../../schemas/names/workflow-id.ts';
import browserSession, { browserTurnOutcomeSchema, type BrowserSessionInput } from '../../schemas/operations/browser-session.ts';
import { actOf } from '../audit/act.ts';
import { isBlobRef, type BlobStore } from '../blobs/blob-store.ts';
import type { Caller } from '../identity/caller.ts';
import { assertCan } from '../identity/permissions.ts';
import type { Operations } from '../operations/contract.ts';
import { parsePayload } from '../operations/validation.ts';

/** What came of a turn, and what the page showed afterwards. */
export interface TurnSeen {
  readonly failure: TurnFailure | null;
  readonly page: TurnAnswer;
}

/** How long a turn is waited for, ms; it goes on afterwards. */
const TURN_MS = 50_000;

/** Interactive browser sessions: runs of `browser-session`, told what to do step by step. */
export class InteractiveBrowsers {
  readonly #operations: Operations;
  readonly #blobs: Pick<BlobStore, 'get'>;
  readonly #acts: AuditActStore;

  constructor({ operations, database, blobs }: { operations: Operations; database: Database; blobs: Pick<BlobStore, 'get'> }) {
    this.#operations = operations;
    this.#blobs = blobs;
    this.#acts = new AuditActStore(database);
  }

  /** Starts a session. @returns its run. */
  async open(caller: Caller, input: BrowserSessionInput): Promise<string> {
    const { runId } = await this.#operations.start(caller, { operation: browserSession.name, input, origin: 'api' });
    return runId;
  }

  /**
   * Takes a step, looks at the page, or both. A turn with a known id is answered, not taken again.
   * @throws {HalError} NotFound, RunClosed, Forbidden (a picture needs `codec:decode`), Timeout (the step goes on: send the same turn again), InvalidInput.
   */
  async take(caller: Caller, runId: string, asked: unknown, waitMs = TURN_MS): Promise<TurnSeen> {
    assertSession(runId);
    const turn = parsePayload(turnSchema, asked);
    if (turn.look.picture) assertCan(caller, 'codec:decode');
    const outcome = browserTurnOutcomeSchema.parse(await this.#operations.update(caller, runId, BROWSER_STEP_UPDATE, turn, waitMs));
    if (!isBlobRef(outcome.answer)) throw new HalError('Internal', 'the answer of a turn is no blob reference');
    const page = turnAnswerSchema.parse(JSON.parse((await this.#blobs.get(caller.orgId, outcome.answer)).toString('utf8')));
    if (page.picture !== undefined) await this.#acts.record(actOf(caller, 'browser.picture', { kind: 'run', id: runId }, { turn: turn.id }));
    return { failure: outcome.failure, page };
  }

  /** Ends the session once what was asked before is done. */
  async end(caller: Caller, runId: string): Promise<void> {
    assertSession(runId);
    await this.#operations.update(caller, runId, BROWSER_END_UPDATE, {});
  }
}

function assertSession(runId: string): void {
  if (parseRunId(runId)?.operation !== browserSession.name) throw new HalError('NotFound', 'no such interactive session');
}
