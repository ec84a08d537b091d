import { z } from 'zod';
import { LAYERS } from '../names/layers.ts';
import { approvalRuleSchema, SEVERITIES } from '../neurons/definition.ts';

/** Of its effect. `none`: nothing follows; `pending`: on its way; `awaiting-approval`; `done`: it has left; `refused`; `failed`. */
export const effectState = z.enum(['none', 'pending', 'awaiting-approval', 'done', 'refused', 'failed']);

export const decisionEffect = z.object({
  operation: z.object({ type: z.string(), input: z.unknown() }).nullable(),
  notify: z.object({ connection: z.string(), title: z.string(), message: z.string() }).nullable(),
  approval: approvalRuleSchema.nullable(),
});

export const decisionView = z
  .object({
    id: z.guid(),
    summary: z.string(),
    reason: z.string(),
    severity: z.string(),
    layer: z.string(),
    neuron: z.object({ id: z.uuid(), version: z.int(), name: z.string() }),
    batch: z.uuid(),
    key: z.string().nullable().describe('Decisions of one neuron with the same key within its cooldown are one.'),
    eventTime: z.iso.datetime(),
    evidence: z.unknown().describe('What the neuron looked at.'),
    causes: z.array(z.guid()).describe('Signals and emissions it rests on; at most 100.'),
    costUsd: z.string().describe('US dollars spent on calls outside, decimal text.'),
    durationMs: z.number().describe('From the opening of its batch to its commit.'),
    effect: decisionEffect.nullable(),
    effectState,
    effectFailure: z.string().nullable(),
    runId: z.string().nullable().describe('The run its effect started.'),
    createdAt: z.iso.datetime(),
  })
  .meta({ id: 'Decision' });

export const decisionParams = z.object({ id: z.guid() });

export const decisionFilter = z.object({
  neuron: z.uuid().optional(),
  layer: z.enum(LAYERS).optional(),
  severity: z.enum(SEVERITIES).optional(),
  state: effectState.optional(),
  from: z.iso.datetime({ offset: true }).optional().describe('Decided at or after.'),
  to: z.iso.datetime({ offset: true }).optional().describe('Decided before.'),
});

/** What `POST /v1/signals?wait=true` answers. */
export const signalDecision = z
  .object({
    signalId: z.guid(),
    batchId: z.uuid(),
    state: z.enum(['decided', 'failed']),
    failure: z.string().optional().describe('Why the batch was given up.'),
    decisions: z.array(z.object({ id: z.guid(), summary: z.string(), reason: z.string(), severity: z.string(), layer: z.string(), neuron: z.string(), effect: decisionEffect.nullable(), effectState })),
  })
  .meta({ id: 'SignalDecision' });

export type SignalDecision = z.infer<typeof signalDecision>;
