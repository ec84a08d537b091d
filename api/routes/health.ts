import { z } from 'zod';
import type { Registry } from 'prom-client';
import { defineRoute, type AnyRoute } from '../route.ts';

/** One thing the process cannot work without. */
export interface Dependency {
  /** As operators know it: `postgres`, `temporal`. */
  readonly name: string;
  /** Resolves when it answers; rejects or outlasts the signal when not. */
  check(signal: AbortSignal): Promise<void>;
}

/** Time a dependency has to answer, milliseconds. */
const CHECK_MS = 3000;

const dependencyView = z.object({ name: z.string(), state: z.enum(['up', 'down']), latencyMs: z.number() });
const readiness = z.object({ status: z.enum(['ready', 'not-ready', 'draining']), dependencies: z.array(dependencyView) }).meta({ id: 'Readiness' });

export interface HealthOptions {
  dependencies: readonly Dependency[];
  registry: Registry;
  /** Whether the process has been told to stop: it answers what it has, and asks for no more. */
  draining: () => boolean;
  /** Further metrics in Prometheus text format, e.g. those of Temporal's core where a process runs it; the API does not. */
  extraMetrics?: () => Promise<string>;
}

/** What orchestrators and Prometheus ask; no credential, and nothing about any organisation in the answers. */
export function createHealthRoutes(options: HealthOptions): AnyRoute[] {
  return [
    defineRoute({
      method: 'get',
      path: '/healthz',
      id: 'health',
      tag: 'Health',
      summary: 'Whether the process lives',
      permission: 'public',
      responses: { 200: { description: 'It does.', schema: z.object({ status: z.literal('ok') }) } },
      handler: async () => ({ status: 200, body: { status: 'ok' } }),
    }),
    defineRoute({
      method: 'get',
      path: '/readyz',
      id: 'readiness',
      tag: 'Health',
      summary: 'Whether the process can do its work, each dependency named',
      permission: 'public',
      responses: { 200: { description: 'Every dependency answers.', schema: readiness }, 503: { description: 'A dependency is down, or the process is stopping.', schema: readiness } },
      async handler() {
        const dependencies = await Promise.all(options.dependencies.map(probe));
        const status = options.draining() ? 'draining' : dependencies.every((dependency) => dependency.state === 'up') ? 'ready' : 'not-ready';
        return { status: status === 'ready' ? 200 : 503, body: { status, dependencies }, ...(status === 'ready' ? {} : { headers: { 'Retry-After': '1' } }) };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/metrics',
      id: 'metrics',
      tag: 'Health',
      summary: 'Metrics for Prometheus',
      permission: 'public',
      responses: { 200: { description: 'Prometheus text format.', schema: z.string(), contentType: options.registry.contentType } },
      async handler() {
        const extra = await options.extraMetrics?.();
        const own = await options.registry.metrics();
        return { status: 200, body: extra === undefined ? own : `${own}\n${extra}` };
      },
    }),
  ];
}

async function probe(dependency: Dependency): Promise<z.output<typeof dependencyView>> {
  const began = performance.now();
  const signal = AbortSignal.timeout(CHECK_MS);
  const late = new Promise<'down'>((resolve) => signal.addEventListener('abort', () => resolve('down'), { once: true }));
  const answered = dependency.check(signal).then(
    () => 'up' as const,
    () => 'down' as const,
  );
  const state = await Promise.race([answered, late]);
  return { name: dependency.name, state, latencyMs: Math.round((performance.now() - began) * 100) / 100 };
}
