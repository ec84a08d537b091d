import { activityInfo, cancellationSignal, heartbeat, sleep } from '@temporalio/activity';
import { NeuronStore } from '../../database/neurons.ts';
import { RolloutStore } from '../../database/rollouts.ts';
import { SignalReadStore } from '../../database/signal-reads.ts';
import type { Connections } from '../../platform/connections/connections.ts';
import { Egress } from '../../platform/connections/egress.ts';
import { MERGE_PATCH, type KubernetesApi } from '../../platform/connections/kubernetes.ts';
import { loadKeyRing } from '../../platform/keys/load.ts';
import { ROLLOUT_ANNOTATIONS } from '../../schemas/names/rollouts.ts';
import { TASK_QUEUES } from '../../schemas/names/task-queues.ts';
import type { RolloutService, Strategy, Verdict } from '../../schemas/operations/rollout.ts';
import { activityRun } from '../activity-run.ts';
import { beating } from '../beating.ts';
import type { ActivityDependencies, RegisteredActivities } from '../dependencies.ts';
import { unaskable } from '../external/ask-neuron.ts';
import { createCallDependencies } from '../external/call-dependencies.ts';
import type { KubernetesActivities, Look, RolloutNeuronActivities, Target, Version } from './activity-contract.ts';
import { Clusters, problem } from './cluster.ts';
import { diagnose, isReady, podsOf } from './diagnosis.ts';
import { freezeAt } from './freeze.ts';
import { lookAt } from './look.ts';
import { lookByNeuron, type NeuronLookDependencies } from './neuron-look.ts';
import type { Service, Workload } from './objects.ts';
import { requirePermissions } from './permissions.ts';
import { RolloutRecorder } from './recorder.ts';
import { splitTraffic } from './traffic.ts';
import { imagesOf, isApart, nextDeployment, nextName, nextPath, nextSelector, nextService, servicePath, shapeOf, workloadPath } from './workload.ts';

const STRATEGIC_PATCH = 'application/strategic-merge-patch+json';
/** Pauses between reads while pods start, milliseconds: short at first, when most get ready. */
const POLL_MS = { first: 150, longest: 2_000 } as const;

export interface KubernetesActivityDependencies {
  readonly clusters: Clusters;
  readonly connections: Pick<Connections, 'open'>;
  readonly egress: Egress;
  readonly neurons: Pick<NeuronStore, 'named'>;
  readonly recorder: RolloutRecorder;
}

export function createKubernetesActivities(deps: KubernetesActivityDependencies): KubernetesActivities {
  const { recorder } = deps;
  const on = <Result>(target: Pick<Target, 'cluster'>, work: (api: KubernetesApi) => Promise<Result>): Promise<Result> => deps.clusters.use(activityRun().orgId, target.cluster, work);
  const standing: KubernetesActivities['standing'] = (target) => on(target, async (api) => standingOf(await api.find<Workload>(workloadPath(target)), target));
  /** What the new version gets when everything goes to the workload. */
  const shareOfWorkload = async (target: Target): Promise<number> => ((await standing(target)) === 'new' ? 100 : 0);
  return {
    async inspect(cluster, service, strategy, rollbackWindowSeconds, wave = '') {
      await recorder.begin();
      const target = await on({ cluster }, (api) => inspect(api, cluster, service, strategy, rollbackWindowSeconds));
      await recorder.plan(target, wave);
      return target;
    },

    async claim(target) {
      await on(target, async (api) => {
        const { metadata } = await api.get<Workload>(workloadPath(target));
        const holder = metadata?.annotations?.[ROLLOUT_ANNOTATIONS.run];
        if (holder === activityRun().runId) return;
        if (holder !== undefined) throw problem('busy', `${target.kind} ${target.name} is being rolled out by the run ${holder}`);
        await api.patch(workloadPath(target), { metadata: { resourceVersion: metadata?.resourceVersion, annotations: { [ROLLOUT_ANNOTATIONS.run]: activityRun().runId } } }, MERGE_PATCH);
      });
      await recorder.did(target, 'begun', { state: 'running' });
    },

    async release(target, promoted) {
      const state = await on(target, async (api) => {
        const found = await api.find<Workload>(workloadPath(target));
        if (found?.metadata?.annotations?.[ROLLOUT_ANNOTATIONS.run] === activityRun().runId) {
          const noted = promoted ? { [ROLLOUT_ANNOTATIONS.previous]: JSON.stringify(target.from), [ROLLOUT_ANNOTATIONS.promotedAt]: new Date().toISOString() } : {};
          await api.patch(workloadPath(target), { metadata: { annotations: { [ROLLOUT_ANNOTATIONS.run]: null, ...noted } } }, MERGE_PATCH);
        }
        return standingOf(found, target);
      });
      await recorder.did(target, promoted ? 'out' : 'taken back', { state: promoted ? 'new' : state });
    },

    async scale(target, next, stable) {
      await on(target, (api) => scale(api, target, next, stable));
      await recorder.did(target, `${next} new beside ${stable} old pods`, isApart(target) ? {} : { share: (100 * next) / (next + stable) });
    },
    awaitReady: (target, version, deadlineSeconds) => on(target, (api) => awaitReady(api, target, version, deadlineSeconds)),
    async setWeight(target, traffic, weight) {
      await on(target, (api) => splitTraffic(api, target, traffic, weight));
      await recorder.did(target, `${weight} % beside by ${traffic.kind}`, { share: weight === 0 ? () => shareOfWorkload(target) : weight });
    },
    async switchTo(target, version) {
      await on(target, (api) => switchTo(api, target, version));
      await recorder.did(target, version === 'next' ? 'the Service sends to the new pods' : 'the Service sends to the workload', { share: version === 'next' ? 100 : () => shareOfWorkload(target) });
    },
    async setImages(target, version) {
      await on(target, (api) => setImages(api, target, version));
      // Of blue and green the Service decides.
      await recorder.did(target, version === 'next' ? 'the workload gets the new images' : 'the workload has the old images', target.strategy.kind === 'blue-green' && !target.isReturn ? {} : { share: version === 'next' ? 100 : 0 });
    },
    async removeNext(target) {
      await on(target, (api) => removeNext(api, target));
      if (target.strategy.kind !== 'rolling') await recorder.did(target, 'nothing runs beside', {});
    },
    standing,
    look: (look) => takeLook(deps, look),
    async requireNeurons(names) {
      for (const name of names) {
        const reason = unaskable(await deps.neurons.named(activityRun().orgId, name));
        if (reason !== undefined) throw problem('neuron-unusable', `${name}: ${reason}`);
      }
    },
    frozen: (calendar) => Promise.resolve(freezeAt(calendar, new Date())),
  };
}

export function createRolloutNeuronActivities(deps: NeuronLookDependencies & { readonly recorder: RolloutRecorder }): RolloutNeuronActivities {
  return {
    lookByNeurons: (look) => {
      const { orgId } = activityRun();
      const { activityId, workflowExecution } = activityInfo();
      const key = `${workflowExecution?.runId ?? ''}/${activityId}/1`;
      return beating(async (signal) => {
        const verdicts = await Promise.all(look.metrics.map((metric) => lookByNeuron(deps, { orgId, key, look, signal }, metric)));
        await deps.recorder.judged(look.target, key, verdicts);
        return verdicts;
      });
    },
  };
}

async function inspect(api: KubernetesApi, cluster: string, service: RolloutService, strategy: Strategy, rollbackWindowSeconds: number): Promise<Target> {
  const { namespace, kind, name: called, images: to } = service;
  const name = service.workload ?? called;
  const place = { namespace, kind, name };
  await requirePermissions(api, place, strategy, service.service !== undefined);
  const workload = await api.get<Workload>(workloadPath(place));
  const template = workload.spec?.template;
  const containers = Object.keys(to);
  const now = imagesOf(template, containers);
  const unknown = containers.filter((container) => now[container] === undefined);
  if (unknown.length > 0) throw problem('unknown-container', `${kind} ${name} has no container ${unknown.join(', ')}`);
  const front = service.service === undefined ? undefined : await frontOf(api, namespace, service.service, name, template?.metadata?.labels ?? {});
  const annotations = workload.metadata?.annotations ?? {};
  const from = Object.fromEntries(containers.map((container) => [container, now[container] ?? '']));
  const target: Target = {
    cluster,
    service: called,
    ...place,
    uid: workload.metadata?.uid ?? '',
    replicas: workload.spec?.replicas ?? 1,
    from,
    to,
    shape: shapeOf(template, containers),
    ...(front === undefined ? {} : { front }),
    strategy,
    isReturn: isReturn(annotations, to, rollbackWindowSeconds),
  };
  const holder = annotations[ROLLOUT_ANNOTATIONS.run];
  if (holder !== undefined && holder !== activityRun().runId) throw problem('busy', `${kind} ${name} is being rolled out by the run ${holder}`);
  // What the API server or an admission webhook would refuse is known before anything changes.
  await api.patch(`${workloadPath(place)}?dryRun=All`, imagePatch(target.to, workload), STRATEGIC_PATCH);
  if (strategy.kind !== 'rolling' && (await api.find(nextPath(target))) === undefined) await api.create(`${nextPath(target).replace(/\/[^/]+$/, '')}?dryRun=All`, nextDeployment(target, workload, 1));
  return target;
}

async function frontOf(api: KubernetesApi, namespace: string, name: string, workload: string, labels: Readonly<Record<string, string>>): Promise<NonNullable<Target['front']>> {
  const found = await api.get<Service>(servicePath(namespace, name));
  const selector = found.spec?.selector ?? {};
  const wrong = Object.entries(selector).filter(([key, value]) => labels[key] !== value);
  if (Object.keys(selector).length === 0 || wrong.length > 0) {
    const shown = Object.entries(selector).map(([key, value]) => `${key}=${value}`).join(',');
    throw problem('selector-mismatch', `the Service ${name} selects ${shown === '' ? 'nothing' : shown}, which the pods of ${workload} are not`);
  }
  return { name, selector };
}

function isReturn(annotations: Readonly<Record<string, string>>, to: Readonly<Record<string, string>>, windowSeconds: number): boolean {
  const at = Date.parse(annotations[ROLLOUT_ANNOTATIONS.promotedAt] ?? '');
  const previous = annotations[ROLLOUT_ANNOTATIONS.previous];
  if (previous === undefined || !(Date.now() - at <= windowSeconds * 1000)) return false;
  const replaced = new Map(Object.entries(JSON.parse(previous) as Record<string, string>));
  return Object.entries(to).every(([container, image]) => replaced.get(container) === image);
}

function standingOf(workload: Workload | undefined, target: Target): 'new' | 'old' | 'edited' {
  const containers = Object.keys(target.to);
  const template = workload?.spec?.template;
  if (workload === undefined || workload.metadata?.uid !== target.uid || shapeOf(template, containers) !== target.shape) return 'edited';
  const now = imagesOf(template, containers);
  const isOf = (images: Readonly<Record<string, string>>): boolean => containers.every((container) => now[container] === images[container]);
  return isOf(target.to) ? 'new' : isOf(target.from) ? 'old' : 'edited';
}

/** @throws {ApplicationFailure} `edited-elsewhere` when the template is none that this rollout knows. */
async function ownWorkload(api: KubernetesApi, target: Target): Promise<Workload> {
  const workload = await api.get<Workload>(workloadPath(target));
  if (standingOf(workload, target) === 'edited') throw problem('edited-elsewhere', `${target.kind} ${target.name} was changed by somebody else while the rollout ran`);
  return workload;
}

async function scale(api: KubernetesApi, target: Target, next: number, stable: number): Promise<void> {
  const workload = await ownWorkload(api, target);
  const beside = await api.find<Workload>(nextPath(target));
  if (beside === undefined) await api.create(nextPath(target).replace(/\/[^/]+$/, ''), nextDeployment(target, workload, next));
  else if (JSON.stringify(imagesOf(beside.spec?.template, Object.keys(target.to))) !== JSON.stringify(target.to)) {
    // Left by a rollout that was ended by force: not ours to serve. The next attempt makes a new one.
    await api.remove(nextPath(target));
    throw new Error(`${nextName(target.name)} is of another rollout and is being removed`);
  } else if (beside.spec?.replicas !== next) await api.patch(nextPath(target), { spec: { replicas: next } }, MERGE_PATCH);
  if (isApart(target) && target.front !== undefined) {
    const path = servicePath(target.namespace);
    if ((await api.find(`${path}/${nextName(target.front.name)}`)) === undefined) await api.create(path, nextService(target, await api.get<Service>(servicePath(target.namespace, target.front.name))));
  }
  if (workload.spec?.replicas !== stable) await api.patch(workloadPath(target), { spec: { replicas: stable } }, MERGE_PATCH);
}

async function awaitReady(api: KubernetesApi, target: Target, version: Version, deadlineSeconds: number): Promise<void> {
  const path = version === 'stable' ? workloadPath(target) : nextPath(target);
  const deadline = activityInfo().scheduledTimestampMs + deadlineSeconds * 1000;
  for (let pause: number = POLL_MS.first; ; pause = Math.min(pause * 1.3, POLL_MS.longest)) {
    const workload = await api.get<Workload>(path, cancellationSignal());
    if (isReady(workload)) return;
    if (Date.now() > deadline) {
      const { code, message } = await diagnose(api, target.namespace, workload, deadlineSeconds);
      throw problem(code, message);
    }
    heartbeat();
    await sleep(pause);
  }
}

async function switchTo(api: KubernetesApi, target: Target, version: Version): Promise<void> {
  if (target.front === undefined) return;
  const path = servicePath(target.namespace, target.front.name);
  const { metadata, spec } = await api.get<Service>(path);
  const selectors = { stable: target.front.selector, next: nextSelector(target.front.selector) };
  const now = JSON.stringify(spec?.selector ?? {});
  if (sameSelector(spec?.selector, selectors[version])) return;
  if (!sameSelector(spec?.selector, selectors[version === 'stable' ? 'next' : 'stable'])) throw problem('edited-elsewhere', `the selector of the Service ${target.front.name} was changed by somebody else to ${now}`);
  await api.patch(path, { metadata: { resourceVersion: metadata?.resourceVersion }, spec: { selector: selectors[version] } }, MERGE_PATCH);
}

function sameSelector(found: Readonly<Record<string, string>> | undefined, wanted: Readonly<Record<string, string>>): boolean {
  const keys = Object.keys(wanted);
  return found !== undefined && Object.keys(found).length === keys.length && keys.every((key) => found[key] === wanted[key]);
}

async function setImages(api: KubernetesApi, target: Target, version: Version): Promise<void> {
  const workload = await ownWorkload(api, target);
  const images = version === 'stable' ? target.from : target.to;
  // Only a canary by replicas takes some from the old version; otherwise they are the autoscaler's.
  const taken = target.strategy.kind === 'canary' && target.strategy.traffic === undefined && (workload.spec?.replicas ?? 0) < target.replicas;
  if (standingOf(workload, target) !== (version === 'stable' ? 'old' : 'new') || taken) await api.patch(workloadPath(target), imagePatch(images, workload, taken ? target.replicas : undefined), STRATEGIC_PATCH);
  if (version === 'stable' && target.kind === 'StatefulSet') await removeStuck(api, target, workload);
}

/**
 * A StatefulSet waits for a pod to get ready before it replaces it, whatever its template says now: one that never does must be taken away
 * (https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/#forced-rollback).
 */
async function removeStuck(api: KubernetesApi, target: Target, workload: Workload): Promise<void> {
  const containers = Object.keys(target.to);
  for (const { metadata, spec, status } of await podsOf(api, target.namespace, workload)) {
    const now = imagesOf(spec === undefined ? undefined : { spec }, containers);
    const isNew = containers.every((container) => now[container] === target.to[container]);
    const isReadyPod = status?.conditions?.some((condition) => condition.type === 'Ready' && condition.status === 'True') === true;
    const isOwn = metadata?.ownerReferences?.some(({ uid }) => uid === target.uid) === true;
    if (isOwn && isNew && !isReadyPod && metadata.name !== undefined) await api.remove(`/api/v1/namespaces/${target.namespace}/pods/${metadata.name}`);
  }
}

/** Only if nobody wrote in between: the API server refuses another resource version. */
function imagePatch(images: Readonly<Record<string, string>>, workload: Workload, replicas?: number): unknown {
  const initial = new Set(workload.spec?.template.spec?.initContainers?.map(({ name }) => name));
  const list = Object.entries(images).map(([name, image]) => ({ name, image }));
  const initContainers = list.filter(({ name }) => initial.has(name));
  const containers = list.filter(({ name }) => !initial.has(name));
  const spec = { ...(containers.length === 0 ? {} : { containers }), ...(initContainers.length === 0 ? {} : { initContainers }) };
  return { metadata: { resourceVersion: workload.metadata?.resourceVersion }, spec: { ...(replicas === undefined ? {} : { replicas }), template: { spec } } };
}

async function removeNext(api: KubernetesApi, target: Target): Promise<void> {
  if (target.strategy.kind === 'rolling') return;
  await api.remove(nextPath(target));
  if (isApart(target) && target.front !== undefined) await api.remove(servicePath(target.namespace, nextName(target.front.name)));
}

async function takeLook(deps: KubernetesActivityDependencies, look: Look): Promise<Verdict[]> {
  const { orgId } = activityRun();
  const { activityId, workflowExecution } = activityInfo();
  return beating(async (signal) => {
    const cluster = <Result>(work: (api: KubernetesApi) => Promise<Result>): Promise<Result> => deps.clusters.use(orgId, look.target.cluster, work);
    for (let taken = 1; ; taken += 1) {
      const key = `${workflowExecution?.runId ?? ''}/${activityId}/${taken}`;
      const verdicts = await Promise.all(look.metrics.map((metric) => lookAt({ orgId, egress: deps.egress, connections: deps.connections, cluster, signal, key }, look, metric)));
      // Nothing is promoted on a verdict that nobody can read afterwards.
      await deps.recorder.judged(look.target, key, verdicts);
      if (taken >= look.looks || verdicts.some(({ outcome }) => outcome !== 'pass')) return verdicts;
      await sleep(look.intervalSeconds * 1000);
    }
  });
}

/** Discovered: workloads of Kubernetes clusters, and the neurons that judge what runs there. */
export default async function register({ config, database, logger }: ActivityDependencies): Promise<RegisteredActivities> {
  const egress = new Egress({ allowPrivate: config.HAL9_ALLOW_PRIVATE_ADDRESSES });
  const calls = createCallDependencies({ config, database }, await loadKeyRing(config), egress);
  const { connections } = calls;
  const [neurons, recorder] = [new NeuronStore(database), new RolloutRecorder(new RolloutStore(database), logger)];
  return {
    queues: {
      [TASK_QUEUES.core]: { ...createKubernetesActivities({ clusters: new Clusters(connections, egress), connections, egress, neurons, recorder }) },
      [TASK_QUEUES.neuronsExternal]: { ...createRolloutNeuronActivities({ neurons, signals: new SignalReadStore(database), calls, recorder }) },
    },
    shutdown: () => egress.close(),
  };
}
