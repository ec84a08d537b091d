/** Fields of Kubernetes objects that rollouts read. The objects hold more, which is kept as it came. */
export interface ObjectMeta {
  readonly name?: string;
  readonly uid?: string;
  readonly generation?: number;
  readonly resourceVersion?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
}

export interface Container {
  readonly name: string;
  readonly image?: string;
}

export interface PodTemplate {
  readonly metadata?: ObjectMeta;
  readonly spec?: { readonly containers: readonly Container[]; readonly initContainers?: readonly Container[] };
}

interface Condition {
  readonly type: string;
  readonly status: string;
  readonly reason?: string;
  readonly message?: string;
}

/** A Deployment or a StatefulSet, apps/v1. */
export interface Workload {
  readonly metadata?: ObjectMeta;
  readonly spec?: { readonly replicas?: number; readonly selector: { readonly matchLabels?: Readonly<Record<string, string>> }; readonly template: PodTemplate };
  readonly status?: {
    readonly observedGeneration?: number;
    readonly replicas?: number;
    readonly updatedReplicas?: number;
    readonly readyReplicas?: number;
    readonly availableReplicas?: number;
    /** Of StatefulSets. */
    readonly currentRevision?: string;
    readonly updateRevision?: string;
    readonly conditions?: readonly Condition[];
  };
}

export interface Service {
  readonly metadata?: ObjectMeta;
  readonly spec?: { readonly selector?: Readonly<Record<string, string>>; readonly sessionAffinity?: string; readonly ports?: readonly { readonly nodePort?: number }[] };
}

interface ContainerStatus {
  readonly name: string;
  readonly image: string;
  readonly state?: { readonly waiting?: { readonly reason?: string } };
}

export interface Pod {
  readonly metadata?: ObjectMeta & { readonly ownerReferences?: readonly { readonly uid: string }[] };
  readonly spec?: PodTemplate['spec'];
  readonly status?: { readonly conditions?: readonly Condition[]; readonly containerStatuses?: readonly ContainerStatus[]; readonly initContainerStatuses?: readonly ContainerStatus[] };
}

export interface Job {
  readonly status?: { readonly succeeded?: number; readonly failed?: number; readonly conditions?: readonly Condition[] };
}
