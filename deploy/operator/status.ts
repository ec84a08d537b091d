import type { Cluster, ClusterStatus, Condition, WorkloadStatus } from './cluster.ts';
import { LABELS } from './desired.ts';
import type { KubernetesObject } from './objects.ts';

interface Observed {
  readonly replicas: number;
  readonly ready: number;
  readonly updated: boolean;
  /** Why it cannot go on; undefined while it can. */
  readonly trouble?: string;
}

export interface Situation {
  /** Deployments and StatefulSets as they are. */
  readonly workloads: readonly KubernetesObject[];
  /** Why the cluster is not acted on; undefined when it is. */
  readonly refusal?: { readonly reason: 'Refused' | 'NotApplied' | 'Deleting'; readonly message: string };
  /** What pods wait for, e.g. a ConfigMap. */
  readonly missing: readonly string[];
  readonly serviceMonitors: boolean;
}

/** The status of a cluster, from what is there. Times of conditions stay while the condition does. */
export function statusOf(cluster: Cluster, situation: Situation, now: string): ClusterStatus {
  const generation = cluster.metadata.generation ?? 0;
  const observed = situation.workloads.map((workload) => ({ workload, ...observe(workload) }));
  const workloads = observed.map(({ workload: { metadata }, replicas, ready }): WorkloadStatus => {
    const region = metadata.labels?.[LABELS.region];
    return { name: metadata.name, queue: metadata.labels?.[LABELS.queue] ?? '', ...(region === undefined ? {} : { region }), replicas, ready };
  });
  const [ready, wanted] = [sum(workloads.map((workload) => workload.ready)), sum(workloads.map(({ replicas }) => replicas))];
  const waiting = observed.filter((workload) => workload.ready < workload.replicas || !workload.updated).map(({ workload }) => workload.metadata.name);
  const troubles = observed.flatMap(({ workload, trouble }) => (trouble === undefined ? [] : [`${workload.metadata.name}: ${trouble}`]));
  const { refusal, missing } = situation;

  const verdict = ((): readonly [Condition['status'], string, string] => {
    if (refusal !== undefined) return ['False', refusal.reason, refusal.message];
    if (missing.length > 0) return ['False', 'SettingsMissing', missing.join('; ')];
    if (troubles.length > 0) return ['False', 'WorkloadsFailing', troubles.join('; ')];
    if (waiting.length > 0 || workloads.length === 0) return ['False', 'PodsNotReady', `waiting for ${waiting.join(', ') || 'workloads'}`];
    return ['True', 'AllPodsReady', `${ready} pods are ready`];
  })();
  const { monitoring } = cluster.spec;
  const monitored = ((): readonly [Condition['status'], string, string] => {
    if (!monitoring.enabled) return ['False', 'Disabled', 'monitoring is off'];
    if (!monitoring.prometheusOperator) return ['True', 'Annotated', 'pods are annotated for scraping'];
    if (situation.serviceMonitors) return ['True', 'ServiceMonitor', 'a ServiceMonitor is made'];
    return ['False', 'PrometheusOperatorMissing', 'the API server does not know ServiceMonitor: install the Prometheus operator, or set monitoring.prometheusOperator to false'];
  })();
  const busy = refusal === undefined && waiting.length > 0;
  const degraded = troubles.length > 0 || refusal?.reason === 'NotApplied';
  const condition = (type: Condition['type'], [status, reason, message]: readonly [Condition['status'], string, string]): Condition => {
    const before = cluster.status?.conditions?.find((candidate) => candidate.type === type);
    return { type, status, reason, message, observedGeneration: generation, lastTransitionTime: before?.status === status ? before.lastTransitionTime : now };
  };
  return {
    observedGeneration: generation,
    pods: `${ready}/${wanted}`,
    workloads,
    conditions: [
      condition('Ready', verdict),
      condition('Progressing', busy ? ['True', 'PodsNotReady', `waiting for ${waiting.join(', ')}`] : ['False', 'Settled', 'nothing is under way']),
      condition('Degraded', degraded ? ['True', refusal?.reason ?? 'WorkloadsFailing', refusal?.message ?? troubles.join('; ')] : ['False', 'NoFailures', 'no workload fails']),
      condition('Monitored', monitored),
    ],
  };
}

function observe({ kind, metadata, spec, status = {} }: KubernetesObject): Observed {
  const count = (value: unknown): number => (typeof value === 'number' ? value : 0);
  const replicas = typeof spec?.['replicas'] === 'number' ? spec['replicas'] : 1;
  const seen = count(status['observedGeneration']) >= (metadata.generation ?? 0);
  const conditions = (Array.isArray(status['conditions']) ? status['conditions'] : []) as { type?: string; status?: string; reason?: string; message?: string }[];
  const failing = conditions.find(({ type, status: state }) => (type === 'ReplicaFailure' && state === 'True') || (type === 'Progressing' && state === 'False'));
  return {
    replicas,
    ready: count(kind === 'Deployment' ? status['availableReplicas'] : status['readyReplicas']),
    updated: seen && count(status['updatedReplicas']) >= replicas,
    ...(seen && failing !== undefined ? { trouble: `${failing.reason ?? 'failing'}: ${failing.message ?? ''}` } : {}),
  };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
