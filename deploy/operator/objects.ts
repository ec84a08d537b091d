/** An object of Kubernetes as its API gives it: plain JSON, with every field. */
export interface KubernetesObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: ObjectMetadata;
  readonly spec?: Readonly<Record<string, unknown>>;
  readonly status?: Readonly<Record<string, unknown>>;
  readonly [field: string]: unknown;
}

export interface ObjectMetadata {
  readonly name: string;
  readonly namespace?: string;
  readonly uid?: string;
  readonly resourceVersion?: string;
  readonly generation?: number;
  readonly creationTimestamp?: string;
  readonly deletionTimestamp?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly finalizers?: readonly string[];
  readonly ownerReferences?: readonly object[];
}

/** Where objects of a kind live. */
export interface Kind {
  readonly apiVersion: string;
  readonly plural: string;
}

/** Kinds that the operator makes, in the order they are applied in. */
export const MADE_KINDS = {
  ConfigMap: { apiVersion: 'v1', plural: 'configmaps' },
  Service: { apiVersion: 'v1', plural: 'services' },
  NetworkPolicy: { apiVersion: 'networking.k8s.io/v1', plural: 'networkpolicies' },
  Deployment: { apiVersion: 'apps/v1', plural: 'deployments' },
  StatefulSet: { apiVersion: 'apps/v1', plural: 'statefulsets' },
  HorizontalPodAutoscaler: { apiVersion: 'autoscaling/v2', plural: 'horizontalpodautoscalers' },
  PodDisruptionBudget: { apiVersion: 'policy/v1', plural: 'poddisruptionbudgets' },
  ServiceMonitor: { apiVersion: 'monitoring.coreos.com/v1', plural: 'servicemonitors' },
} as const satisfies Record<string, Kind>;

export type MadeKind = keyof typeof MADE_KINDS;

export const CLUSTERS: Kind = { apiVersion: 'hal9.ai/v1', plural: 'hal9clusters' };
export const PODS: Kind = { apiVersion: 'v1', plural: 'pods' };

/** Path of a kind's collection, or of one object. An empty namespace is all of them, or none for kinds that have none. */
export function pathOf(kind: Kind, namespace: string, name = ''): string {
  const group = kind.apiVersion.includes('/') ? `/apis/${kind.apiVersion}` : `/api/${kind.apiVersion}`;
  return `${group}${namespace === '' ? '' : `/namespaces/${namespace}`}/${kind.plural}${name === '' ? '' : `/${name}`}`;
}

/** `namespace/name`. */
export function keyOf({ metadata }: Pick<KubernetesObject, 'metadata'>): string {
  return `${metadata.namespace ?? ''}/${metadata.name}`;
}
