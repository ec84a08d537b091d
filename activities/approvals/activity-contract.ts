import type { ApprovalRule, Approvers } from '../../schemas/neurons/definition.ts';
import type { ApprovalAnswer, ApprovalEffect } from '../../schemas/operations/approval.ts';

export interface ApprovalOpening {
  readonly approvalId: string;
  readonly summary: string;
  readonly reason: string;
  readonly permission: string;
  readonly required: number;
  /** Milliseconds since the epoch. */
  readonly deadlineMs: number;
  readonly decisionId?: string | undefined;
  readonly effect?: ApprovalEffect | null | undefined;
  readonly connection?: string | undefined;
  readonly approvers?: Approvers | undefined;
  readonly allowRequester?: boolean | undefined;
  readonly links?: boolean | undefined;
  readonly escalation?: ApprovalRule['escalation'];
}

export interface ApprovalClosing {
  readonly approvalId: string;
  readonly state: 'approved' | 'refused' | 'expired' | 'cancelled';
  readonly reason: string;
  /** Marked refused unless the state is `approved`. */
  readonly decisionId?: string | undefined;
}

export interface EffectRelease {
  readonly approvalId: string;
  readonly decisionId?: string | undefined;
  readonly effect: ApprovalEffect;
}

/** Served by `core`. The organisation is that of the run. */
export interface ApprovalActivities {
  /** Writes the question down. Idempotent. */
  openApproval(opening: ApprovalOpening): Promise<void>;
  /** Tells people, with a link that answers once. Does nothing without a connection; a message that cannot be delivered is no reason to fail. */
  announceApproval(opening: ApprovalOpening): Promise<void>;
  /** Notes that nobody has answered, lets the approvers of the escalation answer, too, and tells its connection. Idempotent; does nothing once it is closed. */
  escalateApproval(opening: ApprovalOpening): Promise<void>;
  /**
   * Checks and records an answer. Idempotent.
   * @throws {ApplicationFailure} UpdateRejected (not retryable) when it was not signed by HAL9, or this approver answered otherwise before, or it is closed.
   */
  recordAnswer(answer: ApprovalAnswer): Promise<void>;
  /** Idempotent; the first closing stands. */
  closeApproval(closing: ApprovalClosing): Promise<void>;
  /**
   * Starts the operation and sends the message, each once whatever the attempts.
   * @returns the run that was started, if any, and why the effect failed for good, if it did.
   */
  releaseEffect(release: EffectRelease): Promise<{ readonly runId: string | null; readonly failure: string | null }>;
}
