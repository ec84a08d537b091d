import type { Layer } from '../../schemas/names/layers.ts';
import type { KubernetesObject } from './objects.ts';

/** A HAL9Cluster as the API server gives it: checked and completed by the schema of `hal9clusters.yaml`. */
export interface Cluster extends KubernetesObject {
  readonly kind: 'HAL9Cluster';
  readonly spec: ClusterSpec;
  readonly status?: ClusterStatus & Readonly<Record<string, unknown>>;
}

export type ClusterSpec = {
  readonly image: string;
  readonly imagePullSecrets?: readonly string[];
  readonly serviceAccountName: string;
  readonly settings: { readonly configMap?: string; readonly secret?: string; readonly databaseSecret?: { readonly name: string; readonly key: string }; readonly dataClaim?: string };
  readonly neurons: Readonly<Record<Layer, LayerSpec>>;
  /** `costLimit`: US dollars of one organisation in a month. */
  readonly claude: { readonly mode: 'live' | 'fallback'; readonly costLimit: number; readonly replicas: number };
  readonly monitoring: { readonly enabled: boolean; readonly prometheusOperator: boolean };
  readonly network: { readonly egressPorts: readonly number[] };
  readonly regions?: readonly Region[];
};

export interface Region {
  readonly name: string;
  readonly pods: number;
}

export interface LayerSpec {
  readonly replicas: number;
  readonly resources: { readonly requests?: Readonly<Record<string, string>>; readonly limits?: Readonly<Record<string, string>> };
  readonly autoscaling: Autoscaling;
  readonly storage?: { readonly size: string; readonly storageClassName?: string };
}

export interface Autoscaling {
  readonly enabled: boolean;
  readonly minReplicas: number;
  readonly maxReplicas: number;
  readonly targetCpuPercent: number;
  readonly backlog?: { readonly metric: string; readonly perPod: number };
}

export interface ClusterStatus {
  readonly observedGeneration?: number;
  /** Ready of wanted, e.g. `28/30`. */
  readonly pods?: string;
  readonly workloads?: readonly WorkloadStatus[];
  readonly conditions?: readonly Condition[];
}

export interface WorkloadStatus {
  readonly name: string;
  readonly queue: string;
  readonly region?: string;
  readonly replicas: number;
  readonly ready: number;
}

/** As `metav1.Condition`. */
export interface Condition {
  readonly type: 'Ready' | 'Progressing' | 'Degraded' | 'Monitored';
  readonly status: 'True' | 'False';
  readonly reason: string;
  readonly message: string;
  readonly observedGeneration: number;
  readonly lastTransitionTime: string;
}
