import type { z } from 'zod';
import type { RolloutMetric, rolloutInputSchema } from '../../schemas/operations/rollout.ts';

/** What an import cannot know. */
export interface ImportNames {
  /** Connection of kind `kubernetes` to roll out in. */
  readonly cluster: string;
  /** Connection of kind `http` of the Prometheus that the metrics come from. */
  readonly prometheus: string;
  /** New image by container, instead of the one in the documents or where they say none. */
  readonly images: Readonly<Record<string, string>>;
}

/** An object of Kubernetes. */
export interface SpecDocument {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  readonly namespace: string;
  readonly content: Readonly<Record<string, unknown>>;
}

export interface SpecDocuments {
  /** The object of one of these kinds, among the documents given. */
  find(kinds: readonly string[], namespace: string, name: string): SpecDocument | undefined;
}

/** Input of a rollout, without what is as by default. */
export type RolloutDraft = z.input<typeof rolloutInputSchema>;

export type StrategyDraft = NonNullable<RolloutDraft['strategy']>;
export type CanaryStepDraft = Extract<StrategyDraft, { kind: 'canary' }>['steps'][number];
export type TrafficDraft = NonNullable<Extract<StrategyDraft, { kind: 'canary' }>['traffic']>;
export type MetricDraft = NonNullable<RolloutDraft['analysis']>['metrics'][number];
export type Occasion = RolloutMetric['when'];

/** A metric, and how often it is to be looked at. */
export interface ImportedMetric {
  readonly metric: MetricDraft;
  readonly intervalSeconds: number | undefined;
  /** Looks that were asked for; undefined: as long as it goes on. */
  readonly looks: number | undefined;
}

interface Parts {
  readonly name: string;
  readonly namespace: string;
  readonly workload: string;
  readonly images: Readonly<Record<string, string>>;
  readonly service: string | undefined;
  readonly strategy: StrategyDraft;
  readonly metrics: readonly ImportedMetric[];
  readonly progressDeadlineSeconds: number | undefined;
}

const LONGEST_INTERVAL_SECONDS = 3600;
const DEFAULT_INTERVAL_SECONDS = 60;

export function draftOf({ name, namespace, workload, images, service, strategy, metrics, progressDeadlineSeconds }: Parts, names: ImportNames): RolloutDraft {
  const known = Object.fromEntries(Object.entries(images).map(([container, image]) => [container, names.images[container] ?? image]));
  return {
    services: [{ name, namespace, ...(workload === name ? {} : { workload }), images: Object.keys(known).length === 0 ? { ...names.images } : known, ...(service === undefined ? {} : { service }) }],
    waves: [{ name: 'all', clusters: [names.cluster] }],
    strategy,
    ...(metrics.length === 0 ? {} : { analysis: { intervalSeconds: intervalOf(metrics), metrics: metrics.map(({ metric }) => metric) } }),
    ...(progressDeadlineSeconds === undefined ? {} : { progressDeadlineSeconds }),
  };
}

/** One interval for all of them: the shortest, so that nothing is seen later than it was. */
export function intervalOf(metrics: readonly ImportedMetric[]): number {
  const asked = metrics.flatMap(({ intervalSeconds }) => (intervalSeconds === undefined ? [] : [intervalSeconds]));
  return Math.min(LONGEST_INTERVAL_SECONDS, Math.max(1, asked.length === 0 ? DEFAULT_INTERVAL_SECONDS : Math.min(...asked)));
}

/** New images of a pod template, by container. */
export function templateImages(template: unknown): Record<string, string> {
  const spec = fieldOf(template, 'spec');
  const containers = fieldOf(spec, 'containers');
  const images: Record<string, string> = {};
  for (const container of Array.isArray(containers) ? (containers as unknown[]) : []) {
    const [name, image] = [fieldOf(container, 'name'), fieldOf(container, 'image')];
    if (typeof name === 'string' && typeof image === 'string') images[name] = image;
  }
  return images;
}

export function fieldOf(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, name) ? (value as Record<string, unknown>)[name] : undefined;
}
