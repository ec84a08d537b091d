import { worse, type ComponentHealth, type ComponentReport, type HealthState } from './component.ts';

/**
 * Lets states cascade: a component that is well but depends, at any distance, on a sick one is degraded, and says on
 * which. A component's own trouble is never hidden by that of its dependencies. Circles and unknown names do no harm.
 */
export function cascade(reports: readonly ComponentReport[]): ComponentHealth[] {
  const byName = new Map(reports.map((report) => [report.name, report]));
  return reports.map((report) => {
    const sick = sickDependencies(report, byName);
    if (sick.length === 0 || report.state !== 'healthy') return { ...report, causes: report.state === 'healthy' ? [] : sick.map(({ name }) => name) };
    const root = sick.at(-1) ?? report;
    return {
      ...report,
      state: 'degraded',
      detail: `Depends on ${root.name}, which is ${root.state}: ${root.detail}`,
      since: sick.reduce((earliest, { since }) => (since < earliest ? since : earliest), root.since),
      causes: sick.map(({ name }) => name),
    };
  });
}

/** The worst state of all; healthy when there are none. */
export function overall(components: readonly Pick<ComponentReport, 'state'>[]): HealthState {
  return components.reduce<HealthState>((state, component) => worse(state, component.state), 'healthy');
}

/** Components with trouble of their own that this one rests on, nearest first. */
function sickDependencies(report: ComponentReport, byName: ReadonlyMap<string, ComponentReport>): ComponentReport[] {
  const seen = new Set([report.name]);
  const sick: ComponentReport[] = [];
  let frontier = report.dependsOn;
  while (frontier.length > 0) {
    const next: string[] = [];
    for (const name of frontier) {
      const dependency = byName.get(name);
      if (dependency === undefined || seen.has(name)) continue;
      seen.add(name);
      if (dependency.state !== 'healthy') sick.push(dependency);
      next.push(...dependency.dependsOn);
    }
    frontier = next;
  }
  return sick;
}
