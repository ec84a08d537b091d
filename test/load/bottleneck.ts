import type { Observation } from './machine.ts';

/** Share of all processors from which on they are what everybody waits for. */
const SATURATED = 0.92;
/** Processors from which on a process of one thread has no more to give. */
const ONE_THREAD = 0.9;
/** Processes whose work is done by one thread each. */
const SINGLE_THREADED = ['api', 'generator'];
/** A ping that takes so long stands in a queue, milliseconds. */
const SLOW_MS = 100;

/** What the load met first, in words: the processors and who uses most of them, one thread, a pool, or a dependency. */
export function bottleneckOf(seen: Observation): string {
  const users = Object.entries(seen.processors).toSorted(([, a], [, b]) => b - a);
  const most = users.slice(0, 3).map(([name, used]) => `${name} ${used.toFixed(2)}`).join(', ');
  const full = SINGLE_THREADED.find((name) => (seen.processors[name] ?? 0) >= ONE_THREAD);
  if (full === 'generator') return `the load generator, which has no more to give (${most} processors)`;
  if (seen.foreign > 0.2) return `other work on this machine takes ${Math.round(seen.foreign * 100)} % of the processors (${most})`;
  if (full !== undefined) return `the event loop of the ${full === 'api' ? 'API' : full} (${most} processors; lag p99 ${seen.eventLoopLagMs.toFixed(0)} ms)`;
  if (seen.busy >= SATURATED) return `the processors, ${Math.round(seen.busy * 100)} % busy, most of it ${most}`;
  if (seen.poolWaiting > 1) return `connections of the API to PostgreSQL: ${seen.poolWaiting.toFixed(1)} requests wait for one (DATABASE_POOL)`;
  if (seen.postgresMs > SLOW_MS) return `PostgreSQL, which takes ${seen.postgresMs.toFixed(0)} ms to answer a ping`;
  if (seen.temporalMs > SLOW_MS) return `Temporal, which takes ${seen.temporalMs.toFixed(0)} ms to answer a ping`;
  return `none of those looked at: processors ${Math.round(seen.busy * 100)} % busy (${most}), lag p99 ${seen.eventLoopLagMs.toFixed(0)} ms, Temporal ${seen.temporalMs.toFixed(0)} ms, PostgreSQL ${seen.postgresMs.toFixed(0)} ms`;
}
