import { z } from 'zod';
import type { Operations, RunDescription, RunSummary } from '../../platform/operations/contract.ts';
import { parseRunId } from '../../schemas/names/workflow-id.ts';
import { pageOf } from '../../schemas/rest/page.ts';
import { changedAnswer, failureGroup, failuresQuery, historyQuery, messageAnswer, messageBody, messageParams, readQuery, replayAnswer, replayBody, resultQuery, runDetail, runEvent, runHistory, runIdParams, runOutcome, runQuery, runRecording, runSummary, startedRun, terminateBody } from '../../schemas/rest/runs.ts';
import { HalError } from '../../schemas/errors.ts';
import { EventStream } from '../event-stream.ts';
import { defineRoute, type AnyRoute } from '../route.ts';
import { byRun } from '../run-access.ts';
import { runLinks, type TemporalUi } from '../run-links.ts';

export interface RunRouteDependencies {
  operations: Operations;
  temporalUi?: TemporalUi | undefined;
}

/** Failures are shown of so many days unless asked otherwise. */
const FAILURE_DAYS = 7;

const tag = 'Runs';
const accepted = z.object({ accepted: z.literal(true) });

const JSON_TEXT = { 'Content-Type': 'application/json' } as const;

/** Runs of the caller's organisation; any other run's id is not found. */
export function createRunRoutes({ operations, temporalUi }: RunRouteDependencies): AnyRoute[] {
  const texts = new WeakMap<RunDescription, string>();
  /** The answer about a run, which is the same object as long as nothing changed: a dashboard asks for it again and again. */
  const text = (orgId: string, run: RunDescription): string => {
    const known = texts.get(run);
    if (known !== undefined) return known;
    const written = JSON.stringify({ ...detail(run), links: runLinks(orgId, run.runId, temporalUi) });
    texts.set(run, written);
    return written;
  };
  return [
    // Before the runs themselves: Express tries paths in order.
    defineRoute({
      method: 'get',
      path: '/v1/runs/failures',
      id: 'listRunFailures',
      tag,
      summary: 'Groups failed runs by operation and type of failure, the latest first',
      permission: 'runs:read',
      access: ({ query }) => (typeof query['type'] === 'string' ? { attributes: { type: query['type'] } } : { filtered: true }),
      query: failuresQuery,
      responses: { 200: { description: 'The groups.', schema: z.object({ items: z.array(failureGroup) }) } },
      async handler({ caller, query }) {
        const { type, to = new Date(), from = new Date(to.getTime() - FAILURE_DAYS * 86_400_000), limit } = query;
        const groups = await operations.failures(caller, { ...(type === undefined ? {} : { operation: type }), from, to, limit });
        return { status: 200, body: { items: groups.map((group) => ({ ...group, firstAt: group.firstAt.toISOString(), lastAt: group.lastAt.toISOString() })) } };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/v1/runs/:id',
      id: 'getRun',
      tag,
      summary: 'Reads a run: state, progress, what it waits for',
      permission: 'runs:read',
      access: byRun,
      params: runIdParams,
      query: readQuery,
      responses: { 200: { description: 'The run.', schema: runDetail } },
      async handler({ caller, params, query }) {
        const run = await (query.include === 'pending' ? operations.describe(caller, params.id) : operations.read(caller, params.id));
        return { status: 200, headers: JSON_TEXT, body: text(caller.orgId, run) };
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
          ...(query.failure === undefined ? {} : { failure: query.failure }),
          ...(query.startedBy === undefined ? {} : { actor: query.startedBy }),
          ...(query.origin === undefined ? {} : { origin: query.origin }),
          ...(query.from === undefined ? {} : { startedFrom: query.from }),
          ...(query.to === undefined ? {} : { startedTo: query.to }),
          ...(query.cursor === undefined ? {} : { cursor: query.cursor }),
        });
        return { status: 200, body: { items: page.runs.map(summary), nextCursor: page.nextCursor } };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/v1/runs/:id/stream',
      id: 'streamRun',
      tag,
      summary: 'Streams what happens to a run until it ends',
      description:
        'Server-sent events: `started`, `progress`, `paused`, `resumed`, `retried`, `replayed` and last `closed`, each with the number of the event as its id. A client that comes back with `Last-Event-ID` gets what it missed; 204 says that there is nothing more to come. A comment every 15 seconds keeps the connection.',
      permission: 'runs:read',
      access: byRun,
      timeoutMs: 0,
      params: runIdParams,
      headers: { 'Last-Event-ID': 'The last event the client has; it gets those after.' },
      responses: { 200: { description: 'Events; `data` is one `RunEvent`.', schema: runEvent, contentType: 'text/event-stream' }, 204: { description: 'The run has ended and the client has seen it end.' } },
      async handler({ caller, params, request, response, signal }) {
        const after = lastEventId(request.headers['last-event-id']);
        const end = new AbortController();
        const ended = AbortSignal.any([signal, end.signal]);
        const events = await operations.watch(caller, params.id, after, ended);
        const stream = new EventStream(response);
        try {
          if (after > 0 && (await operations.ended(caller, params.id, after))) return { status: 204 };
          stream.open();
          for await (const batch of events) for (const { seq, type, at, data } of batch) stream.send({ id: String(seq), event: type, data: JSON.stringify({ seq, type, at: at.toISOString(), data }) });
          // One whose credential ended breaks off instead: its client comes back and is told why.
          if (!signal.aborted) stream.end();
        } finally {
          end.abort();
          stream.close();
        }
        return undefined;
      },
    }),
    defineRoute({
      method: 'get',
      path: '/v1/runs/:id/history',
      id: 'getRunHistory',
      tag,
      summary: 'Reads what a run did, step by step',
      permission: 'runs:read',
      access: byRun,
      params: runIdParams,
      query: historyQuery,
      responses: { 200: { description: 'The steps, in the order they began.', schema: runHistory } },
      async handler({ caller, params, query }) {
        const { steps, events } = await operations.timeline(caller, params.id, query.payloads);
        return {
          status: 200,
          body: { events, steps: steps.map(({ resetTo, startedAt, endedAt, ...step }) => ({ ...step, replayable: resetTo !== null && resetTo > 0, startedAt: startedAt.toISOString(), endedAt: endedAt?.toISOString() ?? null })) },
        };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/v1/runs/:id/recording',
      id: 'getRunRecording',
      tag,
      summary: 'Reads the history of a run as replay tests keep it',
      description: 'As Temporal has it, with payloads decrypted. `hal9 record` writes it to a file that `hal9 check` replays. Needs the permission `codec:decode` too: keep runs with test data only.',
      permission: 'runs:read',
      access: byRun,
      params: runIdParams,
      responses: { 200: { description: 'The history.', schema: runRecording } },
      handler: async ({ caller, params }) => ({ status: 200, body: await operations.recording(caller, params.id) }),
    }),
    ...(['pause', 'resume'] as const).map((verb) =>
      defineRoute({
        method: 'post',
        path: `/v1/runs/:id/${verb}`,
        id: `${verb}Run`,
        tag,
        summary: verb === 'pause' ? 'Holds a run before its next step' : 'Lets a paused run go on',
        description: verb === 'pause' ? 'What runs already ends, timers go on, messages are answered, and a cancellation is obeyed.' : 'A run that was not paused is left as it is.',
        permission: 'runs:write',
        audit: `run.${verb}`,
        access: byRun,
        params: runIdParams,
        responses: { 200: { description: 'The run has taken it.', schema: changedAnswer } },
        handler: async ({ caller, params }) => ({ status: 200, body: { changed: await operations[verb](caller, params.id) } }),
      }),
    ),
    defineRoute({
      method: 'post',
      path: '/v1/runs/:id/retry',
      id: 'retryRun',
      tag,
      summary: 'Starts a run with the input of one that has ended',
      permission: 'runs:write',
      audit: 'run.retry',
      access: byRun,
      params: runIdParams,
      responses: { 201: { description: 'The new run.', schema: startedRun }, 200: { description: 'The run was there already, by the rule of its operation.', schema: startedRun } },
      async handler({ caller, params }) {
        const run = await operations.retry(caller, params.id);
        const links = runLinks(caller.orgId, run.runId, temporalUi);
        const operation = parseRunId(run.runId)?.operation ?? '';
        return { status: run.created ? 201 : 200, headers: { Location: links.self }, body: { runId: run.runId, operation, status: 'running', created: run.created, traceId: caller.traceparent?.slice(3, 35) ?? '', links } };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/v1/runs/:id/replay',
      id: 'replayRun',
      tag,
      summary: 'Begins a run again from one of its steps',
      description: 'Ask with `dryRun` first: the answer lists the steps that happened and would happen again. Signals since the step are sent again; updates, such as approvals, and cancellations are not.',
      permission: 'runs:write',
      audit: 'run.replay',
      access: byRun,
      params: runIdParams,
      body: replayBody.prefault({}),
      responses: { 200: { description: 'What would be repeated.', schema: replayAnswer }, 202: { description: 'The run goes on from the step.', schema: replayAnswer } },
      async handler({ caller, params, body }) {
        if (body.dryRun) {
          const { epoch, effect, repeated } = await operations.replayPlan(caller, params.id, body.fromEvent);
          return { status: 200, body: { dryRun: true, runId: params.id, epoch, effect, repeated } };
        }
        return { status: 202, body: { dryRun: false, ...(await operations.replay(caller, params.id, body.fromEvent, body.reason)) } };
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
    pausedAt: run.pausedAt?.toISOString() ?? null,
    retryOf: run.retryOf,
    retriedBy: run.retriedBy,
    epoch: run.epoch,
  };
}

/** The number of the last event a client has; 0 for none. @throws {HalError} InvalidInput. */
function lastEventId(header: string | string[] | undefined): number {
  if (header === undefined || header === '') return 0;
  if (typeof header === 'string' && /^\d{1,15}$/.test(header)) return Number(header);
  throw new HalError('InvalidInput', 'Last-Event-ID is not one of this stream', { errors: [{ path: '/headers/last-event-id', message: 'the id of an event, a whole number' }] });
}

function detail(run: RunDescription): Omit<z.input<typeof runDetail>, 'links'> {
  return {
    ...summary(run),
    source: run.source,
    progress: run.progress,
    pendingActivities: run.pendingActivities.map((activity) => ({ ...activity, nextAttemptAt: activity.nextAttemptAt?.toISOString() ?? null })),
    historyLength: run.historyLength,
    temporalRunId: run.temporalRunId,
    memo: run.memo,
    lease: run.lease,
  };
}
