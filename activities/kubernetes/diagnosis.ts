import type { KubernetesApi } from '../../platform/connections/kubernetes.ts';
import type { Problem } from './activity-contract.ts';
import type { Pod, Workload } from './objects.ts';

/** Reasons a container waits for that will not pass. */
const STUCK = new Set(['ErrImagePull', 'ImagePullBackOff', 'InvalidImageName', 'ErrImageNeverPull', 'CrashLoopBackOff', 'CreateContainerConfigError', 'CreateContainerError', 'RunContainerError']);

/** Whether every pod is of the current template, and ready. */
export function isReady(workload: Workload): boolean {
  const { status, metadata, spec } = workload;
  const replicas = spec?.replicas ?? 1;
  if (status === undefined || (status.observedGeneration ?? 0) < (metadata?.generation ?? 0)) return false;
  const all = (status.replicas ?? 0) === replicas && (status.updatedReplicas ?? 0) === replicas;
  if (status.updateRevision !== undefined) return all && (status.readyReplicas ?? 0) === replicas && status.currentRevision === status.updateRevision;
  return all && (status.availableReplicas ?? 0) === replicas;
}

/** Why the pods of a workload do not get ready, as precisely as the cluster knows. */
export async function diagnose(api: KubernetesApi, namespace: string, workload: Workload, seconds: number): Promise<Problem> {
  const name = workload.metadata?.name ?? '';
  const conditions = workload.status?.conditions ?? [];
  const failure = conditions.find(({ type, status }) => type === 'ReplicaFailure' && status === 'True')?.message;
  if (failure !== undefined) return { code: /exceeded quota/.test(failure) ? 'quota-exceeded' : 'invalid', message: `${name}: ${failure}` };
  for (const pod of await podsOf(api, namespace, workload)) {
    for (const { name: container, state, image } of [...(pod.status?.initContainerStatuses ?? []), ...(pod.status?.containerStatuses ?? [])]) {
      const reason = state?.waiting?.reason;
      if (reason !== undefined && STUCK.has(reason)) return { code: 'image-never-starts', message: `${name}: container ${container} (${image}) of pod ${pod.metadata?.name ?? ''}: ${reason}` };
    }
    const unscheduled = pod.status?.conditions?.find(({ type, status, reason }) => type === 'PodScheduled' && status === 'False' && reason === 'Unschedulable');
    if (unscheduled !== undefined) return { code: 'unschedulable', message: `${name}: pod ${pod.metadata?.name ?? ''}: ${unscheduled.message ?? 'no node takes it'}` };
  }
  const { replicas = 0 } = workload.spec ?? {};
  return { code: 'deadline', message: `${name}: ${workload.status?.readyReplicas ?? 0} of ${replicas} pods are ready after ${seconds} s` };
}

/** At most 500. */
export async function podsOf(api: KubernetesApi, namespace: string, workload: Workload): Promise<Pod[]> {
  const selector = Object.entries(workload.spec?.selector.matchLabels ?? {}).map(([key, value]) => `${key}=${value}`).join(',');
  return (await api.get<{ items: Pod[] }>(`/api/v1/namespaces/${namespace}/pods?labelSelector=${encodeURIComponent(selector)}&limit=500`)).items;
}
