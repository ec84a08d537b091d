import { execFile } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import { clusterTools, CONTROL_PLANE } from '../cluster/tools.ts';
import { hasCluster, startControlPlane, type ControlPlane } from '../cluster/control-plane.ts';
import { blocksOf } from '../docs/blocks.ts';
import { startOperator, type RunningOperator } from '../operator/house.ts';

const ROOT = join(import.meta.dirname, '../..');
const CHART = join(ROOT, 'deploy/helm/hal9');
const VALUES = join(ROOT, 'deploy/helm/values');
const PAGE = 'docs/how-to/kubernetes.md';
const execute = promisify(execFile);
const present = await hasCluster([...CONTROL_PLANE, 'helm', 'kubectl']);
/** Many real processes share the machine with whatever else runs. */
const PATIENCE_MS = 300_000;
const NAMESPACE = 'hal9';
/** Where nothing is, for objects that are only tried. */
const TRIED = 'hal9-tried';

interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly annotations?: Readonly<Record<string, string>> };
  readonly spec?: { readonly template?: { readonly spec?: { readonly containers: readonly { readonly image: string }[] } } };
}

/** Kinds of others that the value files use, with a schema that takes everything: only Kubernetes' own kinds are checked field by field. */
const OTHERS = [
  ['postgresql.cnpg.io', 'v1', 'Cluster', 'clusters'],
  ['postgresql.cnpg.io', 'v1', 'ScheduledBackup', 'scheduledbackups'],
  ['barmancloud.cnpg.io', 'v1', 'ObjectStore', 'objectstores'],
  ['keda.sh', 'v1alpha1', 'ScaledObject', 'scaledobjects'],
  ['external-secrets.io', 'v1', 'ExternalSecret', 'externalsecrets'],
  ['bitnami.com', 'v1alpha1', 'SealedSecret', 'sealedsecrets'],
  ['monitoring.coreos.com', 'v1', 'ServiceMonitor', 'servicemonitors'],
  ['monitoring.coreos.com', 'v1', 'PodMonitor', 'podmonitors'],
  ['monitoring.coreos.com', 'v1', 'PrometheusRule', 'prometheusrules'],
] as const;

describe.skipIf(!present)('the chart', { timeout: PATIENCE_MS }, () => {
  let cluster: ControlPlane;
  let folder: string;
  let tools: Record<'helm' | 'kubectl', string>;
  let operator: RunningOperator | undefined;
  const environment = (): NodeJS.ProcessEnv => ({ HOME: folder, KUBECONFIG: cluster.kubeconfig, PATH: `${dirname(tools.helm)}:${dirname(tools.kubectl)}:${process.env['PATH'] ?? ''}` });
  const helm = async (...args: string[]): Promise<string> => {
    const run = execute(tools.helm, args, { env: environment(), cwd: ROOT, maxBuffer: 16 * 1024 * 1024 });
    return (await run.catch((failure: { stdout: string; stderr: string }) => Promise.reject(new Error(failure.stdout + failure.stderr)))).stdout;
  };
  const rendered = async (...args: string[]): Promise<Manifest[]> =>
    parseAllDocuments(await helm('template', 'hal9', CHART, '--namespace', TRIED, '--kube-version', '1.36.3', ...args)).flatMap((document) => {
      expect('errors' in document ? document.errors : []).toEqual([]);
      const manifest = 'toJS' in document ? (document.toJS() as Manifest | null) : null;
      return manifest === null ? [] : [manifest];
    });
  const plural = (kind: string): string => OTHERS.find(([, , name]) => name === kind)?.[3] ?? (kind.endsWith('y') ? `${kind.slice(0, -1)}ies` : kind.endsWith('s') ? `${kind}es` : `${kind}s`).toLowerCase();
  const pathOf = ({ apiVersion, kind, metadata }: Manifest): string =>
    `${apiVersion.includes('/') ? '/apis' : '/api'}/${apiVersion}${/^(Cluster[A-Z]|ValidatingWebhook)/.test(kind) ? '' : `/namespaces/${TRIED}`}/${plural(kind)}/${metadata.name}`;
  const images = async (): Promise<Set<string | undefined>> => {
    const { items } = await cluster.call<{ items: Manifest[] }>('GET', `/apis/apps/v1/namespaces/${NAMESPACE}/deployments`);
    return new Set(items.map(({ spec }) => spec?.template?.spec?.containers[0]?.image));
  };
  const release = ['--namespace', NAMESPACE, '--set', 'temporal.address=temporal:7233', '--set', 'secrets.values.HAL9_MASTER_KEYS=a:b', '--set', 'secrets.values.DATABASE_URL=postgres://u:p@postgres/hal9', '--set', 'backups.enabled=true', '--set', 'secrets.values.BACKUP_URL=postgres://b:p@postgres/hal9'];
  const absent = (path: string): Promise<boolean> => cluster.call('GET', path).then(() => false, (error: unknown) => String(error).includes(': 404 '));

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'hal9-chart-'));
    [cluster, tools] = await Promise.all([startControlPlane(), clusterTools(['helm', 'kubectl'])]);
    for (const name of [NAMESPACE, TRIED]) await cluster.call('POST', '/api/v1/namespaces', { metadata: { name, labels: { 'pod-security.kubernetes.io/enforce': 'restricted' } } });
    // helm installs it before anything else; what is only tried needs it too.
    await cluster.call('PATCH', '/apis/apiextensions.k8s.io/v1/customresourcedefinitions/hal9clusters.hal9.ai?fieldManager=test', parse(await readFile(join(CHART, 'crds/hal9clusters.yaml'), 'utf8')) as object, 'application/apply-patch+yaml');
    // Nobody hands out volumes here: they are there already.
    for (const name of ['data', 'backups', 'scratch', 'other']) await cluster.call('POST', '/api/v1/persistentvolumes', { metadata: { name }, spec: { capacity: { storage: '200Gi' }, accessModes: ['ReadWriteMany', 'ReadWriteOnce'], nfs: { server: 'files', path: '/' } } });
    for (const [group, version, kind, name] of OTHERS) {
      await cluster.call('POST', '/apis/apiextensions.k8s.io/v1/customresourcedefinitions', { metadata: { name: `${name}.${group}` }, spec: { group, scope: 'Namespaced', names: { plural: name, singular: kind.toLowerCase(), kind }, versions: [{ name: version, served: true, storage: true, schema: { openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } } }] } });
    }
  }, PATIENCE_MS);
  afterAll(async () => {
    await operator?.stop();
    await cluster?.stop();
    if (folder !== undefined) await rm(folder, { recursive: true, force: true });
  }, PATIENCE_MS);

  it('installs the whole of HAL9 within five minutes: restricted pods, and layers that the operator makes with its own rights', async () => {
    // helm gives up after the time that is allowed.
    const installing = helm('install', 'hal9', CHART, ...release, '--set', 'image.tag=v1', '--wait', '--timeout', '5m');
    let failure: unknown;
    installing.catch((error: unknown) => (failure = error));
    await expect.poll(async () => failure !== undefined || !(await absent(`/api/v1/namespaces/${NAMESPACE}/serviceaccounts/hal9-operator`)), { timeout: 120_000 }).toBe(true);
    expect(failure).toBeUndefined();
    operator = await startOperator(await asServiceAccount(), 'chart', { HAL9_OPERATOR_NAMESPACE: NAMESPACE, HAL9_OPERATOR_WATCH: NAMESPACE, HAL9_OPERATOR_WEBHOOK_PORT: '0', HAL9_OPERATOR_WEBHOOK_NAME: `hal9-${NAMESPACE}` });
    await installing;
    await expect.poll(() => cluster.call('GET', `/apis/hal9.ai/v1/namespaces/${NAMESPACE}/hal9clusters/hal9`), { timeout: 120_000 }).toMatchObject({ status: { pods: '8/8', conditions: expect.arrayContaining([expect.objectContaining({ type: 'Ready', status: 'True' })]) as unknown } });
    expect(await images()).toEqual(new Set(['ghcr.io/hal9/hal9:v1']));
    const recovery = await cluster.call<Manifest & { status: { readyReplicas: number } }>('GET', `/apis/apps/v1/namespaces/${NAMESPACE}/statefulsets/hal9-recovery`);
    expect([recovery.status.readyReplicas, recovery.spec?.template?.spec?.containers.map(({ image }) => image)]).toEqual([1, ['ghcr.io/hal9/hal9:v1-recovery-18']]);
    const { webhooks } = await cluster.call<{ webhooks: { clientConfig: { caBundle?: string } }[] }>('GET', `/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/hal9-${NAMESPACE}`);
    expect(Buffer.from(webhooks[0]?.clientConfig.caBundle ?? '', 'base64').toString()).toContain('BEGIN CERTIFICATE');
    expect(operator.log.filter((line) => line.includes('forbidden'))).toEqual([]);
    expect(await helm('test', 'hal9', '--namespace', NAMESPACE)).toContain('Phase:          Succeeded');
  });

  it('upgrades with its migrations first, goes back by itself when that fails, and back to an older release when told', async () => {
    await helm('upgrade', 'hal9', CHART, ...release, '--set', 'image.tag=v2', '--wait', '--timeout', '3m');
    await expect.poll(images).toEqual(new Set(['ghcr.io/hal9/hal9:v2']));
    // The pods of this image never get ready, that of the migrations first of all.
    await expect(helm('upgrade', 'hal9', CHART, ...release, '--set', 'image.tag=unready', '--atomic', '--timeout', '8s')).rejects.toThrow('pre-upgrade hooks failed');
    expect(await images()).toEqual(new Set(['ghcr.io/hal9/hal9:v2']));
    await helm('rollback', 'hal9', '1', '--namespace', NAMESPACE, '--wait', '--timeout', '3m');
    await expect.poll(images).toEqual(new Set(['ghcr.io/hal9/hal9:v1']));
    const history = JSON.parse(await helm('history', 'hal9', '--namespace', NAMESPACE, '--output', 'json')) as { status: string; description: string }[];
    expect(history.at(-1)).toMatchObject({ status: 'deployed', description: 'Rollback to 1' });
  });

  it('is removed with everything the operator made, but for the data', async () => {
    const { stdout } = await execute(process.execPath, [join(ROOT, 'deploy/jobs/remove-clusters.ts')], { env: { ...process.env, KUBECONFIG: cluster.kubeconfig, HAL9_OPERATOR_WATCH: NAMESPACE }, timeout: 120_000 });
    expect(stdout).toContain('deleting');
    expect(await absent(`/apis/hal9.ai/v1/namespaces/${NAMESPACE}/hal9clusters/hal9`)).toBe(true);
    await helm('uninstall', 'hal9', '--namespace', NAMESPACE, '--wait', '--timeout', '3m');
    await expect.poll(async () => (await cluster.call<{ items: unknown[] }>('GET', `/apis/apps/v1/namespaces/${NAMESPACE}/deployments`)).items).toEqual([]);
    expect(await absent(`/api/v1/namespaces/${NAMESPACE}/persistentvolumeclaims/hal9-data`)).toBe(false);
  });

  it.each(readdirSync(VALUES).map((file) => [file] as const))('renders %s into objects that the API server takes, field by field', async (file) => {
    const files = ['staging.yaml', 'production.yaml'].includes(file) ? [file] : ['production.yaml', file];
    const values = files.flatMap((name) => ['--values', join(VALUES, name)]);
    expect(await helm('lint', CHART, ...values)).toContain('1 chart(s) linted, 0 chart(s) failed');
    const manifests = await rendered(...values);
    expect(manifests.length).toBeGreaterThan(25);
    for (const manifest of manifests) {
      const answer = await cluster.call('PATCH', `${pathOf(manifest)}?dryRun=All&fieldManager=test&fieldValidation=Strict&force=true`, manifest, 'application/apply-patch+yaml').then(() => 'taken', String);
      expect([manifest.kind, manifest.metadata.name, answer]).toEqual([manifest.kind, manifest.metadata.name, 'taken']);
    }
  });

  it('renders the layers as Deployments without the operator, and PITR with a restore', async () => {
    const least = ['--set', 'secrets.existing=hal9', '--set', 'temporal.address=temporal:7233'];
    const plain = await rendered(...least, '--set', 'operator.enabled=false', '--set', 'neurons.L2.autoscaling.enabled=true');
    const names = plain.map(({ kind, metadata }) => `${kind} ${metadata.name}`);
    expect(names).toEqual(expect.arrayContaining(['Deployment hal9-l2', 'Deployment hal9-l3', 'Deployment hal9-l4', 'Deployment hal9-external', 'HorizontalPodAutoscaler hal9-l2']));
    expect(names.filter((name) => /HAL9Cluster|operator/.test(name))).toEqual([]);
    const restored = await rendered(...least, '--set', 'postgresql.inCluster.enabled=true', '--set', 'postgresql.inCluster.backup.enabled=true', '--set', 'postgresql.inCluster.backup.destination=s3://backups/hal9', '--set', 'postgresql.inCluster.backup.credentials.secret=s3', '--set', 'postgresql.inCluster.restore.enabled=true', '--set', 'postgresql.inCluster.restore.serverName=hal9-postgres', '--set-string', 'postgresql.inCluster.restore.targetTime=2026-11-21T12:00:00Z');
    expect(restored.find(({ kind }) => kind === 'Cluster')).toMatchObject({ spec: { bootstrap: { recovery: { source: 'origin', recoveryTarget: { targetTime: '2026-11-21T12:00:00Z' } } }, plugins: [{ isWALArchiver: true }] } });
    expect(restored.map(({ kind }) => kind)).toEqual(expect.arrayContaining(['ObjectStore', 'ScheduledBackup']));
    // The database comes with the release, so the migrations are one of its jobs and no hook.
    expect(restored.find(({ kind, metadata }) => kind === 'Job' && metadata.name.startsWith('hal9-migrate'))).toMatchObject({ metadata: { name: 'hal9-migrate-1' } });
  });

  it('runs a recovery worker where there are backups, with PostgreSQL of their version, and schedules its drills', async () => {
    const least = ['--set', 'secrets.existing=hal9', '--set', 'temporal.address=temporal:7233', '--set', 'backups.enabled=true', '--set', 'image.tag=v1'];
    const settings = (manifests: readonly Manifest[]): unknown => manifests.find(({ kind, metadata }) => kind === 'ConfigMap' && metadata.name === 'hal9-settings');
    const organisation = '0198c0de-0000-7000-8000-000000000001';
    const drilled = await rendered(...least, '--set', 'backups.postgresql=17', '--set', `backups.drill.organisation=${organisation}`, '--set', 'backups.drill.storageClass=fast');
    expect(drilled.find(({ kind, metadata }) => kind === 'StatefulSet' && metadata.name === 'hal9-recovery')).toMatchObject({
      spec: {
        volumeClaimTemplates: [{ metadata: { name: 'scratch' }, spec: { storageClassName: 'fast', resources: { requests: { storage: '100Gi' } } } }],
        template: {
          spec: {
            // The account that backups belong to.
            securityContext: { runAsUser: 999, runAsNonRoot: true },
            containers: [{
              image: 'ghcr.io/hal9/hal9:v1-recovery-17',
              env: expect.arrayContaining([{ name: 'HAL9_BACKUPS', value: '/backups' }, { name: 'HAL9_RECOVERY_SCRATCH', value: '/scratch/drills' }]) as unknown,
              volumeMounts: expect.arrayContaining([{ name: 'backups', mountPath: '/backups', readOnly: true }]) as unknown,
              securityContext: { readOnlyRootFilesystem: true, allowPrivilegeEscalation: false },
            }],
          },
        },
      },
    });
    expect(drilled.find(({ metadata }) => metadata.name === 'hal9-backup-wal')).toMatchObject({ spec: { template: { spec: { containers: [{ image: 'postgres:17' }] } } } });
    expect(settings(drilled)).toMatchObject({ data: { HAL9_DRILL_CRON: '0 4 * * 0', HAL9_RECOVERY_ORG: organisation } });
    const idle = await rendered(...least, '--set', 'backups.drill.enabled=false');
    expect(idle.filter(({ metadata }) => metadata.name.includes('recovery'))).toEqual([]);
    expect(JSON.stringify(settings(idle))).not.toMatch(/DRILL|RECOVERY/);
  });

  it.each([
    ['a setting that the chart decides', ['--set', 'settings.HAL9_QUEUES=core'], /HAL9_QUEUES/],
    ['a secret among the settings', ['--set', 'settings.DATABASE_URL=postgres://u:p@h/d'], /DATABASE_URL/],
    ['an image that moves', ['--set', 'image.tag=latest'], /tag/],
    ['a value nobody knows', ['--set', 'api.replica=3'], /replica/],
    ['an ingress without a host', ['--set', 'ingress.enabled=true'], /ingress.host is needed/],
  ])('refuses %s', async (_what, args, message) => {
    await expect(rendered('--set', 'secrets.existing=hal9', '--set', 'temporal.address=temporal:7233', ...args)).rejects.toThrow(message);
  });

  it('refuses to begin without Temporal or without secrets', async () => {
    await expect(rendered('--set', 'secrets.existing=hal9')).rejects.toThrow('temporal.address is needed');
    await expect(rendered('--set', 'temporal.address=temporal:7233')).rejects.toThrow('secrets.existing, sealed, external or values is needed');
  });

  it('is as the how-to says, typed by a stranger', async () => {
    const blocks = (await blocksOf(ROOT, PAGE)).filter(({ options }) => options['covered-by'] === 'test/helm/chart.e2e.test.ts');
    expect(blocks.length).toBeGreaterThan(2);
    const page = join(folder, 'page.sh');
    await writeFile(page, ['set -euo pipefail', ...blocks.map(({ code }) => code)].join('\n'));
    await execute('bash', [page], { env: { ...environment(), DATABASE_URL: 'postgres://u:p@postgres/hal9', TEMPORAL: 'temporal:7233' }, cwd: ROOT, timeout: 200_000 }).catch((failure: { stdout: string; stderr: string }) => Promise.reject(new Error(failure.stdout + failure.stderr)));
  });

  /** The cluster as the operator's account of the release sees it. */
  async function asServiceAccount(): Promise<ControlPlane> {
    const { status } = await cluster.call<{ status: { token: string } }>('POST', `/api/v1/namespaces/${NAMESPACE}/serviceaccounts/hal9-operator/token`, { spec: { expirationSeconds: 3600 } });
    const kubeconfig = join(folder, 'operator.json');
    await writeFile(kubeconfig, JSON.stringify({
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [{ name: 'test', cluster: { server: cluster.server, 'certificate-authority-data': Buffer.from(cluster.ca).toString('base64') } }],
      users: [{ name: 'operator', user: { token: status.token } }],
      contexts: [{ name: 'test', context: { cluster: 'test', user: 'operator' } }],
      'current-context': 'test',
    }));
    return { ...cluster, kubeconfig };
  }
});
