import { randomFillSync } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { context, propagation, SpanKind, SpanStatusCode, trace, type Span } from '@opentelemetry/api';

const tracer = trace.getTracer('hal9-api');
/** https://www.w3.org/TR/trace-context/#traceparent-header */
const TRACEPARENT = /^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/;

/** The server span of one request, or only its trace context when the process exports no traces. */
export class RequestTrace {
  /** W3C trace context that runs and signals of this request belong to. */
  readonly traceparent: string;
  readonly #span: Span;

  constructor(request: IncomingMessage, routeId: string, path: string) {
    const sent = request.headers['traceparent'];
    const parent = typeof sent === 'string' && TRACEPARENT.test(sent) ? sent : undefined;
    const outer = parent === undefined ? context.active() : propagation.extract(context.active(), request.headers);
    this.#span = tracer.startSpan(`${request.method ?? 'GET'} ${path}`, { kind: SpanKind.SERVER, attributes: { 'http.request.method': request.method ?? 'GET', 'http.route': path, 'hal9.route': routeId } }, outer);
    const own = this.#span.spanContext();
    if (this.#span.isRecording()) this.traceparent = `00-${own.traceId}-${own.spanId}-${own.traceFlags.toString(16).padStart(2, '0')}`;
    else this.traceparent = parent ?? newTraceparent();
  }

  get traceId(): string {
    return this.traceparent.slice(3, 35);
  }

  /** Runs `work` with the span as the parent of what it starts. */
  run<T>(work: () => Promise<T>): Promise<T> {
    return this.#span.isRecording() ? context.with(trace.setSpan(context.active(), this.#span), work) : work();
  }

  end(status: number): void {
    if (!this.#span.isRecording()) return;
    this.#span.setAttribute('http.response.status_code', status);
    if (status >= 500) this.#span.setStatus({ code: SpanStatusCode.ERROR });
    this.#span.end();
  }
}

/** Sampled, so that the processes behind record the trace even when this one exports nothing. */
function newTraceparent(): string {
  const ids = randomHex24();
  return `00-${ids.slice(0, 32)}-${ids.slice(32)}-01`;
}

/** Ids need no secrecy, but a call to the generator for each costs more than the rest of the line: drawn 200 at a time. */
const POOL = Buffer.alloc(24 * 200);
let used = POOL.length;

function randomHex24(): string {
  if (used === POOL.length) {
    randomFillSync(POOL);
    used = 0;
  }
  used += 24;
  return POOL.toString('hex', used - 24, used);
}
