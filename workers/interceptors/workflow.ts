import {
  CancellationScope,
  condition,
  defaultPayloadConverter,
  defineSignal,
  defineUpdate,
  proxySinks,
  setHandler,
  workflowInfo,
  type ActivityInput,
  type ConcludeActivationInput,
  type ConcludeActivationOutput,
  type ContinueAsNewInput,
  type LocalActivityInput,
  type Next,
  type SignalWorkflowInput,
  type Sinks,
  type StartChildWorkflowExecutionInput,
  type WorkflowExecuteInput,
  type WorkflowInboundCallsInterceptor,
  type WorkflowInterceptors,
  type WorkflowInternalsInterceptor,
  type WorkflowOutboundCallsInterceptor,
} from '@temporalio/workflow';
import type { Headers } from '@temporalio/common';
import type {} from '@temporalio/workflow/lib/global-attributes.js';
import { PAUSE_HEADER, PROGRESS_SINK, TRACE_HEADER, TRACE_SINK, type WorkflowSpan } from '../../schemas/names/headers.ts';
import { BEGIN_SIGNAL, QUEUED_MEMO, RESERVED_QUERIES, RESERVED_UPDATES } from '../../schemas/names/messages.ts';
import { SEARCH_ATTRIBUTES } from '../../schemas/names/search-attributes.ts';
import { workflowOrganisation, workflowSubjectKey } from '../../schemas/names/workflow-id.ts';

export interface TraceSinks extends Sinks {
  [TRACE_SINK]: { finished(span: WorkflowSpan): void };
}

export interface ProgressSinks extends Sinks {
  [PROGRESS_SINK]: {
    /** The answer of the query `progress` after a workflow task that changed it. */
    reported(progress: unknown): void;
    ended(): void;
  };
}

/** Keeps children in the organisation of their parent: their id and search attributes say so, and with the id the key that encrypts them. */
class OrganisationOfChildren implements WorkflowOutboundCallsInterceptor {
  async startChildWorkflowExecution(input: StartChildWorkflowExecutionInput, next: Next<WorkflowOutboundCallsInterceptor, 'startChildWorkflowExecution'>): ReturnType<typeof next> {
    const orgId = workflowOrganisation(workflowInfo().workflowId);
    if (orgId === undefined) return next(input);
    const key = workflowSubjectKey(workflowInfo().workflowId);
    const named = workflowOrganisation(input.options.workflowId) === orgId ? input.options.workflowId : `${orgId}/${input.workflowType}/${input.options.workflowId}`;
    // What is about a person stays under the person's key.
    const workflowId = key === undefined || workflowSubjectKey(named) !== undefined ? named : `${named}/k:${key}`;
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

/** Holds a run that waits for the lease of its concurrency key until the dispatcher says that it has it. Other runs know nothing of it. */
class Queueing implements WorkflowInboundCallsInterceptor {
  async execute(input: WorkflowExecuteInput, next: Next<WorkflowInboundCallsInterceptor, 'execute'>): Promise<unknown> {
    const { memo, continuedFromExecutionRunId } = workflowInfo();
    if (memo?.[QUEUED_MEMO] !== true) return next(input);
    let begun = continuedFromExecutionRunId !== undefined;
    setHandler(defineSignal(BEGIN_SIGNAL), () => {
      begun = true;
    }, { description: 'Lets the run begin: it has the lease of its concurrency key.' });
    await condition(() => begun);
    return next(input);
  }
}

/**
 * Pause is cooperative: a paused run waits before its next step (an activity, a local activity, a child). What runs already ends, timers
 * go on, messages are answered. A cancelled run is never held, so that it can clean up. Histories without a pause hold nothing
 * of this: the gate makes no command of its own.
 */
class Pausing implements WorkflowInboundCallsInterceptor, WorkflowOutboundCallsInterceptor {
  #paused = false;
  #root: CancellationScope | undefined;

  async execute(input: WorkflowExecuteInput, next: Next<WorkflowInboundCallsInterceptor, 'execute'>): Promise<unknown> {
    this.#root = CancellationScope.current();
    this.#paused = input.headers[PAUSE_HEADER] !== undefined;
    const set = (paused: boolean) => (): { changed: boolean } => {
      const changed = this.#paused !== paused;
      this.#paused = paused;
      return { changed };
    };
    setHandler(defineUpdate<{ changed: boolean }>(RESERVED_UPDATES.pause), set(true), { description: 'Stops the run before its next step.' });
    setHandler(defineUpdate<{ changed: boolean }>(RESERVED_UPDATES.resume), set(false), { description: 'Lets a paused run go on.' });
    return next(input);
  }

  scheduleActivity(input: ActivityInput, next: Next<WorkflowOutboundCallsInterceptor, 'scheduleActivity'>): Promise<unknown> {
    return this.#held() ? this.#afterPause(() => next(input)) : next(input);
  }

  scheduleLocalActivity(input: LocalActivityInput, next: Next<WorkflowOutboundCallsInterceptor, 'scheduleLocalActivity'>): Promise<unknown> {
    return this.#held() ? this.#afterPause(() => next(input)) : next(input);
  }

  startChildWorkflowExecution(input: StartChildWorkflowExecutionInput, next: Next<WorkflowOutboundCallsInterceptor, 'startChildWorkflowExecution'>): ReturnType<typeof next> {
    return this.#held() ? this.#afterPause(() => next(input)) : next(input);
  }

  /** Not held: messages that come in while it waits would be lost. The next history begins paused instead. */
  continueAsNew(input: ContinueAsNewInput, next: Next<WorkflowOutboundCallsInterceptor, 'continueAsNew'>): Promise<never> {
    return next(this.#paused ? { ...input, headers: { ...input.headers, [PAUSE_HEADER]: defaultPayloadConverter.toPayload(true) } } : input);
  }

  #held(): boolean {
    return this.#paused && this.#root?.consideredCancelled !== true;
  }

  async #afterPause<T>(work: () => Promise<T>): Promise<T> {
    await condition(() => !this.#held());
    return work();
  }
}

/**
 * Tells the worker how far the run is, by asking the run's own handler of the query `progress` after each workflow task. Operations need
 * nothing but that handler, and a history holds nothing of it.
 */
class Reporting implements WorkflowInboundCallsInterceptor, WorkflowInternalsInterceptor {
  #last: string | undefined;

  async execute(input: WorkflowExecuteInput, next: Next<WorkflowInboundCallsInterceptor, 'execute'>): Promise<unknown> {
    try {
      return await next(input);
    } finally {
      this.#last = undefined;
      proxySinks<ProgressSinks>()[PROGRESS_SINK].ended();
    }
  }

  concludeActivation(input: ConcludeActivationInput, next: Next<WorkflowInternalsInterceptor, 'concludeActivation'>): ConcludeActivationOutput {
    const progress = ownProgress();
    const text = progress === undefined ? undefined : JSON.stringify(progress);
    if (text !== undefined && text !== this.#last) {
      this.#last = text;
      proxySinks<ProgressSinks>()[PROGRESS_SINK].reported(progress);
    }
    return next(input);
  }
}

/** The SDK's own table of handlers: it has no public way to call one from inside. */
function ownProgress(): unknown {
  const handler = globalThis.__TEMPORAL_ACTIVATOR__?.queryHandlers.get(RESERVED_QUERIES.progress)?.handler;
  if (handler === undefined) return undefined;
  try {
    return handler();
  } catch {
    // Whoever sends the query is told; a run does not fail because it cannot say how far it is.
    return undefined;
  }
}

/** Loaded into the bundle by name; called for each run. */
export const interceptors = (): WorkflowInterceptors => {
  const [tracing, queueing, pausing, reporting] = [new Tracing(), new Queueing(), new Pausing(), new Reporting()];
  return { inbound: [tracing, pausing, reporting, queueing], outbound: [pausing, new OrganisationOfChildren(), tracing], internals: [reporting] };
};
