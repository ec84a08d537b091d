import type { ColumnType, Generated } from 'kysely';
import type { Database, Tx } from './database.ts';
import type { Timestamp } from './organisations.ts';
import { recordUsage } from './usage-events.ts';

export type BrowserSessionState = 'open' | 'done' | 'failed' | 'cancelled';

export interface BrowserTables {
  browser_sessions: {
    org_id: string;
    id: string;
    run_id: string;
    flow: string | null;
    fence: Generated<number>;
    worker: string | null;
    state: Generated<BrowserSessionState>;
    checkpoint: string | null;
    worked_ms: ColumnType<number, never, number>;
    metered_seconds: ColumnType<number, never, number>;
    checkpointed_at: ColumnType<Date | null, Date | null | undefined, Date | null>;
    created_at: Timestamp;
    closed_at: ColumnType<Date | null, Date | null | undefined, Date | null>;
  };
  browser_steps: {
    org_id: string;
    session_id: string;
    seq: Generated<string>;
    key: string;
    path: string;
    verb: string;
    name: string | null;
    outcome: BrowserStepOutcome;
    target: string | null;
    way: number | null;
    failure: string | null;
    url: string;
    started_at: Date;
    ended_at: Date;
    picture: string | null;
    snapshot: string | null;
    comparison: ColumnType<BrowserComparison | null, string | null, never>;
    actual: string | null;
    baseline: string | null;
    difference: string | null;
    files: ColumnType<BrowserFile[], string, never>;
    troubles: ColumnType<BrowserTrouble[], string, string>;
  };
  browser_effects: { org_id: string; session_id: string; key: string; begun_at: Timestamp };
  browser_proposals: { org_id: string; session_id: string; key: string; proposal: string; proposed_at: Timestamp };
  browser_answers: {
    org_id: string;
    session_id: string;
    turn_id: string;
    failure: ColumnType<BrowserAnswer['failure'], string | null, never>;
    answer: string;
    needed: number;
    answered_at: Timestamp;
  };
}

export type BrowserStepOutcome = 'done' | 'skipped' | 'seen' | 'failed';

export interface BrowserTrouble {
  readonly kind: 'console' | 'network' | 'dialog';
  readonly text: string;
}

/** A file that a step handed to a page, or took from it. */
export interface BrowserFile {
  readonly direction: 'up' | 'down';
  readonly name: string;
  readonly bytes: number;
  /** In hexadecimal digits. */
  readonly sha256: string;
  readonly mediaType: string;
  /** What it holds; null where the flow wants no evidence. */
  readonly blob: string | null;
}

/** What came of comparing a picture of the page with its baseline. */
export interface BrowserComparison {
  readonly name: string;
  /** Size of the window and device pixels to each of its own, e.g. `1280x800@1`. */
  readonly viewport: string;
  /** `created`: there was none, and the picture became the baseline; `missing`: there was none, and the flow wants one. */
  readonly outcome: 'created' | 'same' | 'differs' | 'missing';
  readonly size: { readonly width: number; readonly height: number };
  readonly baselineSize: { readonly width: number; readonly height: number } | null;
  /** Pixels that differ. */
  readonly different: number;
  /** As many may. */
  readonly most: number;
  /** How much a pixel may differ before it counts, from 0 to 1. */
  readonly threshold: number;
}

export interface BrowserStep {
  readonly key: string;
  readonly path: string;
  readonly verb: string;
  readonly name: string | null;
  readonly outcome: BrowserStepOutcome;
  readonly target: string | null;
  readonly way: number | null;
  readonly failure: string | null;
  readonly url: string;
  readonly startedAt: Date;
  readonly endedAt: Date;
  readonly picture: string | null;
  /** Blob of the page in words. */
  readonly snapshot: string | null;
  readonly comparison: BrowserComparison | null;
  /** Blobs of what was compared: PNGs. */
  readonly actual: string | null;
  readonly baseline: string | null;
  readonly difference: string | null;
  readonly files: readonly BrowserFile[];
  readonly troubles: readonly BrowserTrouble[];
}

export interface StoredBrowserStep extends BrowserStep {
  readonly seq: number;
}

export interface BrowserSession {
  readonly id: string;
  readonly runId: string;
  readonly flow: string | null;
  readonly fence: number;
  readonly worker: string | null;
  readonly state: BrowserSessionState;
  readonly checkpoint: string | null;
  readonly checkpointedAt: Date | null;
  /** How long browsers worked on it, ms; up to the last time that was on record. */
  readonly workedMs: number;
  readonly createdAt: Date;
  readonly closedAt: Date | null;
}

/** What came of one turn of an interactive session. */
export interface BrowserAnswer {
  readonly turnId: string;
  readonly failure: { readonly type: string; readonly message: string } | null;
  /** Blob of what the page showed. */
  readonly answer: string;
  /** Number of the first step that a restart needs again. */
  readonly needed: number;
}

/** A step whose element was found another way than the first. */
export interface BrowserHealing {
  readonly path: string;
  readonly verb: string;
  readonly name: string | null;
  /** Which of `or`, from 1. */
  readonly way: number;
  /** The element, in the words of that way. */
  readonly target: string | null;
  readonly times: number;
}

/** Names a session within its organisation, and the take-up that may write to it. */
export interface SessionHold {
  readonly orgId: string;
  readonly id: string;
  readonly fence: number;
}

const SESSION = ['worked_ms as workedMs', 'id', 'run_id as runId', 'flow', 'fence', 'worker', 'state', 'checkpoint', 'checkpointed_at as checkpointedAt', 'created_at as createdAt', 'closed_at as closedAt'] as const;

/** Sessions of browsers, what they did and where another worker goes on. */
export class BrowserSessionStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** Takes a session up, new or known: earlier holders may not write any more. Answers it with the effects that were begun. */
  async takeUp(orgId: string, session: { id: string; runId: string; flow: string | null; worker: string }): Promise<BrowserSession & { readonly begun: readonly string[] }> {
    return this.#database.withOrg(orgId, async (tx) => {
      const taken = await tx
        .insertInto('browser_sessions')
        .values({ org_id: orgId, id: session.id, run_id: session.runId, flow: session.flow, worker: session.worker, fence: 1, checkpoint: null })
        .onConflict((conflict) => conflict.columns(['org_id', 'id']).doUpdateSet((row) => ({ fence: row('browser_sessions.fence', '+', 1), worker: session.worker })))
        .returning(SESSION)
        .executeTakeFirstOrThrow();
      const begun = await tx.selectFrom('browser_effects').select('key').where('org_id', '=', orgId).where('session_id', '=', session.id).execute();
      return { ...taken, begun: begun.map(({ key }) => key) };
    });
  }

  /** Notes that a step with a side effect begins. Answers whether the hold still holds. */
  async begin(hold: SessionHold, key: string): Promise<boolean> {
    return this.#database.withOrg(hold.orgId, async (tx) => {
      if (!(await holds(tx, hold))) return false;
      await tx.insertInto('browser_effects').values({ org_id: hold.orgId, session_id: hold.id, key }).onConflict((conflict) => conflict.doNothing()).execute();
      return true;
    });
  }

  /** Adds a time of work to a session and counts its whole seconds as used. Answers whether the hold still holds. */
  async work(hold: SessionHold, workedMs: number): Promise<boolean> {
    return this.#database.withOrg(hold.orgId, async (tx) => {
      const current = await tx.selectFrom('browser_sessions').select(['fence', 'worked_ms as workedMs', 'metered_seconds as meteredSeconds']).where('org_id', '=', hold.orgId).where('id', '=', hold.id).forUpdate().executeTakeFirst();
      if (current?.fence !== hold.fence) return false;
      const total = current.workedMs + Math.round(workedMs);
      await meter(tx, hold, current.meteredSeconds, Math.floor(total / 1000));
      await tx.updateTable('browser_sessions').set({ worked_ms: total, metered_seconds: Math.floor(total / 1000) }).where('org_id', '=', hold.orgId).where('id', '=', hold.id).execute();
      return true;
    });
  }

  /** Puts steps on record. Answers whether the hold still holds. */
  async record(hold: SessionHold, steps: readonly BrowserStep[]): Promise<boolean> {
    if (steps.length === 0) return true;
    return this.#database.withOrg(hold.orgId, async (tx) => {
      if (!(await holds(tx, hold))) return false;
      await insertSteps(tx, hold, steps);
      return true;
    });
  }

  /**
   * From here another worker goes on; the effects that were begun before are over.
   * @returns the checkpoint that was there before, or undefined when the hold does not hold any more.
   */
  async checkpoint(hold: SessionHold, { reference, over, workedMs }: { reference: string; over: readonly string[]; workedMs: number }, steps: readonly BrowserStep[]): Promise<{ readonly before: string | null } | undefined> {
    return this.#database.withOrg(hold.orgId, async (tx) => {
      const current = await tx.selectFrom('browser_sessions').select(['fence', 'checkpoint']).where('org_id', '=', hold.orgId).where('id', '=', hold.id).forUpdate().executeTakeFirst();
      if (current?.fence !== hold.fence) return undefined;
      await insertSteps(tx, hold, steps);
      await tx.updateTable('browser_sessions').set((row) => ({ checkpoint: reference, checkpointed_at: new Date(), worked_ms: row('worked_ms', '+', Math.round(workedMs)) })).where('org_id', '=', hold.orgId).where('id', '=', hold.id).execute();
      if (over.length > 0) await tx.deleteFrom('browser_effects').where('org_id', '=', hold.orgId).where('session_id', '=', hold.id).where('key', 'in', over).execute();
      return { before: current.checkpoint };
    });
  }

  /** Keeps what a turn came to. Answers whether the hold still holds. */
  async answer(hold: SessionHold, { turnId, failure, answer, needed }: BrowserAnswer): Promise<boolean> {
    return this.#database.withOrg(hold.orgId, async (tx) => {
      if (!(await holds(tx, hold))) return false;
      await tx.insertInto('browser_answers').values({ org_id: hold.orgId, session_id: hold.id, turn_id: turnId, failure: failure === null ? null : JSON.stringify(failure), answer, needed }).execute();
      return true;
    });
  }

  /** What a turn came to, if it was taken. */
  async answerOf(orgId: string, id: string, turnId: string): Promise<BrowserAnswer | undefined> {
    return this.#database.withOrg(orgId, (tx) =>
      tx.selectFrom('browser_answers').select(['turn_id as turnId', 'failure', 'answer', 'needed']).where('org_id', '=', orgId).where('session_id', '=', id).where('turn_id', '=', turnId).executeTakeFirst(),
    );
  }

  /** Keeps what was proposed for a step in words, once. Answers the reference that counts: of two, the first. */
  async propose(hold: SessionHold, key: string, proposal: string): Promise<string | undefined> {
    return this.#database.withOrg(hold.orgId, async (tx) => {
      if (!(await holds(tx, hold))) return undefined;
      await tx.insertInto('browser_proposals').values({ org_id: hold.orgId, session_id: hold.id, key, proposal }).onConflict((conflict) => conflict.doNothing()).execute();
      const kept = await tx.selectFrom('browser_proposals').select('proposal').where('org_id', '=', hold.orgId).where('session_id', '=', hold.id).where('key', '=', key).executeTakeFirstOrThrow();
      return kept.proposal;
    });
  }

  /** What was proposed for a step in words, if it was asked before. */
  async proposalOf(orgId: string, id: string, key: string): Promise<string | undefined> {
    const row = await this.#database.withOrg(orgId, (tx) => tx.selectFrom('browser_proposals').select('proposal').where('org_id', '=', orgId).where('session_id', '=', id).where('key', '=', key).executeTakeFirst());
    return row?.proposal;
  }

  /** Blobs that nobody needs once the session has ended: its checkpoint, which holds logins, its answers, and what was proposed in it. */
  async leftBy(orgId: string, id: string): Promise<string[]> {
    return this.#database.withOrg(orgId, async (tx) => {
      const session = await tx.selectFrom('browser_sessions').select('checkpoint').where('org_id', '=', orgId).where('id', '=', id).where('state', '<>', 'open').executeTakeFirst();
      if (session === undefined) return [];
      const answers = await tx.selectFrom('browser_answers').select('answer').where('org_id', '=', orgId).where('session_id', '=', id).execute();
      const proposals = await tx.selectFrom('browser_proposals').select('proposal').where('org_id', '=', orgId).where('session_id', '=', id).execute();
      return [...(session.checkpoint === null ? [] : [session.checkpoint]), ...answers.map(({ answer }) => answer), ...proposals.map(({ proposal }) => proposal)];
    });
  }

  /** Forgets what an ended session left, and what people saw of its page and did to it; the blobs are deleted before, so that none is left that nobody knows. */
  async forget(orgId: string, id: string): Promise<void> {
    await this.#database.withOrg(orgId, async (tx) => {
      for (const table of ['browser_answers', 'browser_proposals', 'browser_live_frames', 'browser_live_inputs'] as const) await tx.deleteFrom(table).where('org_id', '=', orgId).where('session_id', '=', id).execute();
      await tx.updateTable('browser_sessions').set({ checkpoint: null }).where('org_id', '=', orgId).where('id', '=', id).where('state', '<>', 'open').execute();
    });
  }

  /** Ends a session, and counts what of its work was not counted yet, a second begun as a whole one. What it left is to be deleted: {@link leftBy}. */
  async close(orgId: string, id: string, state: Exclude<BrowserSessionState, 'open'>): Promise<void> {
    await this.#database.withOrg(orgId, async (tx) => {
      const current = await tx.selectFrom('browser_sessions').select(['worked_ms as workedMs', 'metered_seconds as meteredSeconds']).where('org_id', '=', orgId).where('id', '=', id).forUpdate().executeTakeFirst();
      if (current === undefined) return;
      const seconds = Math.ceil(current.workedMs / 1000);
      await meter(tx, { orgId, id }, current.meteredSeconds, seconds);
      await tx
        .updateTable('browser_sessions')
        .set((row) => ({ state, metered_seconds: seconds, closed_at: new Date(), fence: row('fence', '+', 1) }))
        .where('org_id', '=', orgId)
        .where('id', '=', id)
        .execute();
    });
  }

  /** The sessions of a run, newest first: a run may have been reset. */
  async ofRun(orgId: string, runId: string): Promise<BrowserSession[]> {
    return this.#database.withOrg(orgId, (tx) => tx.selectFrom('browser_sessions').select(SESSION).where('org_id', '=', orgId).where('run_id', '=', runId).orderBy('created_at', 'desc').limit(20).execute());
  }

  /** Steps whose element was found another way than the first; of several ways the latest. */
  async healings(orgId: string, id: string): Promise<BrowserHealing[]> {
    const rows = await this.#database.withOrg(orgId, (tx) =>
      tx
        .selectFrom('browser_steps')
        .select(({ fn }) => ['path', 'verb', 'name', 'way', 'target', fn.countAll<string>().as('times'), fn.max('seq').as('last')])
        .where('org_id', '=', orgId)
        .where('session_id', '=', id)
        .where('way', '>', 0)
        .groupBy(['path', 'verb', 'name', 'way', 'target'])
        .orderBy('last', 'desc')
        .limit(500)
        .execute(),
    );
    const latest = new Map<string, BrowserHealing>();
    for (const { path, verb, name, way, target, times } of rows) if (way !== null && !latest.has(path)) latest.set(path, { path, verb, name, way, target, times: Number(times) });
    return [...latest.values()];
  }

  /** What a session did, in order. */
  async steps(orgId: string, id: string, limit: number, after = 0): Promise<StoredBrowserStep[]> {
    const rows = await this.#database.withOrg(orgId, (tx) =>
      tx
        .selectFrom('browser_steps')
        .select(['seq', 'key', 'path', 'verb', 'name', 'outcome', 'target', 'way', 'failure', 'url', 'started_at as startedAt', 'ended_at as endedAt', 'picture', 'snapshot', 'comparison', 'actual', 'baseline', 'difference', 'files', 'troubles'])
        .where('org_id', '=', orgId)
        .where('session_id', '=', id)
        .where('seq', '>', String(after))
        .orderBy('seq')
        .limit(limit)
        .execute(),
    );
    return rows.map((row) => ({ ...row, seq: Number(row.seq) }));
  }
}

/** The total in the key makes a repetition the same use. */
async function meter(tx: Tx, { orgId, id }: Pick<SessionHold, 'orgId' | 'id'>, before: number, seconds: number): Promise<void> {
  if (seconds > before) await recordUsage(tx, { orgId, meter: 'browser-seconds', key: `${id}/${String(seconds)}`, quantity: seconds - before });
}

async function insertSteps(tx: Tx, { orgId, id }: SessionHold, steps: readonly BrowserStep[]): Promise<void> {
  if (steps.length === 0) return;
  const rows = steps.map(({ startedAt, endedAt, troubles, comparison, files, ...step }) => ({ org_id: orgId, session_id: id, ...step, started_at: startedAt, ended_at: endedAt, comparison: comparison === null ? null : JSON.stringify(comparison), files: JSON.stringify(files), troubles: JSON.stringify(troubles) }));
  await tx.insertInto('browser_steps').values(rows).execute();
}

/** Whether a hold still holds. */
export async function holds(tx: Tx, { orgId, id, fence }: SessionHold): Promise<boolean> {
  // Shared: two writes of the holder do not wait for each other, a take-up waits for both.
  const current = await tx.selectFrom('browser_sessions').select('fence').where('org_id', '=', orgId).where('id', '=', id).forShare().executeTakeFirst();
  return current?.fence === fence;
}
