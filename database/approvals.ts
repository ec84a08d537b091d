import { sql, type ColumnType, type Generated, type Selectable } from 'kysely';
import { recordAct, type Act, type ActDetails } from './audit-acts.ts';
import type { Database } from './database.ts';
import type { Timestamp } from './organisations.ts';
import { approvalRuleSchema, approversSchema, type Approvers } from '../schemas/neurons/definition.ts';

type MaybeTime = ColumnType<Date | null, Date | string | null | undefined, Date | string | null>;
/** JSON columns: objects when read, JSON text when written. */
type MaybeJson = ColumnType<unknown, string | null, string | null>;

export type ApprovalState = 'open' | 'approved' | 'refused' | 'expired' | 'cancelled';
export type ApproverKind = 'api-key' | 'user' | 'service' | 'system' | 'link';

export interface ApprovalTables {
  approvals: {
    org_id: string;
    id: string;
    run_id: string;
    decision_id: string | null;
    summary: string;
    reason: string;
    effect: MaybeJson;
    permission: string;
    required: number;
    state: Generated<ApprovalState>;
    outcome: string | null;
    created_at: Timestamp;
    deadline_at: Timestamp;
    closed_at: MaybeTime;
    approvers: MaybeJson;
    requester: string | null;
    allow_requester: Generated<boolean>;
    escalation: MaybeJson;
    escalated_at: MaybeTime;
  };
  approval_answers: { org_id: string; approval_id: string; approver_kind: ApproverKind; approver_id: string; approved: boolean; comment: string | null; answered_at: Timestamp };
  approval_links: { org_id: string; id: string; approval_id: string; token_hash: Buffer; expires_at: Timestamp; used_at: MaybeTime };
}

export interface ApprovalAnswerRecord {
  approver: { kind: ApproverKind; id: string };
  approved: boolean;
  comment: string | null;
  answeredAt: Date;
}

export interface ApprovalRecord {
  id: string;
  runId: string;
  decisionId: string | null;
  summary: string;
  reason: string;
  effect: unknown;
  permission: string;
  required: number;
  state: ApprovalState;
  /** One line: how it ended; null while open. */
  outcome: string | null;
  createdAt: Date;
  deadlineAt: Date;
  closedAt: Date | null;
  answers: ApprovalAnswerRecord[];
  /** Who may answer besides having the permission; null: whoever has it. */
  approvers: Approvers | null;
  /** `<kind>:<id>` of who started the run that asks. */
  requester: string | null;
  allowRequester: boolean;
  escalation: ApprovalEscalation | null;
  escalatedAt: Date | null;
}

/** Whom to turn to when nobody answers. */
export interface ApprovalEscalation {
  afterSeconds: number;
  connection: string;
  approvers?: Approvers | undefined;
}

/** By the act's verb and what is told of it. */
export type ApprovalAct = (verb: 'open' | 'escalate' | 'close', details: ActDetails) => Act;

export type NewApproval = Pick<ApprovalRecord, 'id' | 'runId' | 'decisionId' | 'summary' | 'reason' | 'effect' | 'permission' | 'required' | 'deadlineAt' | 'approvers' | 'requester' | 'allowRequester' | 'escalation'>;

/** Questions to people and their answers. */
export class ApprovalStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** Idempotent: a retry finds the row. */
  async open(orgId: string, approval: NewApproval, act: ApprovalAct): Promise<void> {
    await this.#database.withOrg(orgId, async (tx) => {
      const { numInsertedOrUpdatedRows } = await tx
        .insertInto('approvals')
        .values({
          org_id: orgId,
          id: approval.id,
          run_id: approval.runId,
          decision_id: approval.decisionId,
          summary: approval.summary,
          reason: approval.reason,
          effect: approval.effect === null ? null : JSON.stringify(approval.effect),
          permission: approval.permission,
          required: approval.required,
          outcome: null,
          deadline_at: approval.deadlineAt,
          approvers: approval.approvers === null ? null : JSON.stringify(approval.approvers),
          requester: approval.requester,
          allow_requester: approval.allowRequester,
          escalation: approval.escalation === null ? null : JSON.stringify(approval.escalation),
        })
        .onConflict((conflict) => conflict.doNothing())
        .executeTakeFirst();
      if ((numInsertedOrUpdatedRows ?? 0n) > 0n) await recordAct(tx, act('open', { required: approval.required, permission: approval.permission }));
    });
  }

  async find(orgId: string, id: string): Promise<ApprovalRecord | undefined> {
    return this.#database.withOrg(orgId, async (tx) => {
      const row = await tx.selectFrom('approvals').selectAll().where('id', '=', id).executeTakeFirst();
      if (row === undefined) return undefined;
      const answers = await tx.selectFrom('approval_answers').selectAll().where('approval_id', '=', id).orderBy('answered_at').execute();
      return record(row, answers);
    });
  }

  /** Newest first. `before` is the (created, id) of the last row of the page before. */
  async list(orgId: string, filter: { state?: ApprovalState | undefined }, limit: number, before?: { createdAt: Date; id: string }): Promise<ApprovalRecord[]> {
    return this.#database.withOrg(orgId, async (tx) => {
      let query = tx.selectFrom('approvals').selectAll().orderBy('created_at', 'desc').orderBy('id', 'desc').limit(limit);
      if (filter.state !== undefined) query = query.where('state', '=', filter.state);
      if (before !== undefined) query = query.where(sql<boolean>`(created_at, id) < (${before.createdAt}, ${before.id}::uuid)`);
      const rows = await query.execute();
      if (rows.length === 0) return [];
      const answers = await tx.selectFrom('approval_answers').selectAll().where('approval_id', 'in', rows.map((row) => row.id)).orderBy('answered_at').execute();
      return rows.map((row) => record(row, answers.filter((answer) => answer.approval_id === row.id)));
    });
  }

  /**
   * Writes an answer; the first of an approver stands.
   * @returns `recorded`; `same` when the approver had given this answer already (a retry); `other` when a different one; `closed` when it is not open.
   */
  async answer(orgId: string, approvalId: string, answer: Omit<ApprovalAnswerRecord, 'answeredAt'>, act: Act): Promise<'recorded' | 'same' | 'other' | 'closed'> {
    return this.#database.withOrg(orgId, async (tx) => {
      // Locked, so that no answer slips in while the approval is being closed.
      const approval = await tx.selectFrom('approvals').select('state').where('id', '=', approvalId).forUpdate().executeTakeFirst();
      const before = await tx
        .selectFrom('approval_answers')
        .select('approved')
        .where('approval_id', '=', approvalId)
        .where('approver_kind', '=', answer.approver.kind)
        .where('approver_id', '=', answer.approver.id)
        .executeTakeFirst();
      if (before !== undefined) return before.approved === answer.approved ? 'same' : 'other';
      if (approval?.state !== 'open') return 'closed';
      await tx
        .insertInto('approval_answers')
        .values({ org_id: orgId, approval_id: approvalId, approver_kind: answer.approver.kind, approver_id: answer.approver.id, approved: answer.approved, comment: answer.comment })
        .execute();
      await recordAct(tx, act);
      return 'recorded';
    });
  }

  /** Closes it, once: a later call changes nothing. */
  async close(orgId: string, id: string, state: Exclude<ApprovalState, 'open'>, outcome: string, act: ApprovalAct): Promise<void> {
    await this.#database.withOrg(orgId, async (tx) => {
      const { numUpdatedRows } = await tx.updateTable('approvals').set({ state, outcome, closed_at: sql<Date>`now()` }).where('id', '=', id).where('state', '=', 'open').executeTakeFirst();
      if (numUpdatedRows > 0n) await recordAct(tx, act('close', { state }));
    });
  }

  /** Notes that nobody has answered yet; from now on `approvers` may, too. @returns false when it is closed. */
  async escalate(orgId: string, id: string, approvers: Approvers | null, act: ApprovalAct): Promise<boolean> {
    return this.#database.withOrg(orgId, async (tx) => {
      const row = await tx.selectFrom('approvals').select(['state', 'escalated_at']).where('id', '=', id).forUpdate().executeTakeFirst();
      if (row?.state !== 'open') return false;
      if (row.escalated_at !== null) return true;
      await tx.updateTable('approvals').set({ escalated_at: sql<Date>`now()`, ...(approvers === null ? {} : { approvers: JSON.stringify(approvers) }) }).where('id', '=', id).execute();
      await recordAct(tx, act('escalate', {}));
      return true;
    });
  }

  /** What became of the decision that waited. */
  async settleDecision(orgId: string, decisionId: string, outcome: { state: 'done' | 'refused' | 'failed'; runId: string | null; failure: string | null }): Promise<void> {
    await this.#database.withOrg(orgId, (tx) =>
      tx
        .updateTable('decisions')
        .set({ state: outcome.state, effect_failure: outcome.failure, ...(outcome.runId === null ? {} : { run_id: outcome.runId }) })
        .where('id', '=', decisionId)
        .execute(),
    );
  }

  /** Idempotent: a retry with the same link keeps the first. */
  async addLink(orgId: string, link: { id: string; approvalId: string; tokenHash: Buffer; expiresAt: Date }): Promise<void> {
    await this.#database.withOrg(orgId, (tx) =>
      tx
        .insertInto('approval_links')
        .values({ org_id: orgId, id: link.id, approval_id: link.approvalId, token_hash: link.tokenHash, expires_at: link.expiresAt })
        .onConflict((conflict) => conflict.columns(['org_id', 'id']).doUpdateSet({ token_hash: link.tokenHash, expires_at: link.expiresAt }).where('approval_links.used_at', 'is', null))
        .execute(),
    );
  }

  /** Whether the link may still be used; changes nothing. */
  async linkIsOpen(orgId: string, id: string, tokenHash: Buffer): Promise<boolean> {
    return this.#database.withOrg(orgId, async (tx) => {
      const row = await tx.selectFrom('approval_links').select('used_at').where('id', '=', id).where('token_hash', '=', tokenHash).where('expires_at', '>', sql<Date>`now()`).executeTakeFirst();
      return row?.used_at === null;
    });
  }

  /** Uses the link up. @returns false when it is unknown, expired or used: of two at once, one gets true. */
  async useLink(orgId: string, id: string, tokenHash: Buffer): Promise<boolean> {
    return this.#database.withOrg(orgId, async (tx) => {
      const { numUpdatedRows } = await tx
        .updateTable('approval_links')
        .set({ used_at: sql<Date>`now()` })
        .where('id', '=', id)
        .where('token_hash', '=', tokenHash)
        .where('used_at', 'is', null)
        .where('expires_at', '>', sql<Date>`now()`)
        .executeTakeFirst();
      return numUpdatedRows > 0n;
    });
  }

  /** Makes a link usable again whose answer did not reach the run. */
  async restoreLink(orgId: string, id: string): Promise<void> {
    await this.#database.withOrg(orgId, (tx) => tx.updateTable('approval_links').set({ used_at: null }).where('id', '=', id).execute());
  }
}

function record(row: Selectable<ApprovalTables['approvals']>, answers: readonly Selectable<ApprovalTables['approval_answers']>[]): ApprovalRecord {
  return {
    id: row.id,
    runId: row.run_id,
    decisionId: row.decision_id,
    summary: row.summary,
    reason: row.reason,
    effect: row.effect,
    permission: row.permission,
    required: row.required,
    state: row.state,
    outcome: row.outcome,
    createdAt: row.created_at,
    deadlineAt: row.deadline_at,
    closedAt: row.closed_at,
    approvers: row.approvers === null ? null : approversSchema.parse(row.approvers),
    requester: row.requester,
    allowRequester: row.allow_requester,
    escalation: approvalRuleSchema.shape.escalation.parse(row.escalation ?? undefined) ?? null,
    escalatedAt: row.escalated_at,
    answers: answers.map((answer) => ({ approver: { kind: answer.approver_kind, id: answer.approver_id }, approved: answer.approved, comment: answer.comment, answeredAt: answer.answered_at })),
  };
}
