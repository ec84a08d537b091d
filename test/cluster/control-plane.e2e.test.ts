import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hasCluster, startControlPlane, type ControlPlane } from './control-plane.ts';

const present = await hasCluster();

interface Workload {
  status: { availableReplicas?: number; conditions?: { type: string; status: string; reason?: string }[] };
}

/** Many real processes share the machine with whatever else runs. */
const PATIENCE_MS = 300_000;

describe.skipIf(!present)('the control plane of the tests', { timeout: PATIENCE_MS }, () => {
  let cluster: ControlPlane;
  beforeAll(async () => {
    cluster = await startControlPlane();
  }, PATIENCE_MS);
  afterAll(() => cluster?.stop());

  const deployments = '/apis/apps/v1/namespaces/default/deployments';
  const deployment = (name: string, image: string) => ({
    metadata: { name },
    spec: { replicas: 3, progressDeadlineSeconds: 2, minReadySeconds: 0, selector: { matchLabels: { app: name } }, template: { metadata: { labels: { app: name } }, spec: { containers: [{ name: 'main', image }] } } },
  });

  it('is of the version it is built from', async () => {
    expect(await cluster.call('GET', '/version')).toMatchObject({ major: '1', minor: '36' });
  });

  it('makes pods of a Deployment available, and keeps them over a restart of the API', async () => {
    await cluster.call('POST', deployments, deployment('web', 'example/web:1'));
    await expect.poll(async () => (await cluster.call<Workload>('GET', `${deployments}/web`)).status.availableReplicas).toBe(3);
    await cluster.restart('kube-apiserver');
    expect((await cluster.call<Workload>('GET', `${deployments}/web`)).status.availableReplicas).toBe(3);
  });

  it('says when an image cannot be pulled', async () => {
    await cluster.call('POST', deployments, deployment('broken', 'example/broken:missing'));
    const progressing = async (): Promise<unknown> => (await cluster.call<Workload>('GET', `${deployments}/broken`)).status.conditions?.find(({ type }) => type === 'Progressing');
    await expect.poll(progressing).toMatchObject({ status: 'False', reason: 'ProgressDeadlineExceeded' });
  });

  it('ends jobs, well or not', async () => {
    const job = (image: string) => ({ metadata: { name: image.replace(':', '-') }, spec: { backoffLimit: 0, template: { spec: { restartPolicy: 'Never', containers: [{ name: 'main', image }] } } } });
    for (const image of ['check:passing', 'check:failing']) await cluster.call('POST', '/apis/batch/v1/namespaces/default/jobs', job(image));
    const status = async (name: string): Promise<unknown> => (await cluster.call<{ status: unknown }>('GET', `/apis/batch/v1/namespaces/default/jobs/${name}`)).status;
    await expect.poll(() => status('check-passing')).toMatchObject({ succeeded: 1 });
    await expect.poll(() => status('check-failing')).toMatchObject({ failed: 1 });
  });
});
