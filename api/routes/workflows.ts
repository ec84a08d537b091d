import type { Request } from 'express';
import { z } from 'zod';
import type { Operations, RunResult, StartedRun } from '../../platform/operations/contract.ts';
import { quotaHeader, type Admission } from '../../platform/usage/quota-gate.ts';
import type { RateLimits } from '../../platform/usage/rate-limits.ts';
import { HalError } from '../../schemas/errors.ts';
import { parseSubject, type OperationContract, type Subject } from '../../schemas/operations/operation.ts';
import { startedRun, startOptions } from '../../schemas/rest/runs.ts';
import { workflowParams, workflowView } from '../../schemas/rest/workflows.ts';
import { describeOperation } from '../catalogue.ts';
import { addRateLimits } from '../rate-limit-headers.ts';
import { defineRoute, type AnyRoute } from '../route.ts';
import { runLinks, type TemporalUi } from '../run-links.ts';
import { START_HEADERS } from '../start-headers.ts';

export interface WorkflowRouteDependencies {
  operations: Operations;
  temporalUi?: TemporalUi | undefined;
  admission?: Pick<Admission, 'warning'> | undefined;
  rates?: Pick<RateLimits, 'ofStarts'> | undefined;
}

/** Longest wait of `Prefer: wait`, seconds. */
const WAIT_LIMIT = 60;
const IDEMPOTENCY_KEY = /^[\x21-\x7e]{1,255}$/;

/** The catalogue of operations, and how to start one. */
export function createWorkflowRoutes({ operations, temporalUi, admission, rates }: WorkflowRouteDependencies): AnyRoute[] {
  const contractOf = (type: string): OperationContract => {
    const contract = operations.contracts.get(type);
    if (contract === undefined) throw new HalError('UnknownOperation', `there is no operation ${JSON.stringify(type)}`);
    return contract;
  };
  return [
    defineRoute({
      method: 'post',
      path: '/v1/workflows/:type/runs',
      id: 'startRun',
      tag: 'Workflows',
      summary: 'Starts a run of an operation',
      description:
        'With an `Idempotency-Key` header the same key and body start one run only, however often they are sent, and `Idempotency-Replayed` says whether this was a repetition. With `Prefer: wait=<seconds>` the answer waits for the end. A `traceparent` header makes the run part of that trace.',
      permission: 'runs:write',
      audit: 'run.start',
      access: ({ params }) => {
        const type = params['type'] ?? '';
        return { permission: operations.contracts.get(type)?.permission ?? 'runs:write', attributes: { type } };
      },
      timeoutMs: (WAIT_LIMIT + 15) * 1000,
      params: workflowParams,
      headers: START_HEADERS,
      body: startOptions,
      responses: { 201: { description: 'The run was started.', schema: startedRun }, 200: { description: 'The run was there already.', schema: startedRun } },
      async handler({ caller, params, body, request, response }) {
        const contract = contractOf(params.type);
        if (contract.exposure === 'internal') throw new HalError('UnknownOperation', `${params.type} is started by HAL9 alone`);
        const key = idempotencyKey(request);
        const wait = preferredWait(request);
        const subject = subjectOf(request);
        const run = await inInput(() =>
          operations.start(caller, {
            operation: params.type,
            input: body.input,
            origin: 'api',
            ...(key === undefined ? {} : { idempotencyKey: key }),
            ...(subject === undefined ? {} : { subject }),
            ...(body.delaySeconds === undefined ? {} : { delaySeconds: body.delaySeconds }),
            ...(body.timeoutSeconds === undefined ? {} : { timeoutSeconds: body.timeoutSeconds }),
            ...(body.priority === undefined ? {} : { priority: body.priority }),
            ...(body.concurrency === undefined ? {} : { concurrency: body.concurrency }),
            ...(body.memo === undefined ? {} : { memo: body.memo }),
            ...(body.tags === undefined ? {} : { tags: body.tags }),
          }),
        ).finally(() => {
          // A refused start says so too.
          const standing = rates?.ofStarts(caller.orgId, contract);
          if (standing !== undefined) addRateLimits(response, [standing]);
        });
        const outcome = await outcomeOf(run, wait);
        const links = runLinks(caller.orgId, run.runId, temporalUi);
        return {
          status: run.created ? 201 : 200,
          body: {
            runId: run.runId,
            operation: params.type,
            status: outcome?.status ?? 'running',
            created: run.created,
            ...(run.queued === true ? { queued: true } : {}),
            traceId: caller.traceparent?.slice(3, 35) ?? '',
            links,
            ...(wait !== undefined && outcome !== undefined && outcome.status !== 'running' ? { outcome } : {}),
          },
          headers: { Location: links.self, ...(key === undefined ? {} : { 'Idempotency-Replayed': String(!run.created) }), ...quotaHeader(admission, caller.orgId), ...(wait === undefined ? {} : { 'Preference-Applied': `wait=${wait}` }) },
        };

        /** A new run is running; an older one, or one that is waited for, must be asked. */
        function outcomeOf(started: StartedRun, seconds: number | undefined): Promise<RunResult> | undefined {
          return started.created && seconds === undefined ? undefined : operations.result(caller, started.runId, (seconds ?? 0) * 1000);
        }
      },
    }),
    defineRoute({
      method: 'get',
      path: '/v1/workflows',
      id: 'listWorkflows',
      tag: 'Workflows',
      summary: 'Lists the operations this server knows, with their schemas',
      permission: 'workflows:read',
      responses: { 200: { description: 'The catalogue.', schema: z.object({ items: z.array(workflowView) }) } },
      handler: async () => ({ status: 200, body: { items: [...operations.contracts.values()].map(describeOperation) } }),
    }),
    defineRoute({
      method: 'get',
      path: '/v1/workflows/:type',
      id: 'getWorkflow',
      tag: 'Workflows',
      summary: 'Describes one operation',
      permission: 'workflows:read',
      params: workflowParams,
      responses: { 200: { description: 'The operation.', schema: workflowView } },
      handler: async ({ params }) => ({ status: 200, body: describeOperation(contractOf(params.type)) }),
    }),
  ];
}

/** Field errors of the input, as pointers into the request's body. */
async function inInput<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof HalError) || error.type !== 'InvalidInput') throw error;
    throw new HalError('InvalidInput', error.message, { errors: error.errors.map(({ path, message }) => ({ path: `/input${path}`, message })), cause: error });
  }
}

function idempotencyKey(request: Request): string | undefined {
  const sent = request.headers['idempotency-key'];
  if (sent === undefined) return undefined;
  if (typeof sent !== 'string' || !IDEMPOTENCY_KEY.test(sent)) {
    throw new HalError('InvalidInput', 'the Idempotency-Key is malformed', { errors: [{ path: '/headers/idempotency-key', message: '1 to 255 printable ASCII characters without spaces' }] });
  }
  return sent;
}

/** @throws {HalError} InvalidInput that does not show the header. */
function subjectOf(request: Request): Subject | undefined {
  const sent = request.headers['hal9-subject'];
  if (sent === undefined) return undefined;
  const subject = typeof sent === 'string' ? parseSubject(sent) : undefined;
  if (subject === undefined) throw new HalError('InvalidInput', 'the HAL9-Subject is malformed', { errors: [{ path: '/headers/hal9-subject', message: '`kind:value`, e.g. `email:ada@example.net`' }] });
  return subject;
}

/** Seconds of `Prefer: wait=<seconds>` (RFC 7240), at most {@link WAIT_LIMIT}. A preference that cannot be read is ignored. */
function preferredWait(request: Request): number | undefined {
  const header = request.headers['prefer'];
  const match = typeof header === 'string' ? /(?:^|[,;\s])wait=(\d{1,6})(?:$|[,;\s])/.exec(header) : null;
  return match === null ? undefined : Math.min(Number(match[1]), WAIT_LIMIT);
}
