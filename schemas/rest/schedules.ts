import { z } from 'zod';
import { overlapSchema, scheduleDraftSchema } from '../schedules/definition.ts';

export const scheduleParams = z.object({ id: z.uuid() });

export const scheduleView = z
  .object({
    ...scheduleDraftSchema.shape,
    id: z.uuid(),
    version: z.int().describe('Grows with every change; send it back in If-Match.'),
    owner: z.object({ kind: z.string(), id: z.string() }).describe('Who saved it last. Firings run with the scopes the owner had then, while the owner still has them.'),
    paused: z.object({ at: z.iso.datetime(), by: z.enum(['person', 'hal9']), note: z.string() }).nullable(),
    applied: z.boolean().describe('Whether Temporal has this version; it follows within seconds of being back.'),
    problem: z.string().nullable().describe('Why Temporal refuses this version.'),
    createdAt: z.iso.datetime(),
    updatedAt: z.iso.datetime(),
  })
  .meta({ id: 'Schedule' });

export const scheduleDetail = scheduleView
  .extend({
    times: z
      .object({
        next: z.array(z.iso.datetime()).describe('The next fire times, at most ten, jitter included.'),
        remaining: z.int().nullable().describe('Firings left under the limit.'),
        running: z.int().describe('Firings whose run is open.'),
        taken: z.int(),
        missedCatchUp: z.int().describe('Firings that were too late after an outage.'),
        skippedOverlap: z.int().describe('Firings that fell on an open run and were left out.'),
      })
      .nullable()
      .describe('What Temporal says; null while it does not answer.'),
  })
  .meta({ id: 'ScheduleDetail' });

export const schedulePauseBody = z.strictObject({ note: z.string().max(500).default('') });
export const scheduleTriggerBody = z.strictObject({ overlap: overlapSchema.optional().describe('Instead of the schedule\'s own.') });
export const scheduleBackfillBody = z.strictObject({
  from: z.iso.datetime({ offset: true }),
  to: z.iso.datetime({ offset: true }),
  overlap: overlapSchema.default('buffer-all').describe('How its firings go together.'),
});

export const scheduleFiringView = z
  .object({
    id: z.uuid(),
    dueAt: z.iso.datetime(),
    state: z.enum(['running', 'done', 'failed', 'cancelled', 'skipped']),
    reason: z.string().nullable(),
    runId: z.string().nullable().describe('The run it started.'),
    emitted: z.uuid().nullable().describe('The signal it sent.'),
    createdAt: z.iso.datetime(),
    doneAt: z.iso.datetime().nullable(),
  })
  .meta({ id: 'ScheduleFiring' });
