import { z } from 'zod';
import type { Operations, RunDescription, RunSummary } from '../../platform/operations/contract.ts';
import { parseRunId } from '../../schemas/names/workflow-id.ts';
import { pageOf } from '../../schemas/rest/page.ts';
import { messageAnswer, messageBody, messageParams, resultQuery, runDetail, runIdParams, runOutcome, runQuery, runSummary, terminateBody } from '../../schemas/rest/runs.ts';
import { defineRoute, type AnyRoute } from '../route.ts';
import { runLinks, type TemporalUi } from '../run-links.ts';

export interface RunRouteDependencies {
  operations: Operations;
  temporalUi?: TemporalUi | undefined;
}

/** Scopes narrowed by `type` apply to the operation that the run id names. */
const byRun = ({ params }: { params: Readonly<Record<string, string>> }) => {
  const operation = parseRunId(params['id'] ?? '')?.operation;
  return operation === undefined ? {} : { attributes: { type: operation } };
};

const tag = 'Runs';
const accepted = z.object({ accepted: z.literal(true) });

/** Runs of the caller's organisation; any other run's id is not found. */
export function createRunRoutes({ operations, temporalUi }: RunRouteDependencies): AnyRoute[] {
  return [
    defineRoute({
      method: 'get',
      path: '/v1/runs/:id',
      id: 'getRun',
      tag,
      summary: 'Reads a run: state, progress, what it waits for',
      permission: 'runs:read',
      access: byRun,
      params: runIdParams,
      responses: { 200: { description: 'The run.', schema: runDetail } },
      async handler({ caller, params }) {
        const run = await operations.describe(caller, params.id);
        return { status: 200, body: { ...detail(run), links: runLinks(caller.orgId, run.runId, temporalUi) } };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/v1/runs',
      id: 'listRuns',
      tag,
      summary: 'Lists runs, newest first',
      permission: 'runs:read',
      access: ({ query }) => (typeof query['type'] === 'string' ? { attributes: { type: query['type'] } } : { filtered: true }),
      query: runQuery,
      responses: { 200: { description: 'A page of runs.', schema: pageOf(runSummary) } },
      async handler({ caller, query }) {
        const page = await operations.list(caller, {
          limit: query.limit,
          ...(query.type === undefined ? {} : { operation: query.type }),
          ...(query.status === undefined ? {} : { status: query.status }),
          ...(query.tag === undefined ? {} : { tag: query.tag }),
          ...(query.from === undefined ? {} : { startedFrom: query.from }),
          ...(query.to === undefined ? {} : { startedTo: query.to }),
          ...(query.cursor === undefined ? {} : { cursor: query.cursor }),
        });
        return { status: 200, body: { items: page.runs.map(summary), nextCursor: page.nextCursor } };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/v1/runs/:id/result',
      id: 'getRunResult',
      tag,
      summary: 'Reads the result of a run, waiting for its end if asked to',
      permission: 'runs:read',
      access: byRun,
      timeoutMs: 75_000,
      params: runIdParams,
      query: resultQuery,
      responses: { 200: { description: 'The run has ended; `status` says how.', schema: runOutcome }, 202: { description: 'It has not ended yet. Ask again.', schema: runOutcome } },
      async handler({ caller, params, query }) {
        const outcome = await operations.result(caller, params.id, query.waitSeconds * 1000);
        return { status: outcome.status === 'running' ? 202 : 200, body: outcome };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/v1/runs/:id/signals/:name',
      id: 'signalRun',
      tag,
      summary: 'Sends a signal to a run',
      permission: 'runs:write',
      audit: 'run.signal',
      access: byRun,
      params: messageParams,
      body: messageBody.prefault({}),
      responses: { 202: { description: 'Temporal has stored the signal; the run handles it in its order.', schema: accepted } },
      async handler({ caller, params, body }) {
        await operations.signal(caller, params.id, params.name, body.payload);
        return { status: 202, body: { accepted: true } };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/v1/runs/:id/queries/:name',
      id: 'queryRun',
      tag,
      summary: 'Asks a run; changes nothing',
      permission: 'runs:read',
      audit: { none: 'changes nothing' },
      access: byRun,
      params: messageParams,
      body: messageBody.prefault({}),
      responses: { 200: { description: 'The answer.', schema: messageAnswer } },
      handler: async ({ caller, params, body }) => ({ status: 200, body: { answer: (await operations.query(caller, params.id, params.name, body.payload)) ?? null } }),
    }),
    defineRoute({
      method: 'post',
      path: '/v1/runs/:id/updates/:name',
      id: 'updateRun',
      tag,
      summary: 'Changes a run and waits for its answer',
      description: 'The run may refuse: then nothing was changed and the failure is `UpdateRejected`.',
      permission: 'runs:write',
      audit: 'run.update',
      access: byRun,
      timeoutMs: 75_000,
      params: messageParams,
      body: messageBody.prefault({}),
      responses: { 200: { description: 'The answer.', schema: messageAnswer } },
      handler: async ({ caller, params, body }) => ({ status: 200, body: { answer: (await operations.update(caller, params.id, params.name, body.payload)) ?? null } }),
    }),
    defineRoute({
      method: 'post',
      path: '/v1/runs/:id/cancel',
      id: 'cancelRun',
      tag,
      summary: 'Asks a run to stop; it cleans up first',
      permission: 'runs:write',
      audit: 'run.cancel',
      access: byRun,
      params: runIdParams,
      responses: { 202: { description: 'The run has been asked.', schema: accepted } },
      async handler({ caller, params }) {
        await operations.cancel(caller, params.id);
        return { status: 202, body: { accepted: true } };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/v1/runs/:id/terminate',
      id: 'terminateRun',
      tag,
      summary: 'Ends a run at once, without cleaning up',
      permission: 'runs:write',
      audit: 'run.terminate',
      access: byRun,
      params: runIdParams,
      body: terminateBody,
      responses: { 200: { description: 'The run has ended.', schema: accepted } },
      async handler({ caller, params, body }) {
        await operations.terminate(caller, params.id, body.reason);
        return { status: 200, body: { accepted: true } };
      },
    }),
  ];
}

/** Field by field: what the platform adds later does not become public by itself. */
function summary(run: RunSummary): z.input<typeof runSummary> {
  return {
    runId: run.runId,
    operation: run.operation,
    status: run.status,
    origin: run.origin,
    tags: [...run.tags],
    startedBy: run.startedBy,
    startedAt: run.startedAt.toISOString(),
    closedAt: run.closedAt?.toISOString() ?? null,
    failure: run.failure,
  };
}

function detail(run: RunDescription): Omit<z.input<typeof runDetail>, 'links'> {
  return {
    ...summary(run),
    source: run.source,
    progress: run.progress,
    pendingActivities: run.pendingActivities.map((activity) => ({ ...activity, nextAttemptAt: activity.nextAttemptAt?.toISOString() ?? null })),
    historyLength: run.historyLength,
    temporalRunId: run.temporalRunId,
  };
}
