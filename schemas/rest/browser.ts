import { z } from 'zod';
import { stepSchema } from '../browser/flow.ts';
import { lookSchema, turnAnswerSchema, turnFailureSchema } from '../browser/turn.ts';
import { pageQuery } from './page.ts';
import { runIdParams } from './runs.ts';

export const browserStepsQuery = z.object({
  limit: z.coerce.number().int().min(1).max(500).default(200),
  after: z.coerce.number().int().min(0).max(Number.MAX_SAFE_INTEGER).optional().describe('`seq` of the last step that is known.'),
});

export const browserPictureParams = runIdParams.extend({ seq: z.coerce.number().int().min(1).max(Number.MAX_SAFE_INTEGER) });

const pictureSize = z.object({ width: z.int(), height: z.int() });

export const browserFileParams = browserPictureParams.extend({ number: z.coerce.number().int().min(1).max(10).describe('Which of the files of the step, from 1.') });

export const browserComparedParams = browserPictureParams.extend({ picture: z.enum(['actual', 'baseline', 'difference']) });

export const browserStepView = z.object({
  seq: z.int(),
  key: z.string().describe('Names the execution of the step; one that was cut off and taken again has the same.'),
  path: z.string().describe('Where it stands in the flow.'),
  verb: z.string(),
  name: z.string().nullable(),
  outcome: z.enum(['done', 'skipped', 'seen', 'failed']).describe('`seen`: its guard showed that it had happened before a crash.'),
  target: z.string().nullable().describe('The element, in the words of the flow.'),
  way: z.int().nullable().describe('0: found as the flow says; else which of `or`.'),
  failure: z.string().nullable(),
  url: z.string(),
  startedAt: z.iso.datetime(),
  endedAt: z.iso.datetime(),
  hasPicture: z.boolean(),
  hasSnapshot: z.boolean().describe('Whether the page is there in words.'),
  comparison: z
    .object({
      name: z.string().describe('Of the baseline.'),
      viewport: z.string().describe('Size of the window and device pixels to each of its own, e.g. `1280x800@1`.'),
      outcome: z.enum(['created', 'same', 'differs', 'missing']).describe('`created`: there was no baseline, and the picture became it; `missing`: there was none, and the flow wants one.'),
      size: pictureSize,
      baselineSize: pictureSize.nullable(),
      different: z.int().describe('Pixels that differ.'),
      most: z.int().describe('As many may.'),
      threshold: z.number().describe('How much a pixel may differ before it counts.'),
      pictures: z.array(z.enum(['actual', 'baseline', 'difference'])).describe('What can be seen at `/compared/{picture}` of the step.'),
    })
    .nullable()
    .describe('What came of comparing the page with its baseline.'),
  files: z
    .array(z.object({ direction: z.enum(['up', 'down']).describe('`up`: handed to the page; `down`: taken from it.'), name: z.string(), bytes: z.int(), sha256: z.string(), mediaType: z.string(), hasContent: z.boolean() }))
    .describe('Files that were uploaded or downloaded; the first is `/files/1` of the step.'),
  troubles: z.array(z.object({ kind: z.enum(['console', 'network', 'dialog']), text: z.string() })),
});

export const browserStepsView = z.object({
  session: z.object({
    state: z.enum(['open', 'done', 'failed', 'cancelled']),
    flow: z.string().nullable(),
    takeUps: z.int().describe('Workers that took it up, the first included.'),
    checkpointedAt: z.iso.datetime().nullable(),
    createdAt: z.iso.datetime(),
    closedAt: z.iso.datetime().nullable(),
  }),
  items: z.array(browserStepView),
});

export const browserTurnBody = z.strictObject({
  id: z.uuid().optional().describe('Names the turn: sent again, it is answered again and not taken again. Default: a new one.'),
  step: stepSchema.optional().describe('A step of the flow language; without one the page is only looked at.'),
  look: lookSchema,
});

export const browserTurnView = z.object({
  id: z.uuid(),
  failure: turnFailureSchema.nullable().describe('Why the step could not be taken; the session goes on.'),
  page: turnAnswerSchema,
});

export const browserHealingsView = z.object({
  items: z.array(
    z.object({
      path: z.string().describe('Where the step stands in the flow.'),
      verb: z.string(),
      name: z.string().nullable(),
      way: z.int().describe('Which of `or` found the element, from 1.'),
      target: z.string().nullable().describe('The element, in the words of that way.'),
      times: z.int(),
    }),
  ),
});

export const browserHealingBody = z.strictObject({ paths: z.array(z.string().max(2000)).max(500).optional().describe('Only of these steps; default all.') });

export const browserHealedFlow = z.object({ flow: z.record(z.string(), z.unknown()).describe('The flow of the run, with these ways first.'), accepted: z.array(z.string()) });

export const browserBaselinesQuery = pageQuery.extend({ flow: z.string().max(200).optional().describe('Only of flows of this name.') });

export const browserBaselineParams = z.object({ id: z.uuid() });

export const browserBaselineView = z
  .object({
    id: z.uuid(),
    flow: z.string().describe('Name of the flow.'),
    name: z.string(),
    viewport: z.string().describe('Size of the window and device pixels to each of its own, e.g. `1280x800@1`.'),
    width: z.int(),
    height: z.int(),
    runId: z.string().describe('The run whose page it shows.'),
    accepted: z.boolean().describe('Whether a person took it for right; else it was the first.'),
    takenAt: z.iso.datetime().describe('Since when it is the baseline.'),
  })
  .meta({ id: 'BrowserBaseline' });
