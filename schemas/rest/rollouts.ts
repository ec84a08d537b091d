import { z } from 'zod';
import { verdictSchema } from '../operations/rollout.ts';
import { pageQuery } from './page.ts';
import { runStatus } from './runs.ts';

const images = z.record(z.string(), z.string());
const connection = z.string().min(1).max(128);

export const rolloutUnitView = z
  .object({
    service: z.string(),
    cluster: z.string(),
    wave: z.string(),
    namespace: z.string(),
    workload: z.string().describe('As `Deployment/web`.'),
    replicas: z.int(),
    strategy: z.enum(['rolling', 'canary', 'blue-green']),
    steps: z.array(z.object({ weight: z.int(), soakSeconds: z.number(), approvals: z.int().describe('People asked before.') })).nullable().describe('As planned; null where the strategy has none.'),
    from: images.describe('Images before, by container.'),
    to: images.describe('Images afterwards.'),
    state: z.enum(['waiting', 'running', 'new', 'old', 'edited']),
    changedAt: z.iso.datetime(),
  })
  .meta({ id: 'RolloutUnit' });

export const rolloutView = z
  .object({
    runId: z.string(),
    status: runStatus.nullable().describe('Of the run; null until it is known, some hundred milliseconds after the start.'),
    createdAt: z.iso.datetime(),
    closedAt: z.iso.datetime().nullable(),
    units: z.array(rolloutUnitView).describe('Services by cluster, in the order they go out. Empty when the first could not be read.'),
  })
  .meta({ id: 'Rollout' });

export const rolloutDetail = rolloutView
  .extend({
    steps: z.array(
      z.object({
        at: z.iso.datetime(),
        service: z.string(),
        cluster: z.string(),
        step: z.string(),
        share: z.number().nullable().describe('Per cent of the traffic that the new version gets since; null where the step changed none.'),
      }),
    ).describe('What was done, in order.'),
  })
  .meta({ id: 'RolloutDetail' });

export const rolloutVerdictsQuery = pageQuery.extend({ outcome: z.enum(['pass', 'fail', 'inconclusive']).optional() });

/** Numbers and words: a map that clients of every language can hold. */
const figures = z.record(z.string(), z.unknown());

export const rolloutVerdictView = verdictSchema.extend({ seq: z.int(), statistic: figures.describe('What was computed: numbers and words.'), threshold: figures.describe('What it was held against: numbers and words.') }).meta({ id: 'RolloutVerdict' });

export const rolloutImportBody = z.strictObject({
  specs: z.string().min(1).max(500_000).describe('YAML of one or more documents: a `Rollout` of Argo or a `Canary` of Flagger, the templates of their analysis, and the Deployments they refer to.'),
  cluster: connection.default('production').describe('Connection of kind `kubernetes` to roll out in.'),
  prometheus: connection.default('prometheus').describe('Connection of kind `http` of the Prometheus that the metrics come from.'),
  images: z.record(z.string().min(1).max(63), z.string().min(1).max(1000)).default({}).describe('New image by container, instead of the one in the documents or where they say none.'),
});

export const rolloutImportView = z
  .object({
    rollouts: z.array(
      z.object({
        source: z.string().describe('As `Rollout shop/web`.'),
        format: z.enum(['argo-rollouts', 'flagger']),
        input: z.record(z.string(), z.unknown()).describe('Input of the operation `rollout`, without what is as by default.'),
        open: z.array(z.object({ path: z.string(), message: z.string() })).describe('What must be filled in before it can be started; empty when it can.'),
        notes: z
          .array(
            z.object({
              kind: z.enum(['lost', 'changed', 'todo']).describe('`lost`: HAL9 has nothing for it. `changed`: carried over with another meaning. `todo`: to be done by somebody.'),
              of: z.string().describe('The object.'),
              path: z.string().describe('JSON pointer into the object.'),
              message: z.string(),
            }),
          )
          .describe('Every field that was not carried over as it is.'),
      }),
    ),
    ignored: z.array(z.string()).describe('Documents that no rollout refers to.'),
  })
  .meta({ id: 'RolloutImport' });
