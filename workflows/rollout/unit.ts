import { proxyActivities, sleep } from '@temporalio/workflow';
import type { KubernetesActivities, Target, Version } from '../../activities/kubernetes/activity-contract.ts';
import { check, soak, type Analysis } from './analysis.ts';
import { replicasAt, type Unit } from './standing.ts';

const RETRY = { initialInterval: '250 milliseconds', maximumInterval: '3 seconds' } as const;

/** Tried until the API server answers: a rollout outlives its absence. */
const { claim, release, scale, setWeight, switchTo, setImages, removeNext, standing: standingOf, frozen } = proxyActivities<KubernetesActivities>({ startToCloseTimeout: '1 minute', retry: RETRY });

/** Longest wait for the old version's pods when going back. */
const BACK_SECONDS = 300;
const MILLISECONDS = 1000;
const LONGEST_SLEEP_MS = 3_600_000;

/** Brings one unit out. Whatever it throws, {@link rollBack} goes back from there. */
export async function bringOut(rollout: Analysis, unit: Unit): Promise<void> {
  const { target, view } = unit;
  view.state = 'running';
  await claim(target);
  const kind = target.isReturn ? 'rolling' : target.strategy.kind;
  if (kind === 'canary') await canary(rollout, unit);
  else if (kind === 'blue-green') await blueGreen(rollout, unit);
  else await rolling(rollout, unit);
  await check(rollout, unit, 'after', 'after');
  view.state = 'new';
}

async function rolling(rollout: Analysis, unit: Unit): Promise<void> {
  const { target } = unit;
  await thaw(rollout);
  await check(rollout, unit, 'before', 'before');
  say(rollout, unit, 'rolling');
  await setImages(target, 'next');
  await ready(rollout, target, 'stable');
  await soak(rollout, unit, 'out', 0);
}

async function canary(rollout: Analysis, unit: Unit): Promise<void> {
  const { target } = unit;
  if (target.strategy.kind !== 'canary') return;
  const { steps, traffic } = target.strategy;
  let stable = target.replicas;
  for (const step of steps) {
    const name = `canary ${String(step.weight)} %`;
    await thaw(rollout);
    say(rollout, unit, name);
    await rollout.people.approve(step.approval, `${name} of ${target.service} in ${target.cluster}`);
    const wanted = traffic === undefined ? replicasAt(step.weight, target.replicas) : { next: Math.max(1, Math.ceil((target.replicas * step.weight) / 100)), stable: target.replicas };
    await scale(target, wanted.next, stable);
    await ready(rollout, target, 'next');
    // The old pods go when the new ones are there, never before.
    if (wanted.stable !== stable) await scale(target, wanted.next, wanted.stable);
    stable = wanted.stable;
    if (traffic !== undefined) await setWeight(target, traffic, step.weight);
    await soak(rollout, unit, name, step.soakSeconds);
  }
  await check(rollout, unit, 'before', 'before promotion');
  await thaw(rollout);
  say(rollout, unit, 'promoting');
  await setImages(target, 'next');
  await ready(rollout, target, 'stable');
  if (traffic !== undefined) await setWeight(target, traffic, 0);
  await removeNext(target);
}

/** The Service points to the pods beside while the workload itself is replaced behind it, and back. */
async function blueGreen(rollout: Analysis, unit: Unit): Promise<void> {
  const { target } = unit;
  if (target.strategy.kind !== 'blue-green') return;
  const { approval, soakSeconds, scaleDownDelaySeconds } = target.strategy;
  await thaw(rollout);
  say(rollout, unit, 'preview');
  await scale(target, target.replicas, target.replicas);
  await ready(rollout, target, 'next');
  await check(rollout, unit, 'before', 'preview');
  await rollout.people.approve(approval, `switching ${target.service} in ${target.cluster}`);
  await thaw(rollout);
  say(rollout, unit, 'switched');
  await switchTo(target, 'next');
  await soak(rollout, unit, 'switched', soakSeconds);
  say(rollout, unit, 'promoting');
  await setImages(target, 'next');
  await ready(rollout, target, 'stable');
  await switchTo(target, 'stable');
  if (scaleDownDelaySeconds > 0) await sleep(scaleDownDelaySeconds * MILLISECONDS);
  await removeNext(target);
}

/** Goes back from wherever the unit is. Somebody else's change is left as it is. */
export async function rollBack(rollout: Analysis, unit: Unit): Promise<void> {
  const { target, view } = unit;
  const { strategy } = target;
  say(rollout, unit, 'rolling back');
  if (strategy.kind === 'canary' && strategy.traffic !== undefined) await setWeight(target, strategy.traffic, 0);
  const found = await standingOf(target);
  // While the workload is still the old version, its pods are ready: nothing is faster than to point at them.
  if (strategy.kind === 'blue-green' && found === 'old') await switchTo(target, 'stable');
  if (found !== 'edited') {
    await setImages(target, 'stable');
    await awaitReadyWithin(BACK_SECONDS)(target, 'stable', BACK_SECONDS).catch(() => undefined);
  }
  if (strategy.kind === 'blue-green' && found !== 'old') await switchTo(target, 'stable');
  await removeNext(target);
  await release(target, false);
  view.state = await standingOf(target);
}

/** The unit is out for good. */
export async function conclude({ target }: Unit): Promise<void> {
  await release(target, true);
}

/** Waits out a freeze: no step forward is taken in one. */
export async function thaw({ input, standing }: Analysis): Promise<void> {
  if (input.freeze.length === 0) return;
  for (;;) {
    const freeze = await frozen(input.freeze);
    if (freeze === null) break;
    standing.waitingFor = `freeze until ${freeze.until}: ${freeze.reason}`;
    await sleep(Math.min(Math.max(MILLISECONDS, Date.parse(freeze.until) - Date.now()), LONGEST_SLEEP_MS));
  }
  standing.waitingFor = null;
}

function say({ standing }: Analysis, { target }: Unit, step: string): void {
  standing.step = `${target.service} in ${target.cluster}: ${step}`;
}

function ready({ input }: Analysis, target: Target, version: Version): Promise<void> {
  return awaitReadyWithin(input.progressDeadlineSeconds)(target, version, input.progressDeadlineSeconds);
}

function awaitReadyWithin(seconds: number): KubernetesActivities['awaitReady'] {
  return proxyActivities<KubernetesActivities>({ startToCloseTimeout: `${Math.ceil(seconds) + 120} seconds`, heartbeatTimeout: '15 seconds', retry: RETRY }).awaitReady;
}
