import { z } from 'zod';
import { pageQuery } from './page.ts';

const approvers = z.object({ roles: z.array(z.string()), teams: z.array(z.uuid()), users: z.array(z.uuid()) });
const state = z.enum(['open', 'approved', 'refused', 'expired', 'cancelled']);

export const approvalQuery = pageQuery.extend({ state: state.optional() });

export const approvalBody = z.strictObject({ comment: z.string().max(2000).optional().describe('Kept with the answer.') });

export const approvalView = z
  .object({
    id: z.uuid(),
    runId: z.string().describe('The run that waits.'),
    decisionId: z.uuid().nullable(),
    summary: z.string(),
    reason: z.string(),
    effect: z.unknown().describe('What is released on approval; null when the waiting run goes on by itself.'),
    permission: z.string().describe('What an approver needs besides `approvals:write`.'),
    required: z.int().describe('Distinct approvers needed. One refusal refuses.'),
    state,
    outcome: z.string().nullable(),
    createdAt: z.iso.datetime(),
    deadlineAt: z.iso.datetime(),
    closedAt: z.iso.datetime().nullable(),
    approvers: approvers.nullable().describe('Who may answer besides having the permission; null: whoever has it.'),
    requester: z.string().nullable().describe('`<kind>:<id>` of who started the run that asks.'),
    allowRequester: z.boolean().describe('Whether the requester may approve, too; refusing they always may.'),
    escalation: z.object({ afterSeconds: z.int(), connection: z.string(), approvers: approvers.optional() }).nullable(),
    escalatedAt: z.iso.datetime().nullable().describe('When others were turned to, because nobody had answered.'),
    waitsFor: z.array(z.string()).describe('Who may still answer, in words; empty once it is closed.'),
    mayAnswer: z.boolean().describe('Whether you may approve.'),
    answers: z.array(
      z.object({
        approver: z.object({ kind: z.enum(['api-key', 'user', 'service', 'system', 'link']), id: z.string() }),
        approved: z.boolean(),
        comment: z.string().nullable(),
        answeredAt: z.iso.datetime(),
      }),
    ),
  })
  .meta({ id: 'Approval' });

export const linkParams = z.object({ token: z.string().min(1).max(1000) });
export const linkQuery = z.object({ answer: z.enum(['approve', 'refuse']) });
