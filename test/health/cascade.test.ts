import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { cascade, overall } from '../../platform/health/cascade.ts';
import { HEALTH_STATES, type ComponentReport, type HealthState } from '../../platform/health/component.ts';

const T = new Date('2030-01-01T00:00:00Z');
const EARLIER = new Date('2029-01-01T00:00:00Z');

function component(name: string, state: HealthState, dependsOn: string[] = [], since = T): ComponentReport {
  return { name, kind: 'test', state, detail: `${name} says so.`, since, dependsOn };
}

function states(reports: readonly ComponentReport[]): Record<string, HealthState> {
  return Object.fromEntries(cascade(reports).map(({ name, state }) => [name, state]));
}

describe('cascade', () => {
  it('degrades what rests on a sick component, at any distance, and names it', () => {
    const [, , host] = cascade([component('postgres', 'unhealthy', [], EARLIER), component('api', 'healthy', ['postgres']), component('host', 'healthy', ['api'])]);
    expect(host).toMatchObject({ state: 'degraded', causes: ['postgres'], since: EARLIER, detail: 'Depends on postgres, which is unhealthy: postgres says so.' });
  });

  it('leaves alone what does not rest on it', () => {
    expect(states([component('postgres', 'unhealthy'), component('temporal', 'healthy'), component('ui', 'healthy', ['temporal'])])).toEqual({ postgres: 'unhealthy', temporal: 'healthy', ui: 'healthy' });
  });

  it("keeps a component's own trouble and its words", () => {
    const [, api] = cascade([component('postgres', 'degraded'), component('api', 'unhealthy', ['postgres'])]);
    expect(api).toMatchObject({ state: 'unhealthy', detail: 'api says so.', causes: ['postgres'] });
  });

  it('survives circles and unknown names', () => {
    expect(states([component('a', 'healthy', ['b', 'nobody']), component('b', 'unhealthy', ['a'])])).toEqual({ a: 'degraded', b: 'unhealthy' });
  });

  it('never makes a component better, and degrades exactly those with a sick ancestor', () => {
    const names = ['a', 'b', 'c', 'd', 'e', 'f'];
    const report = (name: string): fc.Arbitrary<ComponentReport> =>
      fc.record({ state: fc.constantFrom(...HEALTH_STATES), dependsOn: fc.subarray(names) }).map(({ state, dependsOn }) => component(name, state, dependsOn));
    fc.assert(
      fc.property(fc.tuple(...names.map(report)), (reports) => {
        const byName = new Map(reports.map((one) => [one.name, one]));
        // Reachability by repeated expansion: another way than the one under test.
        const reach = new Map(reports.map(({ name, dependsOn }) => [name, new Set(dependsOn)]));
        for (let round = 0; round < names.length; round += 1) for (const [name, set] of reach) reach.set(name, new Set([...set, ...[...set].flatMap((next) => [...(reach.get(next) ?? [])])]));
        for (const seen of cascade(reports)) {
          const own = byName.get(seen.name)!;
          const sick = [...(reach.get(seen.name) ?? [])].some((name) => name !== seen.name && byName.get(name)!.state !== 'healthy');
          expect(seen.state).toBe(own.state !== 'healthy' ? own.state : sick ? 'degraded' : 'healthy');
        }
      }),
    );
  });
});

describe('overall', () => {
  it('is the worst state', () => {
    expect(overall([])).toBe('healthy');
    expect(overall([component('a', 'healthy'), component('b', 'degraded')])).toBe('degraded');
    expect(overall([component('a', 'unhealthy'), component('b', 'degraded')])).toBe('unhealthy');
  });
});
