import { createHash } from 'node:crypto';
import canonicalize from 'canonicalize';
import { NEXT_LABEL, NEXT_SUFFIX } from '../../schemas/names/rollouts.ts';
import type { Target } from './activity-contract.ts';
import type { Container, PodTemplate, Service, Workload } from './objects.ts';

const PLURALS = { Deployment: 'deployments', StatefulSet: 'statefulsets' } as const;
const LABEL_LENGTH = 63;

export function workloadPath({ namespace, kind, name }: Pick<Target, 'namespace' | 'kind' | 'name'>): string {
  return `/apis/apps/v1/namespaces/${namespace}/${PLURALS[kind]}/${name}`;
}

export function servicePath(namespace: string, name = ''): string {
  return `/api/v1/namespaces/${namespace}/services/${name}`.replace(/\/$/, '');
}

/** Name of what runs beside: the Deployment, its Service, its Ingress. */
export function nextName(name: string): string {
  return `${name}${NEXT_SUFFIX}`;
}

export function nextPath(target: Target): string {
  return workloadPath({ ...target, kind: 'Deployment', name: nextName(target.name) });
}

/** Images of the containers named, as the template has them. */
export function imagesOf(template: PodTemplate | undefined, containers: readonly string[]): Record<string, string | undefined> {
  const all = [...(template?.spec?.containers ?? []), ...(template?.spec?.initContainers ?? [])];
  return Object.fromEntries(containers.map((name) => [name, all.find((container) => container.name === name)?.image]));
}

/** Digest of a pod template without the images of the containers named. */
export function shapeOf(template: PodTemplate | undefined, containers: readonly string[]): string {
  const without = (list: readonly Container[] | undefined) => list?.map((container) => (containers.includes(container.name) ? { ...container, image: '' } : container));
  const spec = template?.spec;
  const bare = { ...template, spec: { ...spec, containers: without(spec?.containers), ...(spec?.initContainers === undefined ? {} : { initContainers: without(spec.initContainers) }) } };
  return createHash('sha256').update(canonicalize(JSON.parse(JSON.stringify(bare))) ?? '').digest('hex');
}

/** The template with other images. */
export function withImages(template: PodTemplate, images: Readonly<Record<string, string>>): PodTemplate {
  const set = (list: readonly Container[]): Container[] => list.map((container) => ({ ...container, ...imageFor(images[container.name]) }));
  const spec = template.spec;
  if (spec === undefined) return template;
  return { ...template, spec: { ...spec, containers: set(spec.containers), ...(spec.initContainers === undefined ? {} : { initContainers: set(spec.initContainers) }) } };
}

function imageFor(image: string | undefined): { image: string } | Record<string, never> {
  return image === undefined ? {} : { image };
}

/**
 * Labels by which only the pods beside are found. Where a Service splits or switches, they must not be behind the old one: every label it selects by gets
 * another value.
 */
export function nextLabels(target: Target, labels: Readonly<Record<string, string>>): Record<string, string> {
  const apart = isApart(target) ? Object.keys(target.front?.selector ?? {}) : [];
  return { ...Object.fromEntries(Object.entries(labels).map(([key, value]) => [key, apart.includes(key) ? nextValue(value) : value])), [NEXT_LABEL]: target.name };
}

/** Whom the Service selects when it points to the version beside. */
export function nextSelector(selector: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(selector).map(([key, value]) => [key, nextValue(value)]));
}

/** Whether the new pods stand apart from the Service until traffic is sent to them. */
export function isApart({ strategy }: Pick<Target, 'strategy'>): boolean {
  return strategy.kind === 'blue-green' || (strategy.kind === 'canary' && strategy.traffic !== undefined);
}

function nextValue(value: string): string {
  return `${value.slice(0, LABEL_LENGTH - NEXT_SUFFIX.length)}${NEXT_SUFFIX}`;
}

/** The Deployment that runs the new version beside the old one. It goes when the old one is deleted. */
export function nextDeployment(target: Target, stable: Workload, replicas: number): unknown {
  const template = stable.spec?.template;
  if (template === undefined) throw new TypeError('a workload has a pod template');
  const labels = nextLabels(target, template.metadata?.labels ?? {});
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: {
      name: nextName(target.name),
      namespace: target.namespace,
      labels: { [NEXT_LABEL]: target.name },
      ownerReferences: [{ apiVersion: 'apps/v1', kind: target.kind, name: target.name, uid: target.uid }],
    },
    spec: {
      replicas,
      selector: { matchLabels: { [NEXT_LABEL]: target.name } },
      template: { ...withImages(template, target.to), metadata: { ...template.metadata, labels } },
    },
  };
}

/** The Service of the version beside, for those who split traffic between Services. */
export function nextService(target: Target, stable: Service): unknown {
  const { ports = [], sessionAffinity } = stable.spec ?? {};
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: nextName(target.front?.name ?? target.name), namespace: target.namespace, labels: { [NEXT_LABEL]: target.name }, ownerReferences: [{ apiVersion: 'apps/v1', kind: target.kind, name: target.name, uid: target.uid }] },
    spec: { ...(sessionAffinity === undefined ? {} : { sessionAffinity }), ports: ports.map((port) => ({ ...port, nodePort: undefined })), selector: nextSelector(target.front?.selector ?? {}) },
  };
}

/** Regular expressions of the names of the pods of both versions, for queries. */
export function podPatterns({ name, kind }: Pick<Target, 'name' | 'kind'>): { oldPods: string; newPods: string } {
  const old = kind === 'StatefulSet' ? `${name}-[0-9]+` : `${name}-[a-z0-9]{1,10}-[a-z0-9]{5}`;
  return { oldPods: old, newPods: `${nextName(name)}-[a-z0-9]{1,10}-[a-z0-9]{5}` };
}
