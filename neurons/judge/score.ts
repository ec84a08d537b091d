import type { Classification } from './classify.ts';

/** A metric that was judged, and the groups it counts in. */
export interface ScoredMetric {
  readonly classification: Classification;
  readonly groups: readonly string[];
  /** Nothing is well while this one is High, Low or without data. */
  readonly critical: boolean;
}

/** Score of a comparison, 0 to 100, and of its groups; a group without data has none. */
export interface Score {
  readonly score: number;
  readonly groups: Readonly<Record<string, number>>;
  /** True where a critical metric made it 0. */
  readonly critical: boolean;
}

/**
 * A group's score is the share of its metrics with data that pass, in per cent; the whole is their weighted mean (Kayenta's weighted sum).
 * @param weights per group, relative to each other; groups that are not named share what is missing to 100, and without any all weigh the same.
 */
export function scoreMetrics(metrics: readonly ScoredMetric[], weights: Readonly<Record<string, number>> = {}): Score {
  const groups = groupScores(metrics);
  if (metrics.some((metric) => metric.critical && metric.classification !== 'Pass')) return { score: 0, groups, critical: true };
  const names = Object.keys(groups);
  const given = names.filter((name) => weights[name] !== undefined);
  const left = Math.max(0, 100 - Object.values(weights).reduce((sum, weight) => sum + weight, 0));
  const weightOf = (name: string): number => weights[name] ?? (given.length === 0 ? 1 : left / (names.length - given.length));
  const total = names.reduce((sum, name) => sum + weightOf(name), 0);
  const score = total === 0 ? 0 : names.reduce((sum, name) => sum + weightOf(name) * (groups[name] ?? 0), 0) / total;
  return { score, groups, critical: false };
}

function groupScores(metrics: readonly ScoredMetric[]): Record<string, number> {
  const counts = new Map<string, { passed: number; known: number }>();
  for (const { classification, groups } of metrics) {
    if (classification === 'Nodata') continue;
    for (const group of groups) {
      const count = counts.get(group) ?? { passed: 0, known: 0 };
      counts.set(group, { passed: count.passed + (classification === 'Pass' ? 1 : 0), known: count.known + 1 });
    }
  }
  return Object.fromEntries([...counts].map(([group, { passed, known }]) => [group, (100 * passed) / known]));
}
