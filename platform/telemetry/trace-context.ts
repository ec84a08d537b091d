import { AsyncLocalStorage } from 'node:async_hooks';
import { ROOT_CONTEXT, isSpanContextValid, trace, type Context, type SpanContext } from '@opentelemetry/api';

const storage = new AsyncLocalStorage<string | undefined>();

const TRACEPARENT = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/;

/**
 * Runs `work` as part of a trace, whether or not this process exports traces itself.
 * @param traceparent W3C trace context; undefined or malformed for none.
 */
export function withTraceparent<T>(traceparent: string | undefined, work: () => T): T {
  return storage.run(traceparent, work);
}

/** OpenTelemetry's context of the trace that the calling code belongs to; the root context when there is none. */
export function activeTrace(): Context {
  return traceOf(storage.getStore());
}

/** OpenTelemetry's context of a W3C trace context. */
export function traceOf(traceparent: string | undefined): Context {
  const parsed = traceparent === undefined ? undefined : parseTraceparent(traceparent);
  return parsed === undefined ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, parsed);
}

/** Undefined for what is not a trace context of version 00. */
export function parseTraceparent(traceparent: string): SpanContext | undefined {
  const [, traceId, spanId, flags] = TRACEPARENT.exec(traceparent) ?? [];
  if (traceId === undefined || spanId === undefined || flags === undefined) return undefined;
  const context: SpanContext = { traceId, spanId, traceFlags: Number.parseInt(flags, 16), isRemote: true };
  return isSpanContextValid(context) ? context : undefined;
}

/** Undefined for the empty context of a process without a trace. */
export function formatTraceparent(context: SpanContext): string | undefined {
  return isSpanContextValid(context) ? `00-${context.traceId}-${context.spanId}-${context.traceFlags.toString(16).padStart(2, '0')}` : undefined;
}
