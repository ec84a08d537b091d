import { randomFillSync } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { Request } from 'express';
import { SpanKind, SpanStatusCode, trace, type Span } from '@opentelemetry/api';
import { formatTraceparent, parseTraceparent, traceOf } from '../platform/telemetry/trace-context.ts';

const tracer = trace.getTracer('hal9-api');

/** The server span of one request, or only its trace context when the process exports no traces. */
export class RequestTrace {
  /** W3C trace context that runs and signals of this request belong to. */
  readonly traceparent: string;
  readonly #span: Span;

  constructor(request: Request, routeId: string, path: string) {
    const parent = sentTraceparent(request);
    this.#span = tracer.startSpan(`${request.method ?? 'GET'} ${path}`, { kind: SpanKind.SERVER, attributes: { 'http.request.method': request.method ?? 'GET', 'http.route': path, 'hal9.route': routeId } }, traceOf(parent));
    const own = this.#span.isRecording() ? formatTraceparent(this.#span.spanContext()) : undefined;
    this.traceparent = own ?? request.traceparent;
  }

  get traceId(): string {
    return this.traceparent.slice(3, 35);
  }

  end(status: number): void {
    if (!this.#span.isRecording()) return;
    this.#span.setAttribute('http.response.status_code', status);
    if (status >= 500) this.#span.setStatus({ code: SpanStatusCode.ERROR });
    this.#span.end();
  }
}

/** The trace context of a request, whatever becomes of it: answers that no route gives carry it, too. */
export function traceparentOf(request: IncomingMessage): string {
  return sentTraceparent(request) ?? newTraceparent();
}

function sentTraceparent(request: IncomingMessage): string | undefined {
  const sent = request.headers['traceparent'];
  return typeof sent === 'string' && parseTraceparent(sent) !== undefined ? sent : undefined;
}

/** Sampled, so that the processes behind record the trace even when this one exports nothing. */
export function newTraceparent(): string {
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
