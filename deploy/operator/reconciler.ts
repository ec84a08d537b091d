import { isDeepStrictEqual } from 'node:util';
import { judge } from './admission.ts';
import type { Cluster, ClusterStatus } from './cluster.ts';
import { desiredObjects, LABELS, WISH } from './desired.ts';
import type { EventRecorder } from './event-recorder.ts';
import { KubernetesError, type Kubernetes } from './kubernetes.ts';
import { lookAround } from './neighbourhood.ts';
import { CLUSTERS, keyOf, MADE_KINDS, pathOf, PODS, type KubernetesObject, type MadeKind } from './objects.ts';
import { statusOf, type Situation } from './status.ts';
import type { Watched } from './watched.ts';

/** Keeps a cluster with its object until what it made is gone. */
export const FINALIZER = 'hal9.ai/drain';
const WORKLOADS = ['Deployment', 'StatefulSet'] as const;
/** While pods of a deleted cluster drain, milliseconds between two looks. */
const DRAIN_LOOK_MS = 500;

export interface ReconcilerOptions {
  readonly api: Kubernetes;
  readonly clusters: Watched;
  readonly made: Readonly<Record<MadeKind, Watched>>;
  readonly events: EventRecorder;
  /** Told of every object that somebody else had changed and that was put right. */
  readonly onDrift: (object: KubernetesObject) => void;
}

/** Makes what is there what a HAL9Cluster says. Level-triggered: it looks at all of it each time, so a change that was missed costs nothing. */
export class Reconciler {
  readonly #options: ReconcilerOptions;

  constructor(options: ReconcilerOptions) {
    this.#options = options;
  }

  /**
   * Works on one cluster.
   * @param key `namespace/name`.
   * @returns milliseconds after which to look again; undefined when the next change or complete reading is early enough.
   * @throws {KubernetesError} what another try may mend.
   */
  async reconcile(key: string): Promise<number | undefined> {
    const { api, clusters } = this.#options;
    const [namespace = '', name = ''] = key.split('/');
    const cluster = clusters.get(namespace, name) as Cluster | undefined;
    if (cluster === undefined) return undefined;
    if (cluster.metadata.deletionTimestamp !== undefined) return this.#drain(cluster);
    const held = await this.#hold(cluster);
    const around = await lookAround(api, held, clusters.all() as Cluster[]);
    const judgement = judge(held, around);
    const serviceMonitors = this.#options.made.ServiceMonitor.known;
    if (judgement.refusal !== undefined) {
      // It came past the webhook: nothing it made before is taken away, and nothing is made.
      await this.#report(held, { refusal: { reason: 'Refused', message: judgement.refusal }, missing: [], serviceMonitors });
      return undefined;
    }
    const desired = desiredObjects(held, { settingsVersion: around.settingsVersion, serviceMonitors });
    const missing = judgement.warnings.filter((warning) => warning.includes('pods wait for it'));
    try {
      for (const object of desired) await this.#make(held, object);
      await this.#prune(held, desired);
    } catch (error) {
      if (error instanceof KubernetesError) await this.#report(held, { refusal: { reason: 'NotApplied', message: error.message }, missing, serviceMonitors });
      throw error;
    }
    await this.#report(held, { missing, serviceMonitors });
    return undefined;
  }

  /** The cluster with its finalizer, put on before anything is made. */
  async #hold(cluster: Cluster): Promise<Cluster> {
    const { finalizers = [], resourceVersion, name, namespace = '' } = cluster.metadata;
    if (finalizers.includes(FINALIZER)) return cluster;
    const held = await this.#options.api.merge<Cluster>(pathOf(CLUSTERS, namespace, name), { metadata: { resourceVersion, finalizers: [...finalizers, FINALIZER] } });
    this.#options.clusters.learn(held);
    return held;
  }

  async #make(cluster: Cluster, desired: KubernetesObject): Promise<void> {
    const { api, events, onDrift } = this.#options;
    const { name, namespace = '' } = desired.metadata;
    const watched = this.#options.made[desired.kind as MadeKind];
    const live = watched.get(namespace, name);
    const wanted = withLiveReplicas(desired, live, isScaled(cluster, desired));
    const sameWish = live?.metadata.annotations?.[WISH] === desired.metadata.annotations?.[WISH];
    if (live !== undefined && sameWish && covers(live, wanted)) return;
    const applied = await api.apply(pathOf(MADE_KINDS[desired.kind as MadeKind], namespace, name), wanted);
    watched.learn(applied);
    if (live === undefined) {
      await events.record(cluster, 'Normal', 'Created', `made ${desired.kind} ${name}`);
    } else if (applied.metadata.resourceVersion !== live.metadata.resourceVersion) {
      if (sameWish) onDrift(applied);
      await events.record(cluster, sameWish ? 'Warning' : 'Normal', sameWish ? 'DriftCorrected' : 'Changed', sameWish ? `${desired.kind} ${name} had been changed by somebody else and is as it was wished again` : `changed ${desired.kind} ${name}`);
    }
  }

  /** Takes away what the cluster made before and does not want any more. */
  async #prune(cluster: Cluster, desired: readonly KubernetesObject[]): Promise<void> {
    const wanted = new Set(desired.map((object) => `${object.kind} ${keyOf(object)}`));
    for (const [kind, object] of this.#madeFor(cluster)) {
      if (wanted.has(`${kind} ${keyOf(object)}`) || object.metadata.deletionTimestamp !== undefined) continue;
      await this.#remove(kind, object);
      await this.#options.events.record(cluster, 'Normal', 'Removed', `removed ${kind} ${object.metadata.name}, which is not wished any more`);
    }
  }

  /** Deletes in the order signals flow, so that a layer ends its work before those above it go; then lets the cluster go. */
  async #drain(cluster: Cluster): Promise<number | undefined> {
    const { api, events } = this.#options;
    const { name, namespace = '', finalizers = [], resourceVersion } = cluster.metadata;
    if (!finalizers.includes(FINALIZER)) return undefined;
    await events.record(cluster, 'Normal', 'Deleting', 'draining the workers, the lowest layer first');
    const made = this.#madeFor(cluster);
    for (const [kind, object] of made) if (kind === 'HorizontalPodAutoscaler' || kind === 'PodDisruptionBudget') await this.#remove(kind, object);
    const workloads = made.filter(([kind]) => WORKLOADS.some((workload) => workload === kind)).sort(([, one], [, other]) => queueOf(one).localeCompare(queueOf(other)));
    const [first] = workloads;
    const next = first === undefined ? [] : workloads.filter(([, object]) => queueOf(object) === queueOf(first[1]));
    for (const [kind, object] of next) if (object.metadata.deletionTimestamp === undefined) await this.#remove(kind, object, 'Foreground');
    const pods = await api.get<{ items: unknown[] }>(pathOf(PODS, namespace), { labelSelector: `${LABELS.cluster}=${name}`, limit: '1' });
    if (workloads.length > 0 || pods.items.length > 0) {
      await this.#report(cluster, { refusal: { reason: 'Deleting', message: `${workloads.length} workloads are left` }, missing: [], serviceMonitors: this.#options.made.ServiceMonitor.known });
      return DRAIN_LOOK_MS;
    }
    for (const [kind, object] of made) await this.#remove(kind, object);
    await events.record(cluster, 'Normal', 'Deleted', 'everything that was made is gone');
    const current = await api.find(pathOf(CLUSTERS, namespace, name));
    if (current === undefined) return undefined;
    await api.merge(pathOf(CLUSTERS, namespace, name), { metadata: { resourceVersion: current.metadata.resourceVersion ?? resourceVersion, finalizers: (current.metadata.finalizers ?? []).filter((one) => one !== FINALIZER) } });
    return undefined;
  }

  #remove(kind: MadeKind, { metadata: { namespace = '', name } }: KubernetesObject, propagation: 'Foreground' | 'Background' = 'Background'): Promise<void> {
    return this.#options.api.remove(pathOf(MADE_KINDS[kind], namespace, name), propagation);
  }

  #madeFor({ metadata }: Cluster): (readonly [MadeKind, KubernetesObject])[] {
    const kinds = Object.keys(MADE_KINDS) as MadeKind[];
    return kinds.flatMap((kind) =>
      this.#options.made[kind].all().flatMap((object) => (object.metadata.namespace === metadata.namespace && object.metadata.labels?.[LABELS.cluster] === metadata.name ? [[kind, object] as const] : [])),
    );
  }

  async #report(cluster: Cluster, situation: Omit<Situation, 'workloads'>): Promise<void> {
    const { api, clusters, events } = this.#options;
    const { name, namespace = '' } = cluster.metadata;
    const workloads = this.#madeFor(cluster).flatMap(([kind, object]) => (WORKLOADS.some((workload) => workload === kind) ? [{ ...object, kind }] : []));
    const status = statusOf(cluster, { ...situation, workloads }, new Date().toISOString().replace(/\.\d+Z$/, 'Z'));
    if (isDeepStrictEqual(status, shownBy(cluster))) return;
    const written = await api.merge<Cluster>(`${pathOf(CLUSTERS, namespace, name)}/status`, { status });
    clusters.learn(written);
    const [before, after] = [cluster.status?.conditions, status.conditions].map((conditions) => conditions?.find(({ type }) => type === 'Ready'));
    if (after === undefined || (before?.status === after.status && before.reason === after.reason)) return;
    if (after.status === 'True') await events.record(cluster, 'Normal', 'Ready', after.message);
    else if (after.reason === 'Refused' || after.reason === 'NotApplied') await events.record(cluster, 'Warning', after.reason, after.message);
    else if (before?.status === 'True') await events.record(cluster, 'Warning', 'NotReady', after.message);
  }
}

/** What an autoscaler decided is not taken back: the number that is there is wished, within the bounds. */
function withLiveReplicas(desired: KubernetesObject, live: KubernetesObject | undefined, bounds: { readonly minReplicas: number; readonly maxReplicas: number } | undefined): KubernetesObject {
  const replicas = live?.spec?.['replicas'];
  if (bounds === undefined || typeof replicas !== 'number') return desired;
  return { ...desired, spec: { ...desired.spec, replicas: Math.min(Math.max(replicas, bounds.minReplicas), bounds.maxReplicas) } };
}

function isScaled({ spec }: Cluster, { metadata }: KubernetesObject): { readonly minReplicas: number; readonly maxReplicas: number } | undefined {
  const layer = (['L2', 'L3', 'L4'] as const).find((candidate) => metadata.labels?.[LABELS.queue] === `neurons-${candidate.toLowerCase()}`);
  if (layer === undefined) return undefined;
  const { autoscaling } = spec.neurons[layer];
  // In a region fewer may be right; the bounds there are the autoscaler's.
  return autoscaling.enabled ? { minReplicas: metadata.labels?.[LABELS.region] === undefined ? autoscaling.minReplicas : 1, maxReplicas: autoscaling.maxReplicas } : undefined;
}

/** Whether everything that is wished is so: fields beyond it are others' or defaults. */
function covers(live: unknown, wanted: unknown): boolean {
  if (Array.isArray(wanted)) return Array.isArray(live) && live.length === wanted.length && wanted.every((item, index) => covers(live[index], item));
  if (typeof wanted !== 'object' || wanted === null) return live === wanted;
  if (typeof live !== 'object' || live === null) return Object.keys(wanted).length === 0;
  return Object.entries(wanted).every(([field, value]) => value === undefined || covers((live as Record<string, unknown>)[field], value));
}

function queueOf({ metadata }: KubernetesObject): string {
  // Calls of models wait for nobody: last.
  const queue = metadata.labels?.[LABELS.queue] ?? '';
  return queue === 'neurons-external' ? 'neurons-z' : queue;
}

function shownBy({ status }: Cluster): ClusterStatus | undefined {
  if (status === undefined) return undefined;
  const { observedGeneration, pods, workloads, conditions } = status;
  return { ...(observedGeneration === undefined ? {} : { observedGeneration }), ...(pods === undefined ? {} : { pods }), ...(workloads === undefined ? {} : { workloads }), ...(conditions === undefined ? {} : { conditions }) };
}
