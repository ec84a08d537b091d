import type { ConnectionHealth, NeuronHealth } from '../../database/health.ts';
import type { ComponentReport } from './component.ts';

/**
 * A connection is as its last test or use left it, whichever came later.
 * @returns the report of the component `connection/<name>`.
 */
export function connectionReport({ name, test, use, updatedAt }: ConnectionHealth): ComponentReport {
  const usedLast = use !== null && (test === null || use.at > test.at);
  const last = usedLast ? use : test;
  const what = usedLast ? 'message' : 'test';
  const component = { name: `connection/${name}`, kind: 'connection', dependsOn: [] };
  if (last === null) return { ...component, state: 'healthy', detail: 'Neither tested nor used yet.', since: updatedAt };
  if (last.failure === null) return { ...component, state: 'healthy', detail: `Its last ${what} succeeded.`, since: last.at };
  return { ...component, state: 'unhealthy', detail: `Its last ${what} failed: ${last.failure}`, since: last.at };
}

/**
 * A neuron whose breaker is open answers by its rules: it works, but not as meant.
 * @returns the report of the component `neuron/<name>`.
 */
export function neuronReport(neuron: NeuronHealth): ComponentReport {
  const { name, connection, failures, openedAt, failedAt, lastFailure, updatedAt } = neuron;
  const component = { name: `neuron/${name}`, kind: 'neuron', dependsOn: connection === null ? [] : [`connection/${connection}`] };
  if (failures === 0) return { ...component, state: 'healthy', detail: 'Its last call succeeded, or there was none.', since: updatedAt };
  const calls = failures === 1 ? 'Its last call failed' : `Its last ${failures} calls failed`;
  const consequence = openedAt === null ? '' : ' Its circuit breaker is open: it is not called.';
  return { ...component, state: 'degraded', detail: `${calls}: ${lastFailure ?? 'for no known reason'}.${consequence}`.replace('..', '.'), since: openedAt ?? failedAt ?? updatedAt };
}
