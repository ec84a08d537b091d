import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { startStack, type Stack } from '../../deploy/local/stack.ts';
import type { Bench } from '../bench/arguments.ts';
import { startControlPlane, type ControlPlane } from '../cluster/control-plane.ts';
import { Shop } from '../rollout/shop.ts';
import { RolloutClient } from './rollout/client.ts';
import { randomFate } from './rollout/fate.ts';

const SMOKE = { runs: 2 } as const;
const FULL = { runs: 100 } as const;
/** Killed besides the processes of the stack. */
const API_SERVER = 'kube-apiserver';
/** Killing PostgreSQL is the business of `chaos signals`. */
const SPARED = new Set(['postgres', 'dispatcher']);
const END_MS = 300_000;

/**
 * Rolls one Deployment again and again, every time killing a part of the platform or of the cluster at a random moment; some of the versions never start, some are aborted.
 * Each rollout must end fully old or fully new, the Service never empty. Options: `--smoke`, `--runs N`, `--seed N`.
 */
export const run: Bench = async (args) => {
  const runs = args.number('runs', (args.options['smoke'] === undefined ? FULL : SMOKE).runs);
  const random = seeded(args.number('seed', 1));
  const began = performance.now();
  const cluster = await startControlPlane();
  let stack: Stack | undefined;
  const counted = { runs: 0, old: 0, new: 0, mixed: 0, emptyEndpoints: 0, servedFailed: 0 };
  const killed: Record<string, number> = {};
  try {
    stack = await startStack({ settings: { HAL9_DATA: join(args.folder, 'data'), HAL9_PORT: '0', HAL9_ALLOW_PRIVATE_ADDRESSES: 'true' }, processes: ['api', 'core', 'dispatcher'], progress: args.progress, signal: args.signal });
    const client = new RolloutClient({ url: stack.url, apiKey: apiKeyOf(stack), signal: args.signal });
    await client.connect('cluster', { kind: 'kubernetes', server: cluster.server, ca: cluster.ca, token: cluster.token });
    const shop = await Shop.open(cluster, 'shop');
    await shop.sells('web');
    const victims = [API_SERVER, ...stack.processes().flatMap(({ name }) => (SPARED.has(name) ? [] : [name]))];
    for (let index = 0; index < runs; index += 1) {
      const fate = randomFate(random, index);
      const victim = victims[Math.floor(random() * victims.length)] ?? API_SERVER;
      const before = (await shop.image('web')) ?? '';
      const watched = shop.watch('web');
      const runId = await client.start(shop.namespace, fate);
      await sleep(random() * 3000, undefined, { signal: args.signal });
      await kill(stack, cluster, victim);
      killed[victim] = (killed[victim] ?? 0) + 1;
      if (fate.aborted) await client.abort(runId);
      const outcome = await client.outcome(runId, END_MS);
      const after = await settled(shop);
      counted.emptyEndpoints += await watched.emptied();
      counted.runs += 1;
      const state = after === undefined ? 'mixed' : after === fate.image ? 'new' : after === before ? 'old' : 'mixed';
      counted[state] += 1;
      if (!fate.starts && state === 'new') counted.servedFailed += 1;
      args.progress(`${String(index + 1)} of ${String(runs)}: ${fate.strategy.kind}${fate.starts ? '' : ', never starts'}${fate.aborted ? ', aborted' : ''}, ${victim} killed: ${outcome}, ${state}`);
    }
    return { ...counted, killed, seconds: Math.round((performance.now() - began) / 1000) };
  } finally {
    await stack?.stop();
    await cluster.stop();
  }
};

async function kill(stack: Stack, cluster: ControlPlane, victim: string): Promise<void> {
  if (victim === API_SERVER) return cluster.restart(API_SERVER);
  stack.kill(victim, 'SIGKILL');
  await stack.whenReady(victim);
}

/** The image of all ready pods, once nothing is beside and nothing moves; undefined when that does not come. */
async function settled(shop: Shop): Promise<string | undefined> {
  for (let attempt = 0; attempt < 300; attempt += 1) {
    const { spec, status, metadata } = await shop.deployment('web');
    const images = new Set(await shop.images('web'));
    const [image] = images;
    if (images.size === 1 && image === spec.template.spec.containers[0]?.image && status.availableReplicas === spec.replicas && metadata.annotations?.['hal9.ai/rollout'] === undefined && (await shop.deployments()).length === 1) return image;
    await sleep(100);
  }
  return undefined;
}

function apiKeyOf({ first }: Stack): string {
  if (first === undefined) throw new Error('a fresh stack makes an organisation');
  return first.apiKey;
}

function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}
