import { z } from 'zod';

/**
 * An automation: a trigger says which signals it looks at, a CEL condition over `signal` whether it acts, a mapping what the effect
 * is given. Every trigger comes down to a subscription to signals (`subscriptionOf` in `neurons/automation.ts`), so one engine runs
 * all of them: match, condition, mapping, effect.
 */
const cel = z.string().min(1).max(4096);
const types = z.array(z.string().min(1).max(256)).min(1).max(100);

/** Any signal that comes in, by type, source and a filter. */
export const signalTriggerSchema = z.strictObject({
  kind: z.literal('signal'),
  types: types.describe('Exact types, or prefixes ending in `.*`; `*` is all.'),
  sources: z.array(z.string().min(1).max(512)).min(1).max(100).optional().describe('Exact sources, or prefixes ending in `*`; missing is all.'),
  filter: cel.optional().describe('CEL over `signal`. What it leaves out is not recorded as skipped.'),
});

/** Everything an inbound webhook accepts. */
export const webhookTriggerSchema = z.strictObject({
  kind: z.literal('webhook'),
  hookId: z.uuid().describe('Id of the inbound webhook (`POST /v1/hooks`).'),
  types: types.default(['*']),
  filter: cel.optional(),
});

/** Every signal a schedule sends. */
export const scheduleTriggerSchema = z.strictObject({
  kind: z.literal('schedule'),
  scheduleId: z.uuid().describe('Id of a schedule that sends a signal (`POST /v1/schedules`).'),
  filter: cel.optional(),
});

/** Every message a broker source takes in. */
export const sourceTriggerSchema = z.strictObject({
  kind: z.literal('source'),
  sourceId: z.uuid().describe('Id of the AMQP or Kafka source (`POST /v1/sources`).'),
  types: types.default(['*']),
  filter: cel.optional(),
});

export const triggerSchema = z.discriminatedUnion('kind', [signalTriggerSchema, webhookTriggerSchema, scheduleTriggerSchema, sourceTriggerSchema]);

/** A CEL expression for each field; an answer of null leaves the field null. */
const mapping = z.record(z.string().min(1).max(256), cel).refine((fields) => Object.keys(fields).length <= 100, 'at most 100 fields');

export const operationEffectSchema = z.strictObject({
  kind: z.literal('operation'),
  operation: z.string().min(1).max(128).describe('Name of the operation, as in GET /v1/workflows.'),
  input: mapping.default({}).describe('Field of the operation\'s input -> CEL expression over `signal`.'),
});

export const signalEffectSchema = z.strictObject({
  kind: z.literal('signal'),
  type: z.string().min(1).max(256),
  subject: cel.optional().describe('CEL string.'),
  data: mapping.default({}).describe('Field of the new signal\'s data -> CEL expression over `signal`.'),
});

export const effectSchema = z.discriminatedUnion('kind', [operationEffectSchema, signalEffectSchema]);

export const automationDraftSchema = z.strictObject({
  name: z.string().regex(/^[a-z0-9][a-z0-9._-]{0,127}$/, 'use lower-case letters, digits, dots, dashes'),
  description: z.string().max(2000).default(''),
  enabled: z.boolean().default(true),
  trigger: triggerSchema,
  condition: cel.optional().describe('CEL bool over `signal`; a signal that does not meet it is recorded as skipped.'),
  effect: effectSchema,
});

export type AutomationDraft = z.infer<typeof automationDraftSchema>;
export type Trigger = AutomationDraft['trigger'];

/** An automation as it is compiled. */
export interface AutomationDefinition extends Pick<AutomationDraft, 'name' | 'trigger' | 'condition' | 'effect'> {
  readonly id: string;
  readonly version: number;
}

/** What leaves for one signal, mapped. */
export const mappedEffectSchema = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('operation'), operation: z.string(), input: z.record(z.string(), z.unknown()) }),
  z.object({ kind: z.literal('signal'), type: z.string(), subject: z.string().nullable(), data: z.record(z.string(), z.unknown()), partitionKey: z.string() }),
]);

export type MappedEffect = z.infer<typeof mappedEffectSchema>;

/** Sources of the signals that HAL9 itself makes. */
export const AUTOMATION_SOURCE = '/automations/';
export const HOOK_SOURCE = '/hooks/';
export const SCHEDULE_SOURCE = '/schedules/';
/** Followed by the id of the source, and for CloudEvents by `/` and the source they name. */
export const BROKER_SOURCE = '/sources/';
