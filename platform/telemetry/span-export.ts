import { randomBytes } from 'node:crypto';
import { SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { BatchSpanProcessor } from '@opentelemetry/sdk-trace-base';
import { NodeTracerProvider } from '@opentelemetry/sdk-trace-node';
import { traceOf } from './trace-context.ts';
import type { Tracing } from './tracing.ts';

/** Longest time a finished span waits for others before it is sent, ms. */
const EXPORT_DELAY_MS = 1_000;
const EXPORT_TIMEOUT_MS = 5_000;

/**
 * Sends the spans of this process to `<url>/v1/traces` (OTLP/HTTP, https://opentelemetry.io/docs/specs/otlp/).
 * @param name the process; the service is `hal9-<name>`.
 */
export function exportSpans(url: string, name: string): Pick<Tracing, 'recordWorkflow' | 'shutdown'> {
  const ids = new SpanIds();
  const exporter = new OTLPTraceExporter({ url: `${url.replace(/\/$/, '')}/v1/traces`, timeoutMillis: EXPORT_TIMEOUT_MS });
  const provider = new NodeTracerProvider({
    resource: resourceFromAttributes({ 'service.name': `hal9-${name}`, 'service.namespace': 'hal9', 'process.pid': process.pid }),
    idGenerator: ids,
    spanProcessors: [new BatchSpanProcessor(exporter, { scheduledDelayMillis: EXPORT_DELAY_MS, exportTimeoutMillis: EXPORT_TIMEOUT_MS })],
  });
  provider.register();
  return {
    recordWorkflow({ name: workflow, parent, spanId, startMs, endMs, failed }, attributes) {
      ids.useNext(spanId);
      const span = trace.getTracer('hal9-workflows').startSpan(`run ${workflow}`, { kind: SpanKind.CONSUMER, startTime: startMs, attributes }, traceOf(parent));
      if (failed) span.setStatus({ code: SpanStatusCode.ERROR });
      span.end(endMs);
    },
    async shutdown() {
      await provider.shutdown();
      trace.disable();
    },
  };
}

/** Random ids, and for workflows the one their code chose: it must be the same in every replay. */
class SpanIds {
  #next: string | undefined;

  useNext(spanId: string): void {
    this.#next = spanId;
  }

  generateTraceId(): string {
    return randomBytes(16).toString('hex');
  }

  generateSpanId(): string {
    const id = this.#next ?? randomBytes(8).toString('hex');
    this.#next = undefined;
    return id;
  }
}
