import type { Attributes } from '@opentelemetry/api';
import type { ClientInterceptors } from '@temporalio/client';
import type { WorkflowSpan } from '../../schemas/names/headers.ts';
import type { Config } from '../config/config.ts';
import { ClientTracing } from './client-tracing.ts';

export interface Tracing {
  /** For the Temporal client: passes traces on to runs, also when this process exports none. */
  readonly clientInterceptors: ClientInterceptors;
  /** Exports the span of a workflow, whose code cannot do it itself. */
  recordWorkflow(span: WorkflowSpan, attributes: Attributes): void;
  /** Sends what is left; bounded by a few seconds. */
  shutdown(): Promise<void>;
}

/**
 * Traces of this process. With HAL9_OTLP_URL they are exported; without it they are only passed on, and nothing that exports is loaded.
 * @param name the process.
 */
export async function startTracing(config: Pick<Config, 'HAL9_OTLP_URL'>, name: string): Promise<Tracing> {
  const clientInterceptors: ClientInterceptors = { workflow: [new ClientTracing()] };
  if (config.HAL9_OTLP_URL === undefined) return { clientInterceptors, recordWorkflow: () => undefined, shutdown: () => Promise.resolve() };
  const { exportSpans } = await import('./span-export.ts');
  return { clientInterceptors, ...exportSpans(config.HAL9_OTLP_URL, name) };
}
