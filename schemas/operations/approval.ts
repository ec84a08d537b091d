import { z } from 'zod';
import { APPROVAL_UPDATE } from '../names/messages.ts';
import { approvalRuleSchema } from '../neurons/definition.ts';
import { defineOperation } from './operation.ts';

/** What is released when people approve. */
export const approvalEffectSchema = z.object({
  operation: z.object({ type: z.string().min(1).max(200), input: z.unknown() }).nullish(),
  notify: z.object({ connection: z.string().min(1).max(128), title: z.string(), message: z.string() }).nullish(),
});
export type ApprovalEffect = z.infer<typeof approvalEffectSchema>;

export const approvalInputSchema = z.object({
  /** The decision whose effect waits. */
  decisionId: z.uuid().optional(),
  /** The run on whose behalf people are asked, for their information. */
  subjectRunId: z.string().max(300).optional(),
  /** What is asked, in one line. */
  summary: z.string().max(4096),
  reason: z.string().max(16_384),
  approval: approvalRuleSchema,
  /** Released on approval; missing: only the answer is recorded. */
  effect: approvalEffectSchema.nullish(),
  /** Connection that carries the question; default the one named `approvals`, if there is one. */
  connection: z.string().max(128).optional(),
});
export type ApprovalInput = z.infer<typeof approvalInputSchema>;

/** The payload of the `approval` update of every operation that asks people. Made by HAL9 from a request or link it has checked. */
export const approvalAnswerSchema = z.object({
  approvalId: z.uuid(),
  approved: z.boolean(),
  approver: z.object({ kind: z.enum(['api-key', 'user', 'service', 'system', 'link']), id: z.string().min(1).max(200) }),
  /** The permission the approver was checked for. */
  permission: z.string().max(200),
  comment: z.string().max(2000).optional(),
  /** Signature over all of the above but the comment: an answer can only be given through HAL9. */
  proof: z.string().max(2000),
});
export type ApprovalAnswer = z.infer<typeof approvalAnswerSchema>;

export const approvalTallySchema = z.object({
  state: z.enum(['open', 'approved', 'refused']),
  approvals: z.int(),
  required: z.int(),
});
export type ApprovalTally = z.infer<typeof approvalTallySchema>;

/** What the contract of an operation whose workflow asks people adds to its `updates`. */
export const approvalUpdates = {
  [APPROVAL_UPDATE]: { description: 'An answer. Sent by POST /v1/approvals/{id}/approve and /refuse and by approval links, which sign it; unsigned ones are refused.', payload: approvalAnswerSchema, answer: approvalTallySchema },
};

export const approvalResultSchema = z.object({
  approvalId: z.uuid(),
  state: z.enum(['approved', 'refused', 'expired']),
  /** One line: how it ended. */
  reason: z.string(),
  /** The run that the effect started. */
  startedRunId: z.string().nullable(),
});
export type ApprovalResult = z.infer<typeof approvalResultSchema>;

export default defineOperation({
  name: 'approval',
  summary: 'Ask people before a decision takes effect',
  description: 'Writes the question down, tells people through a connection if there is one, and waits for enough distinct approvers, the first refusal, or the deadline. On approval the effect is released; otherwise it never is.',
  input: approvalInputSchema,
  result: approvalResultSchema,
  updates: approvalUpdates,
  // A month for people, and time to release the effect.
  timeouts: { execution: '32 days' },
  effect: 'idempotent',
  versioning: 'auto-upgrade',
  exposure: 'internal',
});
