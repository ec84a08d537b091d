import type { ChildProcess } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Agent, fetch } from 'undici';
import { endProcess, hasEnded, spawnOwned } from '../../deploy/local/child-process.ts';
import { freePort } from '../../platform/telemetry/free-port.ts';
import { clusterTools, CONTROL_PLANE, type ClusterPart } from './tools.ts';

const READY_MS = 120_000;

/** Whoever holds it may do everything (group system:masters). */
const ADMIN_TOKEN = 'administrator-of-the-test-cluster';

/** A real control plane on loopback; its nodes are kwok's: pods get ready and run nothing. */
export interface ControlPlane {
  /** Address of kube-apiserver. */
  readonly server: string;
  /** PEM of who signed its certificate. */
  readonly ca: string;
  readonly token: string;
  /** For kubectl, helm and the like. */
  readonly kubeconfig: string;
  /** Kills a part with SIGKILL and starts it again; resolves when the API answers again. */
  restart(part: 'kube-apiserver' | 'kube-controller-manager'): Promise<void>;
  /** Calls the API as administrator. @throws {Error} with the answer unless it is 2xx. */
  call<Answer = unknown>(method: string, path: string, body?: unknown, contentType?: string): Promise<Answer>;
  stop(): Promise<void>;
}

type Running = (typeof CONTROL_PLANE)[number];

/** Starts one; all its data is under a temporary folder. */
export async function startControlPlane(): Promise<ControlPlane> {
  const tools = await clusterTools(CONTROL_PLANE);
  const folder = await mkdtemp(join(tmpdir(), 'hal9-cluster-'));
  const [etcdPort, peerPort, port] = [await freePort(), await freePort(), await freePort()];
  const at = (name: string): string => join(folder, name);
  const server = `https://127.0.0.1:${port}`;
  const etcd = `http://127.0.0.1:${etcdPort}`;
  const kubeconfig = at('kubeconfig.json');
  await mkdir(at('certificates'));
  await writeServiceAccountKeys(at('sa.key'), at('sa.pub'));
  await writeFile(at('tokens.csv'), `${ADMIN_TOKEN},administrator,administrator,system:masters\n`);
  await writeFile(kubeconfig, JSON.stringify(kubeconfigOf(server, at('certificates/apiserver.crt'))));
  const argumentsOf: Record<Running, string[]> = {
    etcd: [`--data-dir=${at('etcd')}`, `--listen-client-urls=${etcd}`, `--advertise-client-urls=${etcd}`, `--listen-peer-urls=http://127.0.0.1:${peerPort}`, `--initial-advertise-peer-urls=http://127.0.0.1:${peerPort}`, `--initial-cluster=default=http://127.0.0.1:${peerPort}`, '--unsafe-no-fsync', '--log-level=error'],
    'kube-apiserver': [`--etcd-servers=${etcd}`, `--secure-port=${port}`, '--bind-address=127.0.0.1', '--endpoint-reconciler-type=none', '--service-cluster-ip-range=10.96.0.0/16', '--authorization-mode=RBAC', `--token-auth-file=${at('tokens.csv')}`, `--cert-dir=${at('certificates')}`, `--service-account-issuer=${server}`, `--service-account-key-file=${at('sa.pub')}`, `--service-account-signing-key-file=${at('sa.key')}`, '--profiling=false'],
    'kube-controller-manager': [`--kubeconfig=${kubeconfig}`, '--leader-elect=false', `--service-account-private-key-file=${at('sa.key')}`, `--root-ca-file=${at('certificates/apiserver.crt')}`, '--use-service-account-credentials=false', '--secure-port=0', '--profiling=false', '--concurrent-deployment-syncs=5'],
    'kube-scheduler': [`--kubeconfig=${kubeconfig}`, '--leader-elect=false', '--secure-port=0', '--profiling=false'],
    kwok: [`--kubeconfig=${kubeconfig}`, '--manage-all-nodes=true', `--config=${join(import.meta.dirname, 'nodes.yaml')}`, '--cidr=10.200.0.0/16', '--node-ip=127.0.0.1', '--node-lease-duration-seconds=40'],
  };
  const children = new Map<Running, ChildProcess>();
  const logs = new Map<Running, string>();
  const launch = (part: Running): ChildProcess => {
    const child = spawnOwned(tools[part], argumentsOf[part], { deathSignal: 'KILL', env: { PATH: process.env['PATH'], HOME: folder } });
    const collect = (chunk: Buffer): void => void logs.set(part, `${logs.get(part) ?? ''}${chunk.toString()}`.slice(-8000));
    child.stdout?.on('data', collect);
    child.stderr?.on('data', collect);
    children.set(part, child);
    return child;
  };
  const stop = async (): Promise<void> => {
    await Promise.all([...children.values()].map((child) => endProcess(child, 'SIGKILL', 5000)));
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  };
  const until = async (what: string, holds: () => Promise<boolean>): Promise<void> => {
    const deadline = Date.now() + READY_MS;
    while (!(await holds())) {
      for (const [part, child] of children) if (hasEnded(child)) throw new Error(`${part} ended: ${logs.get(part) ?? ''}`);
      if (Date.now() > deadline) throw new Error(`${what} within ${READY_MS / 1000} s: ${[...logs].map(([part, log]) => `${part}: ${log.slice(-500)}`).join('\n')}`);
      await sleep(50);
    }
  };
  try {
    launch('etcd');
    launch('kube-apiserver');
    await until('no certificate', () => Promise.resolve(existsSync(at('certificates/apiserver.crt'))));
    const ca = await readFile(at('certificates/apiserver.crt'), 'utf8');
    const client = apiClient(server, ca);
    const isReady = (): Promise<boolean> => client.status('/readyz').then((status) => status === 200, () => false);
    await until('kube-apiserver does not get ready', isReady);
    for (const part of ['kube-controller-manager', 'kube-scheduler', 'kwok'] as const) launch(part);
    await client.call('POST', '/api/v1/nodes', { metadata: { name: 'node-1' } });
    await until('no default service account', () => client.status('/api/v1/namespaces/default/serviceaccounts/default').then((status) => status === 200));
    await until('the node does not get ready', async () => {
      const node = await client.call<{ status: { conditions?: { type: string; status: string }[] }; spec: { taints?: unknown[] } }>('GET', '/api/v1/nodes/node-1');
      return node.spec.taints === undefined && node.status.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') === true;
    });
    return {
      server,
      ca,
      token: ADMIN_TOKEN,
      kubeconfig,
      call: client.call,
      async restart(part) {
        const child = children.get(part);
        if (child !== undefined) await endProcess(child, 'SIGKILL', 5000);
        launch(part);
        await until(`${part} does not come back`, isReady);
      },
      async stop() {
        await client.close();
        await stop();
      },
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

function apiClient(server: string, ca: string) {
  const agent = new Agent({ connect: { ca } });
  const send = (method: string, path: string, body?: unknown, contentType = 'application/json') =>
    fetch(`${server}${path}`, { method, dispatcher: agent, headers: { authorization: `Bearer ${ADMIN_TOKEN}`, ...(body === undefined ? {} : { 'content-type': contentType }) }, body: body === undefined ? null : JSON.stringify(body) });
  return {
    async status(path: string): Promise<number> {
      const response = await send('GET', path);
      await response.text();
      return response.status;
    },
    call: async <Answer>(method: string, path: string, body?: unknown, contentType?: string): Promise<Answer> => {
      const response = await send(method, path, body, contentType);
      const text = await response.text();
      if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
      return JSON.parse(text) as Answer;
    },
    close: () => agent.close(),
  };
}

async function writeServiceAccountKeys(privateFile: string, publicFile: string): Promise<void> {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  await writeFile(privateFile, privateKey.export({ type: 'pkcs1', format: 'pem' }), { mode: 0o600 });
  await writeFile(publicFile, publicKey.export({ type: 'spki', format: 'pem' }));
}

function kubeconfigOf(server: string, certificate: string): unknown {
  return {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'test', cluster: { server, 'certificate-authority': certificate } }],
    users: [{ name: 'administrator', user: { token: ADMIN_TOKEN } }],
    contexts: [{ name: 'test', context: { cluster: 'test', user: 'administrator' } }],
    'current-context': 'test',
  };
}

/** Whether this machine can have the parts: found, cached, or Go to build them. Says once what to do where it cannot. */
export async function hasCluster(parts: readonly ClusterPart[] = CONTROL_PLANE): Promise<boolean> {
  try {
    await clusterTools(parts);
    return true;
  } catch (error) {
    if (process.env['CI'] === 'true') throw error;
    process.stderr.write(`NOT RUN: rollouts on Kubernetes; ${error instanceof Error ? error.message : String(error)}\n`);
    return false;
  }
}
