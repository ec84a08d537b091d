import { ApprovalStore, type ApprovalRecord, type ApprovalState, type ApproverKind } from '../../database/approvals.ts';
import { noActHere } from '../../database/audit-acts.ts';
import type { Database } from '../../database/database.ts';
import { HalError } from '../../schemas/errors.ts';
import { APPROVAL_UPDATE } from '../../schemas/names/messages.ts';
import type { ApprovalAnswer } from '../../schemas/operations/approval.ts';
import { systemCaller, type Caller } from '../identity/caller.ts';
import { actOf } from '../audit/act.ts';
import type { KeyRing } from '../keys/key-ring.ts';
import type { OperationsPort } from '../operations/contract.ts';
import { Electorate, type ApprovalView } from './electorate.ts';
import { readApprovalToken } from './links.ts';
import { proveAnswer } from './proof.ts';

export interface ApprovalDependencies {
  readonly database: Database;
  readonly keys: KeyRing;
  readonly operations: Pick<OperationsPort, 'update'>;
}

/** What a link leads to. `spent`: used, expired, or unknown; callers must not be able to tell which. */
export type LinkView = { readonly kind: 'open'; readonly approval: ApprovalRecord } | { readonly kind: 'closed'; readonly approval: ApprovalRecord } | { readonly kind: 'spent' };

/** Questions to people: what waits, and how it is answered. The waiting run has the last word on every answer. */
export class Approvals {
  readonly #store: ApprovalStore;
  readonly #keys: KeyRing;
  readonly #operations: Pick<OperationsPort, 'update'>;
  readonly #electorate: Electorate;

  constructor(dependencies: ApprovalDependencies) {
    this.#store = new ApprovalStore(dependencies.database);
    this.#keys = dependencies.keys;
    this.#operations = dependencies.operations;
    this.#electorate = new Electorate(dependencies.database);
  }

  /** Newest first; `before` continues a page. */
  async list(caller: Caller, filter: { state?: ApprovalState | undefined }, limit: number, before?: { createdAt: Date; id: string }): Promise<ApprovalView[]> {
    return this.#electorate.shown(caller, await this.#store.list(caller.orgId, filter, limit, before));
  }

  /** @throws {HalError} `NotFound`. */
  async view(caller: Caller, id: string): Promise<ApprovalView> {
    const [shown] = await this.#electorate.shown(caller, [await this.get(caller, id)]);
    if (shown === undefined) throw new HalError('NotFound', 'no such approval');
    return shown;
  }

  /** @throws {HalError} `NotFound`. */
  async get(caller: Pick<Caller, 'orgId'>, id: string): Promise<ApprovalRecord> {
    const approval = await this.#store.find(caller.orgId, id);
    if (approval === undefined) throw new HalError('NotFound', 'no such approval');
    return approval;
  }

  /**
   * Gives the caller's answer.
   * @throws {HalError} `NotFound`; `Forbidden` without the permission the approval asks for, for whoever is not among its approvers, and for who asked, when they approve; `Conflict` when it is closed; `UpdateRejected`
   *   when the run refuses, e.g. because the caller has answered already; `DependencyUnavailable`, `Timeout`.
   */
  async answer(caller: Caller, id: string, answer: { approved: boolean; comment?: string | undefined }): Promise<ApprovalView> {
    const approval = await this.get(caller, id);
    const refusal = await this.#electorate.refusal(caller, approval, answer.approved);
    if (refusal !== undefined) throw new HalError('Forbidden', refusal);
    await this.#give(caller.orgId, approval, caller.actor, answer);
    return this.view(caller, id);
  }

  /** What the confirming page shows. Changes nothing: mail scanners follow links. */
  async viewLink(token: string): Promise<LinkView> {
    const link = readApprovalToken(this.#keys, token);
    if (link === undefined || !(await this.#store.linkIsOpen(link.orgId, link.approvalId, link.hash))) return { kind: 'spent' };
    const approval = await this.#store.find(link.orgId, link.approvalId);
    if (approval === undefined) return { kind: 'spent' };
    return { kind: approval.state === 'open' ? 'open' : 'closed', approval };
  }

  /** Answers by a link, which is used up by it. Whoever holds the link may: it was sent to those who may approve. */
  async answerLink(token: string, approved: boolean): Promise<LinkView> {
    const link = readApprovalToken(this.#keys, token);
    if (link === undefined || !(await this.#store.useLink(link.orgId, link.approvalId, link.hash))) return { kind: 'spent' };
    const approval = await this.#store.find(link.orgId, link.approvalId);
    if (approval === undefined) return { kind: 'spent' };
    try {
      await this.#give(link.orgId, approval, { kind: 'link', id: link.approvalId }, { approved });
    } catch (error) {
      // The run did not hear it, so the link must work again; an answer that did arrive is recorded as the same one.
      if (error instanceof HalError && error.failure.retryable) await this.#store.restoreLink(link.orgId, link.approvalId);
      throw error;
    }
    return { kind: 'closed', approval: await this.get({ orgId: link.orgId }, link.approvalId) };
  }

  async #give(orgId: string, approval: ApprovalRecord, approver: { kind: ApproverKind; id: string }, answer: { approved: boolean; comment?: string | undefined }): Promise<void> {
    if (approval.state !== 'open') throw new HalError('Conflict', `the approval is ${approval.state}`);
    const { approved, comment } = answer;
    const checked = { approvalId: approval.id, approved, approver: { kind: approver.kind, id: approver.id }, permission: approval.permission };
    const payload: ApprovalAnswer = { ...checked, ...(comment === undefined ? {} : { comment }), proof: proveAnswer(this.#keys, { orgId, ...checked }) };
    try {
      await this.#operations.update(systemCaller(orgId, 'approvals'), approval.runId, APPROVAL_UPDATE, payload);
      noActHere('written-with-its-cause');
    } catch (error) {
      if (error instanceof HalError && (error.type === 'RunClosed' || error.type === 'NotFound')) {
        await this.#store.close(orgId, approval.id, 'cancelled', 'the run that asked has ended', (verb, details) => actOf(systemCaller(orgId, 'approvals'), `approval.${verb}`, { kind: 'approval', id: approval.id }, details));
        throw new HalError('Conflict', 'the run that asked has ended', { cause: error });
      }
      throw error;
    }
  }
}
