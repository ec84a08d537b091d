import { z } from 'zod';
import { automationDraftSchema, mappedEffectSchema } from '../automations/definition.ts';
import { signalSchema } from '../signals/signal.ts';
import { pageQuery } from './page.ts';

export const automationParams = z.object({ id: z.uuid() });

export const automationView = automationDraftSchema
  .extend({
    id: z.uuid(),
    version: z.int().describe('Grows with every change; send it back in If-Match.'),
    owner: z.object({ kind: z.string(), id: z.string() }).describe('Who saved this version. Effects run with the scopes the owner had then, while the owner still has them.'),
    paused: z.object({ at: z.iso.datetime(), reason: z.string() }).nullable().describe('Set by HAL9 when the automation may not go on; enabling or saving it again ends the pause.'),
    createdAt: z.iso.datetime(),
    updatedAt: z.iso.datetime(),
  })
  .meta({ id: 'Automation' });

export const savedAutomation = automationView.extend({ warnings: z.array(z.string()).describe('What deserves a second look, e.g. types that feed each other.') }).meta({ id: 'SavedAutomation' });

export const automationVersionView = z.object({ version: z.int(), automation: automationDraftSchema, createdAt: z.iso.datetime(), createdBy: z.string().describe('`<kind>:<id>`.') });

export const firingQuery = pageQuery.extend({ state: z.enum(['pending', 'fired', 'skipped', 'failed']).optional() });

export const firingView = z
  .object({
    id: z.uuid(),
    automationVersion: z.int(),
    signal: z.uuid().describe('The signal, or the first of `signals`.'),
    signalType: z.string(),
    signals: z.int().describe('Signals this row stands for: those of a batch that were passed over for the same reason share one.'),
    state: z.enum(['pending', 'fired', 'skipped', 'failed']),
    reason: z.string().nullable().describe('Why it was skipped, failed or still waits.'),
    effect: mappedEffectSchema.nullable(),
    runId: z.string().nullable().describe('The run it started.'),
    emitted: z.uuid().nullable().describe('The signal it sent.'),
    chain: z.array(z.uuid()).describe('Automations whose firing led to the signal, oldest first.'),
    createdAt: z.iso.datetime(),
    doneAt: z.iso.datetime().nullable(),
  })
  .meta({ id: 'AutomationFiring' });

const sampleSignal = signalSchema.extend({
  specversion: z.literal('1.0').default('1.0'),
  id: z.string().min(1).max(256).default('sample'),
  source: z.string().min(1).max(512).default('test'),
});

export const automationTestBody = z.object({ automation: automationDraftSchema, signals: z.array(sampleSignal).min(1).max(1000) });

const lastSignals = z.int().min(1).max(1000).default(100).describe('How many of the latest signals that the trigger\'s types and sources match; those are looked for among the latest 100,000.');
export const automationDryRunBody = z.object({ automation: automationDraftSchema, signals: lastSignals });
export const storedDryRunBody = z.object({ signals: lastSignals });

export const trialResult = z
  .object({
    matched: z.int(),
    wouldFire: z.int(),
    items: z.array(
      z.object({
        signal: z.uuid().nullable(),
        type: z.string(),
        outcome: z.enum(['unmatched', 'skip', 'fail', 'fire']),
        reason: z.string().nullable(),
        effect: mappedEffectSchema.nullable().describe('What would leave.'),
        inputErrors: z.array(z.object({ path: z.string(), message: z.string() })).describe('Why the operation would refuse the mapped input.'),
      }),
    ),
  })
  .meta({ id: 'AutomationTrial' });
