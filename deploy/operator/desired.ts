import { createHash } from 'node:crypto';
import { TASK_QUEUES } from '../../schemas/names/task-queues.ts';
import type { Layer } from '../../schemas/names/layers.ts';
import type { Autoscaling, Cluster, LayerSpec } from './cluster.ts';
import type { KubernetesObject, MadeKind } from './objects.ts';
import { podsByRegion, sharesOf } from './shares.ts';

export const LABELS = { manager: 'app.kubernetes.io/managed-by', cluster: 'hal9.ai/cluster', queue: 'hal9.ai/queue', region: 'hal9.ai/region' } as const;
export const MANAGER = 'hal9-operator';
/** Digest of what an object was made as: tells somebody else's change from a new wish. */
export const WISH = 'hal9.ai/wish';

/** Settings of pods that the operator decides, whatever the ConfigMap of the cluster says. */
export const OWN_SETTINGS = ['HAL9_QUEUES', 'HAL9_METRICS_HOST', 'HAL9_METRICS_PORT', 'HAL9_DATA', 'HAL9_MODELS', 'HAL9_MODEL_MONTHLY_USD'] as const;

const METRICS_PORT = 9464;
const DATA = '/var/lib/hal9';
const CACHE = '/var/cache/hal9';
/** The user of the image, `deploy/docker/Dockerfile`. */
const USER = 10_001;
const QUEUE_OF = { L2: TASK_QUEUES.neuronsL2, L3: TASK_QUEUES.neuronsL3, L4: TASK_QUEUES.neuronsL4 } as const satisfies Record<Layer, string>;
const CALLS_RESOURCES = { requests: { cpu: '100m', memory: '256Mi' }, limits: { memory: '1Gi' } };

export interface Surroundings {
  /** Changes when the settings of the pods do: versions of the ConfigMap and the Secret. */
  readonly settingsVersion: string;
  /** Whether the API server knows ServiceMonitor. */
  readonly serviceMonitors: boolean;
}

/** A workload of one queue, in one region where the cluster has some. */
interface Workload {
  readonly name: string;
  readonly queue: string;
  readonly region?: string;
  readonly spec: LayerSpec;
}

/** An object to be made, before it has the labels and the owner all have. */
interface Draft {
  readonly apiVersion: string;
  readonly kind: MadeKind;
  readonly metadata: { readonly name: string; readonly labels?: Readonly<Record<string, string>> };
  readonly spec?: Readonly<Record<string, unknown>>;
  readonly data?: Readonly<Record<string, string>>;
}

/** Everything that must be there for a cluster, in the order it is to be made. Equal clusters give equal objects. */
export function desiredObjects(cluster: Cluster, surroundings: Surroundings): KubernetesObject[] {
  const workloads = workloadsOf(cluster);
  const { monitoring } = cluster.spec;
  const drafts: Draft[] = [
    modelSettings(cluster),
    service(cluster),
    networkPolicy(cluster),
    ...workloads.map((workload) => (workload.spec.storage === undefined ? deployment(cluster, workload, surroundings) : statefulSet(cluster, workload, surroundings))),
    ...workloads.filter(({ spec }) => spec.autoscaling.enabled).map(autoscaler),
    ...workloads.map(disruptionBudget),
    ...(monitoring.enabled && monitoring.prometheusOperator && surroundings.serviceMonitors ? [serviceMonitor(cluster)] : []),
  ];
  return drafts.map((draft) => owned(cluster, draft));
}

/** Workloads of a cluster: each layer, by region where there are some, and the one that calls models. */
export function workloadsOf({ metadata, spec }: Cluster): Workload[] {
  const layers = Object.entries(spec.neurons) as [Layer, LayerSpec][];
  const { regions = [] } = spec;
  const calls: Workload = {
    name: `${metadata.name}-external`,
    queue: TASK_QUEUES.neuronsExternal,
    spec: { replicas: spec.claude.replicas, resources: CALLS_RESOURCES, autoscaling: { enabled: false, minReplicas: 1, maxReplicas: 1, targetCpuPercent: 70 } },
  };
  if (regions.length === 0) return [...layers.map(([layer, own]) => ({ name: nameOf(metadata.name, layer), queue: QUEUE_OF[layer], spec: own })), calls];
  const shares = podsByRegion(regions, layers.map(([layer, { replicas }]) => [layer, replicas]));
  const perLayer = layers.flatMap(([layer, own]) => {
    const weights = regions.flatMap(({ name }) => {
      const replicas = shares.get(name)?.get(layer) ?? 0;
      return replicas === 0 ? [] : [[name, replicas] as const];
    });
    const least = sharesOf(weights, own.autoscaling.minReplicas);
    const most = sharesOf(weights, own.autoscaling.maxReplicas);
    return weights.map(([region, replicas]): Workload => {
      const minReplicas = Math.max(1, least.get(region) ?? 0);
      return { name: `${nameOf(metadata.name, layer)}-${region}`, queue: QUEUE_OF[layer], region, spec: { ...own, replicas, autoscaling: { ...own.autoscaling, minReplicas, maxReplicas: Math.max(minReplicas, most.get(region) ?? 0) } } };
    });
  });
  return [...perLayer, calls];
}

/** Pods a workload begins with. */
export function initialReplicas({ autoscaling, replicas }: { autoscaling: Autoscaling; replicas: number }): number {
  return autoscaling.enabled ? Math.min(Math.max(replicas, autoscaling.minReplicas), autoscaling.maxReplicas) : replicas;
}

function owned(cluster: Cluster, draft: Draft): KubernetesObject {
  const { name, namespace, uid } = cluster.metadata;
  const { metadata, ...rest } = draft;
  const object = {
    ...rest,
    metadata: {
      ...metadata,
      ...(namespace === undefined ? {} : { namespace }),
      labels: { 'app.kubernetes.io/part-of': 'hal9', [LABELS.manager]: MANAGER, [LABELS.cluster]: name, ...metadata.labels },
      ownerReferences: [{ apiVersion: cluster.apiVersion, kind: cluster.kind, name, uid, controller: true, blockOwnerDeletion: true }],
    },
  };
  const wish = createHash('sha256').update(JSON.stringify(object)).digest('hex').slice(0, 32);
  return { ...object, metadata: { ...object.metadata, annotations: { [WISH]: wish } } };
}

function modelSettings({ metadata, spec }: Cluster): Draft {
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: `${metadata.name}-models` }, data: { HAL9_MODELS: spec.claude.mode, HAL9_MODEL_MONTHLY_USD: String(spec.claude.costLimit) } };
}

/** Gives pods of StatefulSets their names, and Prometheus its targets. */
function service({ metadata }: Cluster): Draft {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: `${metadata.name}-workers` },
    spec: { clusterIP: 'None', publishNotReadyAddresses: true, selector: { [LABELS.cluster]: metadata.name }, ports: [{ name: 'metrics', port: METRICS_PORT, targetPort: 'metrics', protocol: 'TCP' }] },
  };
}

/** Nobody speaks to workers but who reads their metrics; they speak to PostgreSQL, Temporal and what neurons call. */
function networkPolicy({ metadata, spec }: Cluster): Draft {
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name: `${metadata.name}-workers` },
    spec: {
      podSelector: { matchLabels: { [LABELS.cluster]: metadata.name } },
      policyTypes: ['Ingress', 'Egress'],
      ...(spec.monitoring.enabled ? { ingress: [{ from: [{ namespaceSelector: {} }], ports: [{ port: METRICS_PORT, protocol: 'TCP' }] }] } : {}),
      egress: [{ ports: [{ port: 53, protocol: 'UDP' }, { port: 53, protocol: 'TCP' }, ...spec.network.egressPorts.map((port) => ({ port, protocol: 'TCP' }))] }],
    },
  };
}

function deployment(cluster: Cluster, workload: Workload, surroundings: Surroundings): Draft {
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: workload.name, labels: labelsOf(workload) },
    spec: {
      replicas: initialReplicas(workload.spec),
      selector: { matchLabels: selectorOf(cluster, workload) },
      progressDeadlineSeconds: 300,
      revisionHistoryLimit: 5,
      strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: '25%', maxUnavailable: 0 } },
      template: podTemplate(cluster, workload, surroundings),
    },
  };
}

function statefulSet(cluster: Cluster, workload: Workload, surroundings: Surroundings): Draft {
  const { storage } = workload.spec;
  const claim = { accessModes: ['ReadWriteOnce'], ...(storage?.storageClassName === undefined ? {} : { storageClassName: storage.storageClassName }), resources: { requests: { storage: storage?.size } } };
  return {
    apiVersion: 'apps/v1',
    kind: 'StatefulSet',
    metadata: { name: workload.name, labels: labelsOf(workload) },
    spec: {
      replicas: initialReplicas(workload.spec),
      serviceName: `${cluster.metadata.name}-workers`,
      selector: { matchLabels: selectorOf(cluster, workload) },
      // Workers do not know each other: none waits for the one before it.
      podManagementPolicy: 'Parallel',
      revisionHistoryLimit: 5,
      persistentVolumeClaimRetentionPolicy: { whenDeleted: 'Delete', whenScaled: 'Delete' },
      template: podTemplate(cluster, workload, surroundings),
      volumeClaimTemplates: [{ apiVersion: 'v1', kind: 'PersistentVolumeClaim', metadata: { name: 'cache' }, spec: claim }],
    },
  };
}

function podTemplate(cluster: Cluster, workload: Workload, { settingsVersion }: Surroundings): object {
  const { spec, metadata } = cluster;
  const labels = { ...labelsOf(workload), ...selectorOf(cluster, workload), 'app.kubernetes.io/part-of': 'hal9' };
  const scraped = spec.monitoring.enabled && !spec.monitoring.prometheusOperator ? { 'prometheus.io/scrape': 'true', 'prometheus.io/port': String(METRICS_PORT) } : {};
  const { configMap, secret, databaseSecret, dataClaim } = spec.settings;
  const container = {
    image: spec.image,
    envFrom: [
      ...(configMap === undefined ? [] : [{ configMapRef: { name: configMap } }]),
      ...(secret === undefined ? [] : [{ secretRef: { name: secret } }]),
      { configMapRef: { name: `${metadata.name}-models` } },
    ],
    env: [
      ...(databaseSecret === undefined ? [] : [{ name: 'DATABASE_URL', valueFrom: { secretKeyRef: databaseSecret } }]),
      ...Object.entries({ HAL9_QUEUES: workload.queue, HAL9_METRICS_HOST: '0.0.0.0', HAL9_METRICS_PORT: String(METRICS_PORT), HAL9_DATA: DATA, XDG_CACHE_HOME: CACHE, NODE_COMPILE_CACHE: `${CACHE}/compile` }).map(([name, value]) => ({ name, value })),
    ],
    securityContext: { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ['ALL'] } },
    volumeMounts: [{ name: 'data', mountPath: DATA }, { name: 'cache', mountPath: CACHE }, { name: 'tmp', mountPath: '/tmp' }],
  };
  return {
    metadata: { labels, annotations: { 'hal9.ai/settings': settingsVersion, ...scraped } },
    spec: {
      serviceAccountName: spec.serviceAccountName,
      automountServiceAccountToken: false,
      ...(spec.imagePullSecrets === undefined ? {} : { imagePullSecrets: spec.imagePullSecrets.map((name) => ({ name })) }),
      securityContext: { runAsNonRoot: true, runAsUser: USER, runAsGroup: USER, fsGroup: USER, fsGroupChangePolicy: 'OnRootMismatch', seccompProfile: { type: 'RuntimeDefault' } },
      // A worker drains for 5 s.
      terminationGracePeriodSeconds: 15,
      ...(workload.region === undefined ? {} : { affinity: { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [{ matchExpressions: [{ key: 'topology.kubernetes.io/region', operator: 'In', values: [workload.region] }] }] } } } }),
      topologySpreadConstraints: ['topology.kubernetes.io/zone', 'kubernetes.io/hostname'].map((topologyKey) => ({ maxSkew: 1, topologyKey, whenUnsatisfiable: 'ScheduleAnyway', labelSelector: { matchLabels: selectorOf(cluster, workload) } })),
      // A worker begins when the schema of its version is there, whoever brings it.
      initContainers: [{ ...container, name: 'await-schema', command: ['node', 'deploy/jobs/migrate.ts', '--await'], resources: { requests: { cpu: '50m', memory: '128Mi' }, limits: { memory: '256Mi' } } }],
      containers: [
        {
          ...container,
          name: 'worker',
          command: ['node', 'workers/core/main.ts'],
          ports: [{ name: 'metrics', containerPort: METRICS_PORT, protocol: 'TCP' }],
          resources: workload.spec.resources,
          // The first start compiles; until then the process is not to be asked whether it lives.
          startupProbe: { httpGet: { path: '/healthz', port: 'metrics' }, periodSeconds: 2, failureThreshold: 60 },
          livenessProbe: { httpGet: { path: '/healthz', port: 'metrics' }, periodSeconds: 10, timeoutSeconds: 5, failureThreshold: 6 },
          readinessProbe: { httpGet: { path: '/readyz', port: 'metrics' }, periodSeconds: 5, timeoutSeconds: 5, failureThreshold: 3 },
        },
      ],
      volumes: [
        { name: 'data', ...(dataClaim === undefined ? { emptyDir: {} } : { persistentVolumeClaim: { claimName: dataClaim } }) },
        ...(workload.spec.storage === undefined ? [{ name: 'cache', emptyDir: {} }] : []),
        { name: 'tmp', emptyDir: {} },
      ],
    },
  };
}

function autoscaler({ name, queue, region, spec: { autoscaling, storage } }: Workload): Draft {
  const { minReplicas, maxReplicas, targetCpuPercent, backlog } = autoscaling;
  const waiting = backlog === undefined ? [] : [{ type: 'External', external: { metric: { name: backlog.metric, selector: { matchLabels: { taskqueue: queue } } }, target: { type: 'AverageValue', averageValue: String(backlog.perPod) } } }];
  return {
    apiVersion: 'autoscaling/v2',
    kind: 'HorizontalPodAutoscaler',
    metadata: { name, labels: labelsOf({ queue, region }) },
    spec: {
      scaleTargetRef: { apiVersion: 'apps/v1', kind: storage === undefined ? 'Deployment' : 'StatefulSet', name },
      minReplicas,
      maxReplicas,
      metrics: [{ type: 'Resource', resource: { name: 'cpu', target: { type: 'Utilization', averageUtilization: targetCpuPercent } } }, ...waiting],
      behavior: { scaleDown: { stabilizationWindowSeconds: 300, policies: [{ type: 'Percent', value: 20, periodSeconds: 60 }] } },
    },
  };
}

/** A drained node takes a pod at a time, or a tenth where there are many. */
function disruptionBudget({ name, queue, region, spec }: Workload): Draft {
  return {
    apiVersion: 'policy/v1',
    kind: 'PodDisruptionBudget',
    metadata: { name, labels: labelsOf({ queue, region }) },
    spec: { maxUnavailable: initialReplicas(spec) < 10 ? 1 : '10%', unhealthyPodEvictionPolicy: 'AlwaysAllow', selector: { matchLabels: { 'app.kubernetes.io/name': 'hal9-worker', 'app.kubernetes.io/instance': name } } },
  };
}

function serviceMonitor({ metadata }: Cluster): Draft {
  return {
    apiVersion: 'monitoring.coreos.com/v1',
    kind: 'ServiceMonitor',
    metadata: { name: `${metadata.name}-workers` },
    spec: { selector: { matchLabels: { [LABELS.cluster]: metadata.name, [LABELS.manager]: MANAGER } }, podTargetLabels: [LABELS.queue, LABELS.region], endpoints: [{ port: 'metrics', path: '/metrics', interval: '15s' }] },
  };
}

function labelsOf({ queue, region }: { queue: string; region?: string | undefined }): Record<string, string> {
  return { 'app.kubernetes.io/component': queue, [LABELS.queue]: queue, ...(region === undefined ? {} : { [LABELS.region]: region }) };
}

function selectorOf({ metadata }: Cluster, { name }: Pick<Workload, 'name'>): Record<string, string> {
  return { 'app.kubernetes.io/name': 'hal9-worker', 'app.kubernetes.io/instance': name, [LABELS.cluster]: metadata.name };
}

function nameOf(cluster: string, layer: Layer): string {
  return `${cluster}-${layer.toLowerCase()}`;
}
