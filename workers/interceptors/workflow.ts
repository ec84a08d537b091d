import {
  defaultPayloadConverter,
  proxySinks,
  workflowInfo,
  type ActivityInput,
  type ContinueAsNewInput,
  type LocalActivityInput,
  type Next,
  type SignalWorkflowInput,
  type Sinks,
  type StartChildWorkflowExecutionInput,
  type WorkflowExecuteInput,
  type WorkflowInboundCallsInterceptor,
  type WorkflowInterceptors,
  type WorkflowOutboundCallsInterceptor,
} from '@temporalio/workflow';
import type { Headers } from '@temporalio/common';
import { TRACE_HEADER, TRACE_SINK, type WorkflowSpan } from '../../schemas/names/headers.ts';
import { SEARCH_ATTRIBUTES } from '../../schemas/names/search-attributes.ts';
import { workflowOrganisation } from '../../schemas/names/workflow-id.ts';

export interface TraceSinks extends Sinks {
  [TRACE_SINK]: { finished(span: WorkflowSpan): void };
}

/** Keeps children in the organisation of their parent: their id and search attributes say so, and with the id the key that encrypts them. */
class OrganisationOfChildren implements WorkflowOutboundCallsInterceptor {
  async startChildWorkflowExecution(input: StartChildWorkflowExecutionInput, next: Next<WorkflowOutboundCallsInterceptor, 'startChildWorkflowExecution'>): ReturnType<typeof next> {
    const orgId = workflowOrganisation(workflowInfo().workflowId);
    if (orgId === undefined) return next(input);
    const workflowId = workflowOrganisation(input.options.workflowId) === orgId ? input.options.workflowId : `${orgId}/${input.workflowType}/${input.options.workflowId}`;
    const searchAttributes = { ...input.options.searchAttributes, [SEARCH_ATTRIBUTES.orgId]: [orgId] };
    return next({ ...input, options: { ...input.options, workflowId, searchAttributes } });
  }
}

/**
 * Carries the trace from whoever started the run to all it does. The run's own span takes its id from the run id, which is
 * random and the same in every replay.
 */
class Tracing implements WorkflowInboundCallsInterceptor, WorkflowOutboundCallsInterceptor {
  #header: Headers = {};
  #parentHeader: Headers = {};

  async execute(input: WorkflowExecuteInput, next: Next<WorkflowInboundCallsInterceptor, 'execute'>): Promise<unknown> {
    const payload = input.headers[TRACE_HEADER];
    const parent = payload === undefined ? undefined : defaultPayloadConverter.fromPayload(payload);
    if (payload === undefined || typeof parent !== 'string') return next(input);
    const { runId, workflowType, startTime } = workflowInfo();
    const spanId = runId.replaceAll('-', '').slice(16);
    this.#parentHeader = { [TRACE_HEADER]: payload };
    this.#header = { [TRACE_HEADER]: defaultPayloadConverter.toPayload(`${parent.slice(0, 36)}${spanId}${parent.slice(52)}`) };
    const finish = (failed: boolean): void => {
      proxySinks<TraceSinks>()[TRACE_SINK].finished({ name: workflowType, parent, spanId, startMs: startTime.getTime(), endMs: Date.now(), failed });
    };
    try {
      const result = await next(input);
      finish(false);
      return result;
    } catch (error) {
      finish(true);
      throw error;
    }
  }

  scheduleActivity(input: ActivityInput, next: Next<WorkflowOutboundCallsInterceptor, 'scheduleActivity'>): Promise<unknown> {
    return next(this.#carry(input));
  }

  scheduleLocalActivity(input: LocalActivityInput, next: Next<WorkflowOutboundCallsInterceptor, 'scheduleLocalActivity'>): Promise<unknown> {
    return next(this.#carry(input));
  }

  startChildWorkflowExecution(input: StartChildWorkflowExecutionInput, next: Next<WorkflowOutboundCallsInterceptor, 'startChildWorkflowExecution'>): ReturnType<typeof next> {
    return next(this.#carry(input));
  }

  signalWorkflow(input: SignalWorkflowInput, next: Next<WorkflowOutboundCallsInterceptor, 'signalWorkflow'>): Promise<void> {
    return next(this.#carry(input));
  }

  continueAsNew(input: ContinueAsNewInput, next: Next<WorkflowOutboundCallsInterceptor, 'continueAsNew'>): Promise<never> {
    return next({ ...input, headers: { ...input.headers, ...this.#parentHeader } });
  }

  #carry<Input extends { readonly headers: Headers }>(input: Input): Input {
    return { ...input, headers: { ...input.headers, ...this.#header } };
  }
}

/** Loaded into the bundle by name; called for each run. */
export const interceptors = (): WorkflowInterceptors => {
  const tracing = new Tracing();
  return { inbound: [tracing], outbound: [new OrganisationOfChildren(), tracing] };
};
