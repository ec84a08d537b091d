import { z } from 'zod';
import type { RolloutRecord } from '../../database/rollouts.ts';
import { importRollouts } from '../../platform/rollouts/import.ts';
import type { RolloutRecords } from '../../platform/rollouts/records.ts';
import { pageOf, pageQuery } from '../../schemas/rest/page.ts';
import { rolloutDetail, rolloutImportBody, rolloutImportView, rolloutVerdictsQuery, rolloutVerdictView, rolloutView } from '../../schemas/rest/rollouts.ts';
import { runIdParams } from '../../schemas/rest/runs.ts';
import { pageOfList } from '../page.ts';
import { defineRoute, type AnyRoute } from '../route.ts';

const tag = 'Rollouts';
const ofRollouts = () => ({ attributes: { type: 'rollout' } });
/** By the number that the database gave. */
const BY_SEQ = {
  position: z.object({ seq: z.int().min(0) }).transform(({ seq }) => seq),
  of: ({ seq }: { readonly seq: number }) => ({ seq }),
};

/** What rollouts were to do, did and judged; they are started and decided about as runs. */
export function createRolloutRoutes({ records }: { records: RolloutRecords }): AnyRoute[] {
  return [
    defineRoute({
      method: 'post',
      path: '/v1/rollouts/import',
      id: 'importRollouts',
      tag,
      summary: 'Turns specs of Argo Rollouts or Flagger into inputs of the operation `rollout`',
      description: 'Answers one input for each `Rollout` or `Canary`, and lists every field that could not be carried over as it is. Nothing is kept and nothing is started.',
      permission: 'workflows:read',
      audit: { none: 'it changes nothing' },
      body: rolloutImportBody,
      responses: { 200: { description: 'The inputs.', schema: rolloutImportView } },
      handler: ({ body: { specs, ...names } }) => Promise.resolve({ status: 200, body: importRollouts(specs, names) }),
    }),
    defineRoute({
      method: 'get',
      path: '/v1/rollouts',
      id: 'listRollouts',
      tag,
      summary: 'Lists rollouts with where each service stands, newest first',
      permission: 'runs:read',
      access: ofRollouts,
      query: pageQuery,
      responses: { 200: { description: 'A page of rollouts.', schema: pageOf(rolloutView) } },
      async handler({ caller, query }) {
        const page = await pageOfList(query, BY_SEQ, (limit, before) => records.list(caller, limit, before));
        return { status: 200, body: { ...page, items: page.items.map((rollout) => shown(rollout)) } };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/v1/rollouts/:id',
      id: 'getRollout',
      tag,
      summary: 'Reads a rollout: its services, what was done to each, and the share of the traffic since',
      permission: 'runs:read',
      access: ofRollouts,
      params: runIdParams,
      responses: { 200: { description: 'The rollout.', schema: rolloutDetail } },
      async handler({ caller, params }) {
        const { rollout, steps } = await records.read(caller, params.id);
        return { status: 200, body: { ...shown(rollout), steps: steps.map(({ at, ...step }) => ({ ...step, at: at.toISOString() })) } };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/v1/rollouts/:id/verdicts',
      id: 'listRolloutVerdicts',
      tag,
      summary: 'Lists the verdicts of a rollout with what each rests on, newest first',
      description: 'Each has the queries that were asked, the samples that were answered (the newest 60 of each), the statistic and the threshold.',
      permission: 'runs:read',
      access: ofRollouts,
      params: runIdParams,
      query: rolloutVerdictsQuery,
      responses: { 200: { description: 'A page of verdicts.', schema: pageOf(rolloutVerdictView) } },
      async handler({ caller, params, query }) {
        const page = await pageOfList(query, BY_SEQ, (limit, before) => records.verdicts(caller, params.id, limit, { outcome: query.outcome, before }));
        return { status: 200, body: { ...page, items: page.items.map(({ at, ...verdict }) => ({ ...verdict, at: at.toISOString() })) } };
      },
    }),
  ];
}

function shown({ runId, status, createdAt, closedAt, units }: RolloutRecord): z.input<typeof rolloutView> {
  return { runId, status, createdAt: createdAt.toISOString(), closedAt: closedAt?.toISOString() ?? null, units: units.map(({ changedAt, steps, ...unit }) => ({ ...unit, steps: steps === null ? null : [...steps], changedAt: changedAt.toISOString() })) };
}
