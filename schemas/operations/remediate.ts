import { z } from 'zod';
import { HOST_ACTIONS, REMEDY_QUERY } from '../names/remedies.ts';
import { APPROVAL_UPDATE } from '../names/messages.ts';
import { TASK_QUEUES } from '../names/task-queues.ts';
import { approvalAnswerSchema, approvalTallySchema } from './approval.ts';
import { defineOperation } from './operation.ts';

/** A process, named so that a recycled pid is never mistaken for it. */
export const processIdentitySchema = z.object({
  pid: z.int().min(2),
  /** Start time in clock ticks since boot: field 22 of `/proc/<pid>/stat`, proc_pid_stat(5). */
  startTicks: z.int().min(0),
});
export type ProcessIdentity = z.infer<typeof processIdentitySchema>;

export const remediateInputSchema = z.object({
  /** The incident this is for; also what the blast-radius limit counts by. */
  incidentId: z.string().min(1).max(200),
  /** One of `cpu-hog`, `memory-hog`, `disk-filling`, `lock-pile-up`, `worker-stopped`; anything else only gathers evidence and escalates. */
  cause: z.string().min(1).max(100).default('unknown'),
  /** The machine: its agent serves the queue `host-<hostId>`. */
  hostId: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/),
  /** One line for people. */
  summary: z.string().max(2000).optional(),
  /** What the decision rests on, kept in the result. Small. */
  evidence: z.unknown().optional(),
  /** The process that the signals blame, if they do: preferred when the agent sees it too. */
  suspect: processIdentitySchema.partial({ startTicks: true }).optional(),
  /** Seconds within which the symptom must be gone after an action. */
  checkSeconds: z.int().min(1).max(600).default(15),
  /** Connection that is asked for approvals and told when the run escalates. Missing: approvals go through the one named `approvals`, an escalation is only recorded. */
  escalateTo: z.string().max(200).optional(),
  /** Gathers evidence and says what it would do. */
  dryRun: z.boolean().default(false),
});

/** One thing the agent was asked to do, and what came of it. */
export const remedyAttemptSchema = z.object({
  action: z.enum(HOST_ACTIONS),
  /** What it was aimed at, in words: process, session, folder. */
  target: z.string(),
  state: z.enum(['done', 'refused', 'failed', 'denied']),
  /** Why it was refused, failed or denied; what it changed when done. */
  detail: z.string(),
  helped: z.boolean(),
  at: z.iso.datetime(),
});
export type RemedyAttempt = z.infer<typeof remedyAttemptSchema>;

export const remediateResultSchema = z.object({
  incidentId: z.string(),
  hostId: z.string(),
  /** As given. */
  cause: z.string(),
  /** The cause that the evidence on the machine shows; null when it shows none. */
  confirmedCause: z.string().nullable(),
  /** The last action tried; null when there was none. */
  action: z.enum(HOST_ACTIONS).nullable(),
  attempts: z.array(remedyAttemptSchema),
  /** Whether the symptom was measured gone after the last action, or was gone before any. */
  helped: z.boolean(),
  escalated: z.boolean(),
  /** One line: how it ended and why. */
  reason: z.string(),
  /** What the agent saw first; bounded. */
  evidence: z.unknown(),
});
export type RemediateInput = z.infer<typeof remediateInputSchema>;
export type RemediateResult = z.infer<typeof remediateResultSchema>;

export default defineOperation({
  name: 'remediate',
  summary: 'Mend a machine: evidence, action, check, close or escalate',
  description:
    'Asks the agent of a machine for evidence, picks the mildest action for the cause, waits for approval where the policy of the agent says so, acts within its allow-list and blast-radius limit, checks that the symptom is gone, tries the next stronger action if not, and escalates to people when nothing helps.',
  input: remediateInputSchema,
  result: remediateResultSchema,
  queries: {
    [REMEDY_QUERY]: {
      description: 'What the run saw, chose and did so far.',
      payload: z.unknown(),
      answer: z.object({ step: z.string(), cause: z.string(), attempts: z.array(remedyAttemptSchema) }),
    },
  },
  updates: {
    [APPROVAL_UPDATE]: { description: 'An answer to the question whether an action may be taken. Sent by POST /v1/approvals/{id}/approve and /refuse and by approval links, which sign it.', payload: approvalAnswerSchema, answer: approvalTallySchema },
  },
  taskQueue: TASK_QUEUES.core,
  permission: 'runs:write',
  id: (input) => `${input.hostId}/${input.incidentId}/${input.cause}`,
  reusePolicy: 'allow-duplicate',
  conflictPolicy: 'use-existing',
  timeouts: { execution: '3 days' },
  effect: 'irreversible',
  versioning: 'auto-upgrade',
});
