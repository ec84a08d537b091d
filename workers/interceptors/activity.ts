import { SpanKind, SpanStatusCode, context, trace } from '@opentelemetry/api';
import type { Info } from '@temporalio/activity';
import { ApplicationFailure, defaultPayloadConverter, type Headers } from '@temporalio/common';
import type { ActivityExecuteInput, ActivityInboundCallsInterceptor, ActivityInterceptorsFactory, Next } from '@temporalio/worker';
import { traceOf, withTraceparent } from '../../platform/telemetry/trace-context.ts';
import { HalError } from '../../schemas/errors.ts';
import { TRACE_HEADER } from '../../schemas/names/headers.ts';

/** Around every activity of HAL9 and of people's operations. */
export const activityInterceptors: ActivityInterceptorsFactory[] = [({ info }) => ({ inbound: new ActivityTracing(info) }), () => ({ inbound: new FailureMapping() })];

/** Makes each attempt a span of the run's trace. */
class ActivityTracing implements ActivityInboundCallsInterceptor {
  readonly #info: Info;

  constructor(info: Info) {
    this.#info = info;
  }

  async execute(input: ActivityExecuteInput, next: Next<ActivityInboundCallsInterceptor, 'execute'>): Promise<unknown> {
    const traceparent = read(input.headers);
    if (traceparent === undefined) return next(input);
    const parent = traceOf(traceparent);
    const { activityType, attempt, taskQueue, workflowExecution } = this.#info;
    const attributes = { 'hal9.attempt': attempt, 'hal9.queue': taskQueue, ...(workflowExecution && { 'hal9.workflow_id': workflowExecution.workflowId }) };
    const span = trace.getTracer('hal9-activities').startSpan(activityType, { kind: SpanKind.CONSUMER, attributes }, parent);
    try {
      return await withTraceparent(traceparent, () => context.with(trace.setSpan(parent, span), () => next(input)));
    } catch (error) {
      // The type alone: messages are encrypted in Temporal and must not lie open in a trace.
      span.setStatus({ code: SpanStatusCode.ERROR, message: error instanceof ApplicationFailure ? (error.type ?? error.name) : 'error' });
      throw error;
    } finally {
      span.end();
    }
  }
}

/** Turns expected failures of the house into Temporal's, so that retries follow the failure's own nature. */
class FailureMapping implements ActivityInboundCallsInterceptor {
  async execute(input: ActivityExecuteInput, next: Next<ActivityInboundCallsInterceptor, 'execute'>): Promise<unknown> {
    try {
      return await next(input);
    } catch (error) {
      if (!(error instanceof HalError)) throw error;
      throw ApplicationFailure.create({
        type: error.type,
        message: error.message,
        nonRetryable: !error.failure.retryable,
        details: error.errors.length > 0 ? [error.errors] : [],
        cause: error,
        ...(error.retryAfterSeconds === undefined ? {} : { nextRetryDelay: error.retryAfterSeconds * 1000 }),
      });
    }
  }
}

function read(headers: Headers): string | undefined {
  const payload = headers[TRACE_HEADER];
  const value: unknown = payload === undefined ? undefined : defaultPayloadConverter.fromPayload(payload);
  return typeof value === 'string' ? value : undefined;
}
