import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { hasCluster, startControlPlane, type ControlPlane } from '../cluster/control-plane.ts';
import { createTestDatabase, type TestDatabase } from '../environment/database.ts';
import { freePort } from '../../platform/telemetry/free-port.ts';
import { rolloutBench, type RolloutBench, type RolloutRun } from './rollout-bench.ts';
import { Shop } from './shop.ts';

const present = await hasCluster();
const WAVE = [{ name: 'all', clusters: ['cluster'] }];

/** Many real processes share the machine with whatever else runs. */
const PATIENCE_MS = 300_000;

describe.skipIf(!present)('rollout', { timeout: PATIENCE_MS }, () => {
  let test: TestDatabase;
  let cluster: ControlPlane;
  let bench: RolloutBench;
  let shops = 0;
  const open = (): Promise<Shop> => Shop.open(cluster, `shop-${String((shops += 1))}`);
  const service = (shop: Shop, name: string, image: string, more: object = {}) => ({ name, namespace: shop.namespace, service: name, images: { main: image }, ...more });

  beforeAll(async () => {
    test = await createTestDatabase();
    cluster = await startControlPlane();
    bench = await rolloutBench(inject('temporalAddress'), test, cluster);
  }, PATIENCE_MS);
  afterAll(async () => {
    await bench?.stop();
    await cluster?.stop();
    await test?.drop();
  });

  it('rolls a plain Deployment to a new image, and goes back to the old one within the window without steps', async () => {
    const shop = await open();
    await shop.sells('web');
    const watched = shop.watch('web');
    const result = await (await bench.start({ services: [service(shop, 'web', 'shop/web:2')], waves: WAVE })).result();
    expect(result).toMatchObject({ outcome: 'promoted', cause: null, units: [{ state: 'new', from: { main: 'shop/web:1' }, to: { main: 'shop/web:2' } }] });
    expect(await shop.image('web')).toBe('shop/web:2');
    expect((await shop.deployment('web')).metadata.annotations).not.toHaveProperty('hal9.ai/rollout');
    const back = { services: [service(shop, 'web', 'shop/web:1', { strategy: { kind: 'canary', steps: [{ weight: 20, soakSeconds: 3600 }] } })], waves: WAVE, rollbackWindowSeconds: 600 };
    expect(await (await bench.start(back)).result()).toMatchObject({ outcome: 'promoted' });
    expect(await shop.image('web')).toBe('shop/web:1');
    expect(await watched.emptied()).toBe(0);
  });

  it('takes all services back in reverse when one never starts', async () => {
    const shop = await open();
    await shop.sells('ledger');
    await shop.sells('web');
    const services = [service(shop, 'web', 'shop/web:missing', { after: ['ledger'] }), service(shop, 'ledger', 'shop/ledger:2')];
    const result = await (await bench.start({ services, waves: WAVE, progressDeadlineSeconds: 3 })).result();
    expect(result).toMatchObject({ outcome: 'rolled-back', cause: { code: 'image-never-starts', service: 'web' }, units: [{ service: 'ledger', state: 'old' }, { service: 'web', state: 'old' }] });
    expect(result.reason).toContain('ImagePullBackOff');
    expect([await shop.image('ledger'), await shop.image('web')]).toEqual(['shop/ledger:1', 'shop/web:1']);
  });

  it('runs a canary by replicas, holds its share, and leaves nothing beside', async () => {
    const shop = await open();
    await shop.sells('web', 'shop/web:1', 4);
    const watched = shop.watch('web');
    const run = await bench.start({ services: [service(shop, 'web', 'shop/web:2')], waves: WAVE, strategy: { kind: 'canary', steps: [{ weight: 20, soakSeconds: 1 }, { weight: 80, soakSeconds: 1 }] } });
    expect(await run.result()).toMatchObject({ outcome: 'promoted' });
    await bench.record(run, 'canary');
    const { rollout, steps } = await run.record();
    expect(rollout.units).toMatchObject([{ service: 'web', cluster: 'cluster', wave: 'all', namespace: shop.namespace, workload: 'Deployment/web', replicas: 4, strategy: 'canary', steps: [{ weight: 20, soakSeconds: 1, approvals: 0 }, { weight: 80, soakSeconds: 1, approvals: 0 }], from: { main: 'shop/web:1' }, to: { main: 'shop/web:2' }, state: 'new' }]);
    expect(steps.map(({ step, share }) => [step, share])).toEqual([
      ['begun', null],
      ['1 new beside 4 old pods', 20],
      ['4 new beside 4 old pods', 50],
      ['4 new beside 1 old pods', 80],
      ['the workload gets the new images', 100],
      ['nothing runs beside', null],
      ['out', null],
    ]);
    expect(await watched.emptied()).toBe(0);
    expect([...watched.seen].some((pod) => pod.startsWith('web-hal9-next-'))).toBe(true);
    expect(await shop.deployments()).toEqual(['web']);
    expect((await shop.deployment('web')).spec.replicas).toBe(4);
  });

  it('switches blue and green only when green is ready, and takes an abort back at once', async () => {
    const shop = await open();
    await shop.sells('web');
    const watched = shop.watch('web');
    const blueGreen = { kind: 'blue-green', soakSeconds: 600, scaleDownDelaySeconds: 0 };
    const run = await bench.start({ services: [service(shop, 'web', 'shop/web:2')], waves: WAVE, strategy: blueGreen });
    await expect.poll(async () => (await shop.readyPods('web')).every((pod) => pod.startsWith('web-hal9-next-'))).toBe(true);
    await run.decide('abort', 'enough seen');
    expect(await run.result()).toMatchObject({ outcome: 'rolled-back', reason: 'aborted: enough seen', cause: { code: 'aborted' }, units: [{ state: 'old' }] });
    await bench.record(run, 'aborted');
    const { rollout, steps } = await run.record();
    expect(rollout.units).toMatchObject([{ strategy: 'blue-green', steps: null, state: 'old' }]);
    expect(steps.filter(({ share }) => share !== null).map(({ share }) => share)).toEqual([100, 0]);
    await expect.poll(() => shop.deployments()).toEqual(['web']);
    const promoted = await bench.start({ services: [service(shop, 'web', 'shop/web:2')], waves: WAVE, strategy: { ...blueGreen, soakSeconds: 0 } });
    expect(await promoted.result()).toMatchObject({ outcome: 'promoted' });
    expect(await shop.image('web')).toBe('shop/web:2');
    expect((await shop.readyPods('web')).some((pod) => pod.startsWith('web-hal9-next-'))).toBe(false);
    expect(await watched.emptied()).toBe(0);
  });

  it('splits by an Ingress of nginx, and by weights of the Gateway API and of Istio', async () => {
    const shop = await open();
    await shop.sells('web');
    await cluster.call('POST', shop.path('networking.k8s.io/v1/ingresses'), { metadata: { name: 'front' }, spec: { rules: [{ host: 'shop.test', http: { paths: [{ path: '/', pathType: 'Prefix', backend: { service: { name: 'web', port: { number: 80 } } } }] } }] } });
    const canary = (traffic: object) => ({ kind: 'canary', traffic, steps: [{ weight: 10 }, { weight: 30, soakSeconds: 600 }] });
    const run = await bench.start({ services: [service(shop, 'web', 'shop/web:2')], waves: WAVE, strategy: canary({ kind: 'nginx', ingress: 'front' }) });
    const beside = shop.path('networking.k8s.io/v1/ingresses', 'front-hal9-next');
    await expect.poll(() => cluster.call('GET', beside).catch(() => undefined)).toMatchObject({ metadata: { annotations: { 'nginx.ingress.kubernetes.io/canary-weight': '30' } }, spec: { rules: [{ http: { paths: [{ backend: { service: { name: 'web-hal9-next' } } }] } }] } });
    expect(await shop.readyPods('web-hal9-next')).toHaveLength(1);
    expect((await shop.readyPods('web')).some((pod) => pod.startsWith('web-hal9-next-'))).toBe(false);
    await run.decide('abort');
    expect(await run.result()).toMatchObject({ outcome: 'rolled-back' });
    await expect(cluster.call('GET', beside)).rejects.toThrow('404');

    const define = (group: string, plural: string, kind: string, annotations: object = {}) =>
      cluster.call('POST', '/apis/apiextensions.k8s.io/v1/customresourcedefinitions', {
        metadata: { name: `${plural}.${group}`, annotations },
        spec: { group, scope: 'Namespaced', names: { plural, singular: kind.toLowerCase(), kind }, versions: [{ name: 'v1', served: true, storage: true, schema: { openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } } }] },
      });
    await define('gateway.networking.k8s.io', 'httproutes', 'HTTPRoute', { 'api-approved.kubernetes.io': 'https://github.com/kubernetes-sigs/gateway-api' });
    const routes = shop.path('gateway.networking.k8s.io/v1/httproutes');
    await expect.poll(() => cluster.call('POST', routes, { apiVersion: 'gateway.networking.k8s.io/v1', kind: 'HTTPRoute', metadata: { name: 'front' }, spec: { rules: [{ backendRefs: [{ name: 'web', port: 80 }] }] } }).then(() => 'made', String)).toBe('made');
    const second = await bench.start({ services: [service(shop, 'web', 'shop/web:2')], waves: WAVE, strategy: canary({ kind: 'gateway', route: 'front' }) });
    await expect.poll(() => cluster.call('GET', `${routes}/front`)).toMatchObject({ spec: { rules: [{ backendRefs: [{ name: 'web', port: 80, weight: 70 }, { name: 'web-hal9-next', port: 80, weight: 30 }] }] } });
    await second.decide('abort');
    await second.result();
    expect(await cluster.call('GET', `${routes}/front`)).toMatchObject({ spec: { rules: [{ backendRefs: [{ name: 'web', weight: 100 }] }] } });

    await define('networking.istio.io', 'virtualservices', 'VirtualService');
    const meshes = shop.path('networking.istio.io/v1/virtualservices');
    const other = { match: [{ uri: { prefix: '/help' } }], route: [{ destination: { host: 'help' } }] };
    await expect.poll(() => cluster.call('POST', meshes, { apiVersion: 'networking.istio.io/v1', kind: 'VirtualService', metadata: { name: 'front' }, spec: { hosts: ['shop.test'], http: [other, { route: [{ destination: { host: `web.${shop.namespace}.svc.cluster.local`, port: { number: 80 } } }] }] } }).then(() => 'made', String)).toBe('made');
    const third = await bench.start({ services: [service(shop, 'web', 'shop/web:2')], waves: WAVE, strategy: canary({ kind: 'istio', virtualService: 'front' }) });
    const destination = (name: string) => ({ host: `${name}.${shop.namespace}.svc.cluster.local`, port: { number: 80 } });
    await expect.poll(() => cluster.call('GET', `${meshes}/front`)).toMatchObject({ spec: { http: [other, { route: [{ destination: destination('web'), weight: 70 }, { destination: destination('web-hal9-next'), weight: 30 }] }] } });
    await third.decide('abort');
    expect(await third.result()).toMatchObject({ outcome: 'rolled-back', units: [{ state: 'old' }] });
    expect(await cluster.call('GET', `${meshes}/front`)).toMatchObject({ spec: { http: [other, { route: [{ destination: destination('web'), weight: 100 }] }] } });
    expect((await third.record()).steps.flatMap(({ share }) => (share === null ? [] : [share]))).toEqual([10, 30, 0, 0]);
  });

  it('goes out wave by wave, waits for as many people as a wave asks for, and takes all back when one refuses', async () => {
    const shop = await open();
    await shop.sells('web');
    await bench.connect('twin', { kind: 'kubernetes', server: cluster.server, ca: cluster.ca, token: cluster.token });
    const input = { services: [service(shop, 'web', 'shop/web:2')], waves: [{ name: 'first', clusters: ['cluster'] }, { name: 'second', clusters: ['twin'], approval: { required: 2 } }] };
    const waits = (run: RolloutRun) => expect.poll(async () => (await run.standing()).waitingFor).toBe('approval: wave second');
    const refused = await bench.start(input);
    await waits(refused);
    expect(await shop.image('web')).toBe('shop/web:2');
    await refused.answer('ada', true);
    await expect(refused.answer('ada', true)).rejects.toMatchObject({ type: 'UpdateRejected' });
    expect((await refused.standing()).waitingFor).toBe('approval: wave second');
    await refused.answer('bob', false);
    expect(await refused.result()).toMatchObject({ outcome: 'rolled-back', cause: { code: 'gate-refused' }, reason: 'wave second: refused', units: [{ wave: 'first', state: 'old' }, { wave: 'second', state: 'waiting' }] });
    expect(await shop.image('web')).toBe('shop/web:1');

    const approved = await bench.start(input);
    await waits(approved);
    await approved.answer('ada', true);
    await approved.answer('bob', true);
    expect(await approved.result()).toMatchObject({ outcome: 'promoted', units: [{ wave: 'first', cluster: 'cluster', state: 'new' }, { wave: 'second', cluster: 'twin', state: 'new' }] });
    expect((await approved.record()).rollout.units.map(({ wave, state }) => [wave, state])).toEqual([['first', 'new'], ['second', 'new']]);
  });

  it('takes no step while it is paused, and goes back all the same when it is aborted', async () => {
    const shop = await open();
    await shop.sells('web', 'shop/web:1', 4);
    // Nobody answers: each step ends only when people decide.
    const metric = { name: 'page', source: { kind: 'http', url: `http://127.0.0.1:${await freePort()}/` } };
    const input = { services: [service(shop, 'web', 'shop/web:2')], waves: WAVE, strategy: { kind: 'canary', steps: [{ weight: 20 }, { weight: 50 }] }, analysis: { intervalSeconds: 1, metrics: [metric], patience: 0 } };
    const waits = (run: RolloutRun, step: string) => expect.poll(async () => (await run.standing()).waitingFor).toContain(`canary ${step}: page: http could not be asked`);
    const beside = async () => (await shop.deployment('web-hal9-next')).spec.replicas;
    const run = await bench.start(input);
    await waits(run, '20 %');
    await run.pause();
    await run.decide('promote');
    await expect.poll(async () => (await run.standing()).step).toContain('canary 50 %');
    expect(await beside()).toBe(1);
    await run.resume();
    await waits(run, '50 %');
    expect(await beside()).toBe(4);
    await run.pause();
    await run.decide('abort');
    expect(await run.result()).toMatchObject({ outcome: 'rolled-back', cause: { code: 'aborted' }, units: [{ state: 'old' }] });
    await expect.poll(() => shop.deployments()).toEqual(['web']);
    expect(await run.verdicts()).toMatchObject([{ step: 'canary 50 %', outcome: 'inconclusive' }, { step: 'canary 20 %', outcome: 'inconclusive' }]);
  });

  it('begins nothing in a freeze, and goes on when it is over', async () => {
    const shop = await open();
    await shop.sells('web');
    const services = [service(shop, 'web', 'shop/web:2')];
    const freeze = (until: string) => [{ kind: 'dates', from: '2000-01-01T00:00:00Z', until, reason: 'year-end' }];
    const held = await bench.start({ services, waves: WAVE, freeze: freeze('2100-01-01T00:00:00Z') });
    await expect.poll(async () => (await held.standing()).waitingFor).toBe('freeze until 2100-01-01T00:00:00.000Z: year-end');
    expect((await shop.deployment('web')).metadata.annotations).not.toHaveProperty('hal9.ai/rollout');
    await held.decide('abort');
    expect(await held.result()).toMatchObject({ outcome: 'refused', cause: { code: 'aborted' }, units: [{ state: 'waiting' }] });
    const until = new Date(Date.now() + 2000);
    expect(await (await bench.start({ services, waves: WAVE, freeze: freeze(until.toISOString()) })).result()).toMatchObject({ outcome: 'promoted' });
    expect(Date.parse((await shop.deployment('web')).metadata.annotations?.['hal9.ai/promoted-at'] ?? '')).toBeGreaterThanOrEqual(until.getTime());
  });

  it('rolls a StatefulSet, and brings every pod back when one never starts', async () => {
    const shop = await open();
    await shop.keeps('ledger');
    const ledger = (image: string) => [service(shop, 'ledger', image, { kind: 'StatefulSet' })];
    expect(await (await bench.start({ services: ledger('shop/ledger:2'), waves: WAVE })).result()).toMatchObject({ outcome: 'promoted', units: [{ workload: 'StatefulSet/ledger', state: 'new' }] });
    expect(await shop.images('ledger')).toEqual(['shop/ledger:2', 'shop/ledger:2', 'shop/ledger:2']);
    const run = await bench.start({ services: ledger('shop/ledger:missing'), waves: WAVE, progressDeadlineSeconds: 3 });
    expect(await run.result()).toMatchObject({ outcome: 'rolled-back', cause: { code: 'image-never-starts' }, units: [{ state: 'old' }] });
    expect(await shop.images('ledger')).toEqual(['shop/ledger:2', 'shop/ledger:2', 'shop/ledger:2']);
    expect(await shop.readyPods('ledger')).toHaveLength(3);
  });

  it('changes nothing in a dry run, and says what it would do', async () => {
    const shop = await open();
    await shop.sells('web');
    const before = (await shop.deployment('web')).metadata.resourceVersion;
    const result = await (await bench.start({ services: [service(shop, 'web', 'shop/web:2')], waves: WAVE, dryRun: true, strategy: { kind: 'canary', steps: [{ weight: 25, soakSeconds: 60 }] } })).result();
    expect(result).toMatchObject({ outcome: 'planned', units: [{ state: 'waiting' }] });
    expect(result.plan).toEqual([`Deployment ${shop.namespace}/web in cluster: 25 % of the traffic (1 new beside 3 old pods) for 60 s`, `Deployment ${shop.namespace}/web in cluster: main shop/web:1 -> shop/web:2`]);
    expect((await shop.deployment('web')).metadata.resourceVersion).toBe(before);
    expect(await shop.deployments()).toEqual(['web']);
  });

  describe('says which input is bad, before anything changes', () => {
    const refused = async (one: object, more: object = {}) => (await bench.start({ services: [one], waves: WAVE, ...more })).result();

    it('a workload or a container that is not there, a Service that selects others', async () => {
      const shop = await open();
      await shop.sells('web');
      await shop.sells('other');
      expect(await refused(service(shop, 'nothing', 'x:1', { service: undefined }))).toMatchObject({ outcome: 'refused', cause: { code: 'not-found' }, reason: expect.stringContaining('nothing') as string });
      expect(await refused(service(shop, 'web', 'x:1', { images: { sidecar: 'x:1' } }))).toMatchObject({ outcome: 'refused', cause: { code: 'unknown-container' } });
      expect(await refused(service(shop, 'web', 'x:1', { service: 'other' }))).toMatchObject({ outcome: 'refused', cause: { code: 'selector-mismatch' }, reason: expect.stringContaining('app=other') as string });
      expect(await shop.image('web')).toBe('shop/web:1');
    });

    it('rights the account lacks', async () => {
      const shop = await open();
      await shop.sells('web');
      await cluster.call('POST', shop.path('serviceaccounts'), { metadata: { name: 'reader' } });
      await cluster.call('POST', shop.path('rbac.authorization.k8s.io/v1/roles'), { metadata: { name: 'reader' }, rules: [{ apiGroups: ['apps'], resources: ['deployments'], verbs: ['get'] }] });
      await cluster.call('POST', shop.path('rbac.authorization.k8s.io/v1/rolebindings'), { metadata: { name: 'reader' }, roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'reader' }, subjects: [{ kind: 'ServiceAccount', name: 'reader', namespace: shop.namespace }] });
      const { status } = await cluster.call<{ status: { token: string } }>('POST', `${shop.path('serviceaccounts', 'reader')}/token`, { spec: {} });
      await bench.connect('reader', { kind: 'kubernetes', server: cluster.server, ca: cluster.ca, token: status.token });
      const result = await refused(service(shop, 'web', 'shop/web:2'), { waves: [{ name: 'all', clusters: ['reader'] }] });
      expect(result).toMatchObject({ outcome: 'refused', cause: { code: 'missing-permission' }, reason: `rolling out Deployment web needs patch deployments.apps, list pods, get services in namespace ${shop.namespace}` });
    });
  });

  it('names a quota that leaves no room for the canary', async () => {
    const shop = await open();
    await shop.sells('web');
    await cluster.call('POST', shop.path('resourcequotas'), { metadata: { name: 'tight' }, spec: { hard: { pods: '3' } } });
    await expect.poll(() => cluster.call('GET', shop.path('resourcequotas', 'tight'))).toMatchObject({ status: { used: { pods: '3' } } });
    const run = await bench.start({ services: [service(shop, 'web', 'shop/web:2')], waves: WAVE, progressDeadlineSeconds: 3, strategy: { kind: 'canary', steps: [{ weight: 25 }] } });
    expect(await run.result()).toMatchObject({ outcome: 'rolled-back', cause: { code: 'quota-exceeded' }, units: [{ state: 'old' }] });
    await expect.poll(() => shop.deployments()).toEqual(['web']);
  });

  it('leaves what somebody else changed meanwhile, and takes its own away', async () => {
    const shop = await open();
    await shop.sells('web');
    const run = await bench.start({ services: [service(shop, 'web', 'shop/web:2')], waves: WAVE, strategy: { kind: 'canary', steps: [{ weight: 25, soakSeconds: 4 }] } });
    await expect.poll(() => shop.deployments()).toContain('web-hal9-next');
    await cluster.call('PATCH', shop.path('apps/v1/deployments', 'web'), { spec: { template: { spec: { containers: [{ name: 'main', image: 'shop/web:hotfix' }] } } } }, 'application/strategic-merge-patch+json');
    expect(await run.result()).toMatchObject({ outcome: 'rolled-back', cause: { code: 'edited-elsewhere' }, units: [{ state: 'edited' }] });
    expect(await shop.image('web')).toBe('shop/web:hotfix');
    await expect.poll(() => shop.deployments()).toEqual(['web']);
  });
});
