import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hasCluster, startControlPlane, type ControlPlane } from '../cluster/control-plane.ts';
import { freePort } from '../../platform/telemetry/free-port.ts';
import { startOperator, type RunningOperator } from './house.ts';

const present = await hasCluster();
/** Many real processes share the machine with whatever else runs. */
const PATIENCE_MS = 300_000;

interface Condition {
  readonly type: string;
  readonly status: string;
  readonly reason: string;
  readonly message: string;
}
interface Workload {
  readonly metadata: { readonly name: string; readonly uid: string; readonly labels: Record<string, string> };
  readonly spec: { readonly replicas: number; readonly template: { readonly spec: { readonly containers: readonly { readonly image: string; readonly env: readonly { name: string; value: string }[] }[]; readonly affinity?: object } } };
}
interface Items<Item> {
  readonly items: readonly Item[];
}

describe.skipIf(!present)('the operator', { timeout: PATIENCE_MS }, () => {
  let cluster: ControlPlane;
  let operator: RunningOperator;
  let namespaces = 0;
  const clusters = (namespace: string, name = ''): string => `/apis/hal9.ai/v1/namespaces/${namespace}/hal9clusters${name === '' ? '' : `/${name}`}`;
  const apps = (namespace: string, kind: string, name = ''): string => `/apis/apps/v1/namespaces/${namespace}/${kind}${name === '' ? '' : `/${name}`}`;
  const at = (group: string, namespace: string, kind: string, name: string): string => `/apis/${group}/namespaces/${namespace}/${kind}/${name}`;
  const absent = (path: string): Promise<boolean> => cluster.call('GET', path).then(() => false, (error: unknown) => String(error).includes(': 404 '));
  const merge = (path: string, patch: object): Promise<unknown> => cluster.call('PATCH', path, patch, 'application/merge-patch+json');

  const open = async (settings: Readonly<Record<string, string>> = {}): Promise<string> => {
    const namespace = `hal9-${String((namespaces += 1))}`;
    await cluster.call('POST', '/api/v1/namespaces', { metadata: { name: namespace, labels: { 'pod-security.kubernetes.io/enforce': 'restricted' } } });
    await cluster.call('POST', `/api/v1/namespaces/${namespace}/configmaps`, { metadata: { name: 'settings' }, data: { TEMPORAL_ADDRESS: 'temporal:7233', ...settings } });
    await cluster.call('POST', `/api/v1/namespaces/${namespace}/secrets`, { metadata: { name: 'settings' }, stringData: { DATABASE_URL: 'postgres://hal9@postgres/hal9' } });
    return namespace;
  };
  const wish = (spec: object = {}): object => ({
    apiVersion: 'hal9.ai/v1',
    kind: 'HAL9Cluster',
    metadata: { name: 'hal9' },
    spec: { image: 'hal9/hal9:1', settings: { configMap: 'settings', secret: 'settings' }, neurons: { L4: { replicas: 1 }, L3: { replicas: 2 }, L2: { replicas: 3 } }, ...spec },
  });
  const make = (namespace: string, spec: object = {}): Promise<unknown> => cluster.call('POST', clusters(namespace), wish(spec));
  const condition = async (namespace: string, type: string): Promise<Condition | undefined> =>
    (await cluster.call<{ status?: { conditions?: Condition[] } }>('GET', clusters(namespace, 'hal9'))).status?.conditions?.find((one) => one.type === type);
  const isReady = (namespace: string): Promise<void> => expect.poll(async () => (await condition(namespace, 'Ready'))?.status).toBe('True');
  const events = async (namespace: string): Promise<string[]> => (await cluster.call<Items<{ reason: string; message: string }>>('GET', `/api/v1/namespaces/${namespace}/events?fieldSelector=involvedObject.kind%3DHAL9Cluster`)).items.map(({ reason, message }) => `${reason}: ${message}`);

  beforeAll(async () => {
    cluster = await startControlPlane();
    const port = await freePort();
    await cluster.call('POST', '/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations', {
      metadata: { name: 'hal9-operator' },
      webhooks: [{ name: 'validate.hal9.ai', admissionReviewVersions: ['v1'], sideEffects: 'None', failurePolicy: 'Fail', clientConfig: { url: `https://127.0.0.1:${port}/validate` }, rules: [{ apiGroups: ['hal9.ai'], apiVersions: ['v1'], operations: ['CREATE', 'UPDATE'], resources: ['hal9clusters'] }] }],
    });
    operator = await startOperator(cluster, 'one', { HAL9_OPERATOR_WEBHOOK_PORT: String(port) });
  }, PATIENCE_MS);
  afterAll(async () => {
    await operator?.stop();
    await cluster?.stop();
  }, PATIENCE_MS);

  it('makes workloads of each layer with all that belongs to them, and says when they are ready', async () => {
    const namespace = await open();
    await make(namespace, { neurons: { L4: { replicas: 1, storage: { size: '1Gi' } }, L3: { replicas: 2 }, L2: { replicas: 3, autoscaling: { enabled: true } } }, claude: { mode: 'fallback', costLimit: 250.5 } });
    await expect.poll(async () => (await cluster.call<Items<Workload>>('GET', apps(namespace, 'deployments'))).items.map(({ metadata }) => metadata.name).sort()).toEqual(['hal9-external', 'hal9-l2', 'hal9-l3']);
    // The last that is made.
    await expect.poll(() => absent(at('policy/v1', namespace, 'poddisruptionbudgets', 'hal9-external'))).toBe(false);
    // The default of the schema: 20 to 100.
    await expect.poll(async () => (await cluster.call<Workload>('GET', apps(namespace, 'deployments', 'hal9-l2'))).spec.replicas).toBe(20);
    expect(await cluster.call('GET', at('autoscaling/v2', namespace, 'horizontalpodautoscalers', 'hal9-l2'))).toMatchObject({ spec: { minReplicas: 20, maxReplicas: 100, scaleTargetRef: { kind: 'Deployment', name: 'hal9-l2' } } });
    const strategic = await cluster.call<Workload>('GET', apps(namespace, 'statefulsets', 'hal9-l4'));
    expect(strategic.spec).toMatchObject({ replicas: 1, serviceName: 'hal9-workers', volumeClaimTemplates: [{ metadata: { name: 'cache' }, spec: { resources: { requests: { storage: '1Gi' } } } }] });
    expect(strategic.spec.template.spec.containers[0]?.env).toContainEqual({ name: 'HAL9_QUEUES', value: 'neurons-l4' });
    expect(await cluster.call('GET', `/api/v1/namespaces/${namespace}/configmaps/hal9-models`)).toMatchObject({ data: { HAL9_MODELS: 'fallback', HAL9_MODEL_MONTHLY_USD: '250.5' } });
    expect(await cluster.call('GET', at('policy/v1', namespace, 'poddisruptionbudgets', 'hal9-l2'))).toMatchObject({ spec: { maxUnavailable: '10%' } });
    expect(await cluster.call('GET', at('networking.k8s.io/v1', namespace, 'networkpolicies', 'hal9-workers'))).toMatchObject({ spec: { policyTypes: ['Ingress', 'Egress'] } });
    const pods = await cluster.call<Items<{ spec: { topologySpreadConstraints: { topologyKey: string }[] } }>>('GET', `/api/v1/namespaces/${namespace}/pods?labelSelector=hal9.ai%2Fqueue%3Dneurons-l3`);
    expect(pods.items[0]?.spec.topologySpreadConstraints.map(({ topologyKey }) => topologyKey)).toEqual(['topology.kubernetes.io/zone', 'kubernetes.io/hostname']);
    // Written once everything is made.
    await expect.poll(() => condition(namespace, 'Monitored')).toMatchObject({ status: 'True', reason: 'Annotated' });
    // No volumes are handed out here, so the StatefulSet's pod waits for its own.
    await merge(clusters(namespace, 'hal9'), { spec: { neurons: { L4: { storage: null } } } });
    await isReady(namespace);
    expect(await absent(apps(namespace, 'statefulsets', 'hal9-l4'))).toBe(true);
    expect(await cluster.call('GET', clusters(namespace, 'hal9'))).toMatchObject({ status: { pods: '25/25' } });
    // Events are written after the status.
    await expect.poll(() => events(namespace)).toEqual(expect.arrayContaining(['Created: made Deployment hal9-l3', 'Removed: removed StatefulSet hal9-l4, which is not wished any more', 'Ready: 25 pods are ready']));
  });

  it('scales a layer, rolls a new image, and leaves what an autoscaler decided', async () => {
    const namespace = await open();
    await make(namespace, { neurons: { L4: { replicas: 1 }, L3: { replicas: 2 }, L2: { replicas: 3, autoscaling: { enabled: true, minReplicas: 2, maxReplicas: 6 } } } });
    await isReady(namespace);
    await merge(clusters(namespace, 'hal9'), { spec: { image: 'hal9/hal9:2', neurons: { L3: { replicas: 5 } } } });
    await expect.poll(async () => (await cluster.call<Items<Workload>>('GET', apps(namespace, 'deployments'))).items.map(({ spec }) => spec.template.spec.containers[0]?.image)).toEqual(Array.from({ length: 4 }, () => 'hal9/hal9:2'));
    await expect.poll(async () => (await cluster.call<{ status: { readyReplicas?: number } }>('GET', apps(namespace, 'deployments', 'hal9-l3'))).status.readyReplicas).toBe(5);
    await cluster.call('PATCH', `${apps(namespace, 'deployments', 'hal9-l2')}/scale`, { spec: { replicas: 6 } }, 'application/merge-patch+json');
    await merge(clusters(namespace, 'hal9'), { spec: { image: 'hal9/hal9:3' } });
    await expect.poll(async () => (await cluster.call<Workload>('GET', apps(namespace, 'deployments', 'hal9-l2'))).spec).toMatchObject({ replicas: 6, template: { spec: { containers: [{ image: 'hal9/hal9:3' }] } } });
    await isReady(namespace);
  });

  it('puts right what somebody else changed or deleted', async () => {
    const namespace = await open();
    await make(namespace);
    await isReady(namespace);
    await merge(apps(namespace, 'deployments', 'hal9-l3'), { spec: { replicas: 9, template: { spec: { containers: null } } } }).catch(() => undefined);
    await cluster.call('PATCH', apps(namespace, 'deployments', 'hal9-l3'), { spec: { replicas: 9 } }, 'application/merge-patch+json');
    await expect.poll(async () => (await cluster.call<Workload>('GET', apps(namespace, 'deployments', 'hal9-l3'))).spec.replicas).toBe(2);
    await cluster.call('DELETE', apps(namespace, 'deployments', 'hal9-l2'));
    await cluster.call('DELETE', at('policy/v1', namespace, 'poddisruptionbudgets', 'hal9-l4'));
    await expect.poll(() => absent(at('policy/v1', namespace, 'poddisruptionbudgets', 'hal9-l4'))).toBe(false);
    await expect.poll(() => absent(apps(namespace, 'deployments', 'hal9-l2'))).toBe(false);
    await isReady(namespace);
    await expect.poll(() => events(namespace)).toContain('DriftCorrected: Deployment hal9-l3 had been changed by somebody else and is as it was wished again');
    expect(await operator.metric('hal9_operator_drift_total')).toBeGreaterThan(0);
  });

  it('spreads the pods of the layers over regions', async () => {
    const namespace = await open();
    const regions = [{ name: 'us-west', pods: 12 }, { name: 'eu-central', pods: 10 }, { name: 'ap-south', pods: 8 }];
    for (const { name } of regions) await cluster.call('POST', '/api/v1/nodes', { metadata: { name: `node-${name}`, labels: { 'topology.kubernetes.io/region': name } } });
    await make(namespace, { neurons: { L4: { replicas: 3 }, L3: { replicas: 7 }, L2: { replicas: 20 } }, regions });
    await isReady(namespace);
    const pods = await cluster.call<Items<{ metadata: { labels: Record<string, string> }; spec: { nodeName: string } }>>('GET', `/api/v1/namespaces/${namespace}/pods?labelSelector=hal9.ai%2Fregion`);
    for (const { name, pods: wanted } of regions) expect(pods.items.filter(({ spec }) => spec.nodeName === `node-${name}`)).toHaveLength(wanted);
    for (const [queue, wanted] of [['neurons-l4', 3], ['neurons-l3', 7], ['neurons-l2', 20]] as const) expect(pods.items.filter(({ metadata }) => metadata.labels['hal9.ai/queue'] === queue)).toHaveLength(wanted);
    await merge(clusters(namespace, 'hal9'), { spec: { regions: null } });
    await expect.poll(async () => (await cluster.call<Items<Workload>>('GET', apps(namespace, 'deployments'))).items.map(({ metadata }) => metadata.name).sort()).toEqual(['hal9-external', 'hal9-l2', 'hal9-l3', 'hal9-l4']);
  });

  it.each([
    ['pods of regions that do not add up', { regions: [{ name: 'eu', pods: 5 }] }, 'the pods of all regions together must be the replicas of all layers together'],
    ['an image without a tag', { image: 'hal9/hal9' }, 'an image needs a tag other than latest, or a digest'],
    ['an image that moves', { image: 'registry:5000/hal9:latest' }, 'an image needs a tag other than latest, or a digest'],
    ['a mode nobody knows', { claude: { mode: 'sometimes' } }, 'spec.claude.mode: Unsupported value'],
    ['a negative limit', { claude: { costLimit: -1 } }, 'should be greater than or equal to 0'],
    ['bounds in the wrong order', { neurons: { L4: { replicas: 1 }, L3: { replicas: 1 }, L2: { replicas: 1, autoscaling: { minReplicas: 9, maxReplicas: 3 } } } }, 'minReplicas may not be above maxReplicas'],
    ['a request above its limit', { neurons: { L4: { replicas: 1 }, L3: { replicas: 1 }, L2: { replicas: 1, resources: { requests: { memory: '2Gi' }, limits: { memory: '1024Mi' } } } } }, 'a pod may not ask for more than its limit'],
    ['a layer left out', { neurons: { L4: { replicas: 1 }, L3: { replicas: 1 } } }, 'spec.neurons.L2: Required value'],
    ['no replicas', { neurons: { L4: { replicas: 0 }, L3: { replicas: 1 }, L2: { replicas: 1 } } }, 'should be greater than or equal to 1'],
    ['a ServiceMonitor without monitoring', { monitoring: { enabled: false, prometheusOperator: true } }, 'prometheusOperator needs monitoring to be enabled'],
  ])('refuses %s', async (_what, spec, message) => {
    await expect(make('default', spec)).rejects.toThrow(message);
  });

  it('refuses by its webhook what depends on other objects, and warns of what is missing', async () => {
    const namespace = await open();
    await make(namespace);
    await expect(cluster.call('POST', clusters(namespace), { ...wish(), metadata: { name: 'second' } })).rejects.toThrow('hal9 serves the queues of this namespace already');
    const other = await open({ HAL9_QUEUES: 'core' });
    await expect(make(other)).rejects.toThrow('the ConfigMap settings sets HAL9_QUEUES, which the operator decides');
    await make(other, { settings: { configMap: 'nowhere' } });
    await expect.poll(async () => condition(other, 'Ready')).toMatchObject({ status: 'False', reason: 'SettingsMissing', message: 'there is no ConfigMap nowhere: pods wait for it' });
  });

  it('says why a workload cannot go on, and what the API server refused', async () => {
    const namespace = await open();
    await cluster.call('POST', `/api/v1/namespaces/${namespace}/resourcequotas`, { metadata: { name: 'few' }, spec: { hard: { pods: '4' } } });
    await make(namespace);
    await expect.poll(() => condition(namespace, 'Degraded')).toMatchObject({ status: 'True', reason: 'WorkloadsFailing', message: expect.stringContaining('exceeded quota: few') });
    await cluster.call('DELETE', `/api/v1/namespaces/${namespace}/resourcequotas/few`);
    await isReady(namespace);
  });

  it('makes a ServiceMonitor where the Prometheus operator is, and says when it is not', async () => {
    const namespace = await open();
    await make(namespace, { monitoring: { enabled: true, prometheusOperator: true } });
    await expect.poll(() => condition(namespace, 'Monitored')).toMatchObject({ status: 'False', reason: 'PrometheusOperatorMissing' });
    await cluster.call('POST', '/apis/apiextensions.k8s.io/v1/customresourcedefinitions', {
      metadata: { name: 'servicemonitors.monitoring.coreos.com' },
      spec: { group: 'monitoring.coreos.com', scope: 'Namespaced', names: { plural: 'servicemonitors', singular: 'servicemonitor', kind: 'ServiceMonitor' }, versions: [{ name: 'v1', served: true, storage: true, schema: { openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } } }] },
    });
    await operator.stop();
    // The next complete reading would find the new kind too; a fresh operator finds it at once.
    operator = await startOperator(cluster, 'one-again', { HAL9_OPERATOR_WEBHOOK_PORT: String(operator.webhookPort) });
    await expect.poll(() => condition(namespace, 'Monitored')).toMatchObject({ status: 'True', reason: 'ServiceMonitor' });
    expect(await cluster.call('GET', at('monitoring.coreos.com/v1', namespace, 'servicemonitors', 'hal9-workers'))).toMatchObject({ spec: { endpoints: [{ port: 'metrics' }] } });
  });

  it('goes on after the API server was away', async () => {
    const namespace = await open();
    await make(namespace);
    await isReady(namespace);
    await cluster.restart('kube-apiserver');
    await expect.poll(() => merge(clusters(namespace, 'hal9'), { spec: { neurons: { L2: { replicas: 4 } } } }).then(() => 'written', String)).toBe('written');
    await expect.poll(async () => (await cluster.call<Workload>('GET', apps(namespace, 'deployments', 'hal9-l2'))).spec.replicas).toBe(4);
    await isReady(namespace);
  });

  it('drains from the lowest layer up and takes everything with it when it is deleted', async () => {
    const namespace = await open();
    await make(namespace);
    await isReady(namespace);
    await cluster.call('DELETE', clusters(namespace, 'hal9'));
    await expect.poll(() => absent(clusters(namespace, 'hal9'))).toBe(true);
    for (const kind of ['deployments', 'statefulsets', 'replicasets']) await expect.poll(async () => (await cluster.call<Items<object>>('GET', apps(namespace, kind))).items).toEqual([]);
    expect((await cluster.call<Items<object>>('GET', `/api/v1/namespaces/${namespace}/pods`)).items).toEqual([]);
    expect(await events(namespace)).toContain('Deleted: everything that was made is gone');
  });

  it('is led by one: another takes over when it dies, and the lease tells who', async () => {
    const second = await startOperator(cluster, 'two');
    try {
      const holder = async (): Promise<string> => (await cluster.call<{ spec: { holderIdentity: string } }>('GET', '/apis/coordination.k8s.io/v1/namespaces/default/leases/hal9-operator')).spec.holderIdentity;
      expect(await holder()).toBe('one-again');
      expect([await operator.metric('hal9_operator_leading'), await second.metric('hal9_operator_leading')]).toEqual([1, 0]);
      await operator.kill();
      // Its webhook is gone too, and this cluster's configuration demands one.
      await cluster.call('DELETE', '/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/hal9-operator');
      await expect.poll(holder).toBe('two');
      const namespace = await open();
      await make(namespace);
      await isReady(namespace);
      expect(await second.metric('hal9_operator_leading')).toBe(1);
    } finally {
      await second.stop();
    }
  });
});
