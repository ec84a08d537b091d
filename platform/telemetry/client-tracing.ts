import { SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import type { Next, WorkflowClientInterceptor, WorkflowSignalInput, WorkflowStartInput, WorkflowStartOutput, WorkflowStartUpdateInput, WorkflowStartUpdateOutput, WorkflowStartUpdateWithStartInput, WorkflowStartUpdateWithStartOutput } from '@temporalio/client';
import { defaultPayloadConverter, type Headers } from '@temporalio/common';
import { TRACE_HEADER } from '../../schemas/names/headers.ts';
import { activeTrace, formatTraceparent } from './trace-context.ts';

/** Makes a span of each call that starts or tells a run something, and sends its trace context along. */
export class ClientTracing implements WorkflowClientInterceptor {
  startWithDetails(input: WorkflowStartInput, next: Next<WorkflowClientInterceptor, 'startWithDetails'>): Promise<WorkflowStartOutput> {
    return traced(`start ${input.workflowType}`, (header) => next({ ...input, headers: { ...input.headers, ...header } }));
  }

  startUpdateWithStart(input: WorkflowStartUpdateWithStartInput, next: Next<WorkflowClientInterceptor, 'startUpdateWithStart'>): Promise<WorkflowStartUpdateWithStartOutput> {
    return traced(`start ${input.workflowType} with ${input.updateName}`, (header) =>
      next({ ...input, workflowStartHeaders: { ...input.workflowStartHeaders, ...header }, updateHeaders: { ...input.updateHeaders, ...header } }),
    );
  }

  startUpdate(input: WorkflowStartUpdateInput, next: Next<WorkflowClientInterceptor, 'startUpdate'>): Promise<WorkflowStartUpdateOutput> {
    return traced(`update ${input.updateName}`, (header) => next({ ...input, headers: { ...input.headers, ...header } }));
  }

  signal(input: WorkflowSignalInput, next: Next<WorkflowClientInterceptor, 'signal'>): Promise<void> {
    return traced(`signal ${input.signalName}`, (header) => next({ ...input, headers: { ...input.headers, ...header } }));
  }
}

async function traced<T>(name: string, call: (header: Headers) => Promise<T>): Promise<T> {
  const span = trace.getTracer('hal9-operations').startSpan(name, { kind: SpanKind.PRODUCER }, activeTrace());
  // Without an exporter the span is the context it was started in: the trace goes on.
  const traceparent = formatTraceparent(span.spanContext());
  try {
    return await call(traceparent === undefined ? {} : { [TRACE_HEADER]: defaultPayloadConverter.toPayload(traceparent) });
  } catch (error) {
    span.setStatus({ code: SpanStatusCode.ERROR, message: error instanceof Error ? error.name : 'error' });
    throw error;
  } finally {
    span.end();
  }
}
