import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { startStack, type Stack } from '../../deploy/local/stack.ts';
import { startControlPlane, type ControlPlane } from '../cluster/control-plane.ts';
import { startHttpServer, type LocalServer } from '../environment/http-server.ts';
import { askAsAdministrator, type Ask } from '../environment/stack-client.ts';
import { Shop } from '../rollout/shop.ts';
import type { Bench } from './arguments.ts';

const REPLICAS = 3;
const RUN_MS = 600_000;
/** Beside two intervals: time to notice, to decide and to take back. */
const GRACE_S = 5;
const STRATEGIC_PATCH = 'application/strategic-merge-patch+json';

const startedSchema = z.object({ runId: z.string() });
const resultSchema = z.object({ status: z.string(), result: z.object({ outcome: z.string(), reason: z.string() }).optional() });

/**
 * How long a rollout takes on a real control plane, whose pods are ready at once. `deploySeconds`: of a Deployment of three replicas, without a soak, from the start over REST to its result.
 * `limitSeconds`: the same change by a patch of the Deployment alone. `rollbackSeconds`: from the moment a watched check begins to fail to the result that everything is back;
 * `allowedSeconds`: two intervals and 5 s. All are the longest of the rounds. Options: `--rounds N` (default 5), `--interval SECONDS` (default 2).
 */
export const run: Bench = async (args) => {
  const [rounds, intervalSeconds] = [args.number('rounds', 5), args.number('interval', 2)];
  const health = await startHttpServer();
  const cluster = await startControlPlane();
  let stack: Stack | undefined;
  try {
    stack = await startStack({ settings: { HAL9_DATA: join(args.folder, 'data'), HAL9_PORT: '0', HAL9_ALLOW_PRIVATE_ADDRESSES: 'true' }, processes: ['api', 'core', 'dispatcher'], progress: args.progress, signal: args.signal });
    const ask = askAsAdministrator(stack, args.signal);
    await ask('POST', '/v1/connections', { name: 'cluster', settings: { kind: 'kubernetes', server: cluster.server, ca: cluster.ca, token: cluster.token } });
    const shop = await Shop.open(cluster, 'shop');
    const [deploys, limits, rollbacks]: [number[], number[], number[]] = [[], [], []];
    await shop.sells('web', 'shop/web:0', REPLICAS);
    for (let round = 1; round <= rounds; round += 1) {
      limits.push(await timed(() => patched(cluster, shop, `shop/web:raw-${String(round)}`)));
      deploys.push(await timed(async () => expectOutcome('promoted', await ended(ask, await start(ask, shop, `shop/web:${String(round)}`, {})))));
      health.answer = (_, response) => response.end();
      const metrics = [{ name: 'page', source: { kind: 'http', url: health.url } }];
      const runId = await start(ask, shop, `shop/web:bad-${String(round)}`, { strategy: { kind: 'canary', steps: [{ weight: 25, soakSeconds: 3600 }] }, analysis: { intervalSeconds, metrics } });
      await watchedOnce(health, args.signal);
      health.answer = (_, response) => response.writeHead(500).end();
      rollbacks.push(await timed(async () => expectOutcome('rolled-back', await ended(ask, runId))));
      args.progress(`${String(round)} of ${String(rounds)}: out in ${seconds(deploys)} s (a patch alone: ${seconds(limits)} s), back in ${seconds(rollbacks)} s`);
    }
    return { rounds, replicas: REPLICAS, deploySeconds: seconds(deploys), limitSeconds: seconds(limits), intervalSeconds, rollbackSeconds: seconds(rollbacks), allowedSeconds: 2 * intervalSeconds + GRACE_S };
  } finally {
    await stack?.stop();
    await cluster.stop();
    await health.close();
  }
};

async function start(ask: Ask, shop: Shop, image: string, more: object): Promise<string> {
  const input = { services: [{ name: 'web', namespace: shop.namespace, service: 'web', images: { main: image } }], waves: [{ name: 'all', clusters: ['cluster'] }], ...more };
  return startedSchema.parse(await ask('POST', '/v1/workflows/rollout/runs', { input })).runId;
}

/** Resolves when the check was made once. */
async function watchedOnce(health: LocalServer, signal: AbortSignal): Promise<void> {
  const before = health.received.length;
  while (health.received.length === before) await sleep(20, undefined, { signal });
}

async function ended(ask: Ask, runId: string): Promise<{ outcome: string; reason: string }> {
  for (const until = Date.now() + RUN_MS; Date.now() < until; ) {
    const { status, result } = resultSchema.parse(await ask('GET', `/v1/runs/${runId}/result?waitSeconds=30`));
    if (result !== undefined) return result;
    if (status !== 'running') throw new Error(`the run ended as ${status}`);
  }
  throw new Error('the run did not end in time');
}

function expectOutcome(wanted: string, { outcome, reason }: { outcome: string; reason: string }): void {
  if (outcome !== wanted) throw new Error(`the rollout was to be ${wanted} and is ${outcome}: ${reason}`);
}

/** The change without HAL9, until every pod is of the new image and ready. */
async function patched(cluster: ControlPlane, shop: Shop, image: string): Promise<void> {
  await cluster.call('PATCH', shop.path('apps/v1/deployments', 'web'), { spec: { template: { spec: { containers: [{ name: 'main', image }] } } } }, STRATEGIC_PATCH);
  for (;;) {
    const [images, pods] = await Promise.all([shop.images('web'), shop.readyPods('web')]);
    if (images.length === REPLICAS && pods.length === REPLICAS && images.every((found) => found === image)) return;
    await sleep(50);
  }
}

async function timed(work: () => Promise<void>): Promise<number> {
  const began = performance.now();
  await work();
  return (performance.now() - began) / 1000;
}

/** The longest. */
function seconds(measured: readonly number[]): number {
  return Number(Math.max(...measured).toFixed(2));
}
