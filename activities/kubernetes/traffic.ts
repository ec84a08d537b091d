import { MERGE_PATCH, type KubernetesApi } from '../../platform/connections/kubernetes.ts';
import type { Traffic } from '../../schemas/operations/rollout.ts';
import type { Target } from './activity-contract.ts';
import { problem } from './cluster.ts';
import { nextName } from './workload.ts';

/** Of an HTTPRoute, gateway.networking.k8s.io/v1. */
interface BackendRef {
  readonly name: string;
  readonly weight?: number;
}
interface HttpRoute {
  readonly metadata: { readonly resourceVersion: string };
  readonly spec: { readonly rules?: readonly { readonly backendRefs?: readonly BackendRef[] }[] };
}
/** Of a VirtualService, networking.istio.io/v1. */
interface Destination {
  readonly destination: { readonly host: string };
  readonly weight?: number;
}
interface VirtualService {
  readonly metadata: { readonly resourceVersion: string };
  readonly spec: { readonly http?: readonly { readonly route?: readonly Destination[] }[] };
}
interface Ingress {
  readonly metadata: { readonly uid: string; readonly annotations?: Readonly<Record<string, string>> };
  readonly spec: unknown;
}

const NGINX = 'nginx.ingress.kubernetes.io';

/**
 * Sends a share of what goes to the Service to the one beside it; 0 takes away all that was added. Only routes that send everything to this
 * one Service are split: shares of shares are nobody's intention.
 * @param weight per cent.
 */
export async function splitTraffic(api: KubernetesApi, target: Target, traffic: Traffic, weight: number): Promise<void> {
  const front = target.front?.name ?? target.name;
  switch (traffic.kind) {
    case 'gateway':
      return splitRoute(api, `/apis/gateway.networking.k8s.io/v1/namespaces/${target.namespace}/httproutes/${traffic.route}`, front, weight);
    case 'istio':
      return splitVirtualService(api, `/apis/networking.istio.io/v1/namespaces/${target.namespace}/virtualservices/${traffic.virtualService}`, front, weight);
    case 'nginx':
      return splitIngress(api, target, traffic.ingress, front, weight);
  }
}

async function splitRoute(api: KubernetesApi, path: string, front: string, weight: number): Promise<void> {
  const { metadata, spec } = await api.get<HttpRoute>(path);
  const { changed, list } = split(spec.rules ?? [], (rule) => rule.backendRefs ?? [], (ref) => ref.name, (ref, name, share) => ({ ...ref, name, weight: share }), (rule, backendRefs) => ({ ...rule, backendRefs }), front, weight);
  if (!changed) throw problem('selector-mismatch', `the HTTPRoute ${path.split('/').at(-1) ?? ''} has no rule that sends everything to the Service ${front}`);
  await api.patch(path, { metadata: { resourceVersion: metadata.resourceVersion }, spec: { rules: list } }, MERGE_PATCH);
}

async function splitVirtualService(api: KubernetesApi, path: string, front: string, weight: number): Promise<void> {
  const { metadata, spec } = await api.get<VirtualService>(path);
  const named = (host: string): string => host.split('.')[0] ?? host;
  const { changed, list } = split(
    spec.http ?? [],
    (rule) => rule.route ?? [],
    (route) => named(route.destination.host),
    (route, name, share) => ({ ...route, destination: { ...route.destination, host: route.destination.host.replace(/^[^.]+/, name) }, weight: share }),
    (rule, route) => ({ ...rule, route }),
    front,
    weight,
  );
  if (!changed) throw problem('selector-mismatch', `the VirtualService ${path.split('/').at(-1) ?? ''} has no route that sends everything to the Service ${front}`);
  await api.patch(path, { metadata: { resourceVersion: metadata.resourceVersion }, spec: { http: list } }, MERGE_PATCH);
}

/** Every rule whose backends are the Service alone, or the Service and the one beside. */
function split<Rule, Backend>(
  rules: readonly Rule[],
  backendsOf: (rule: Rule) => readonly Backend[],
  nameOf: (backend: Backend) => string,
  weighted: (backend: Backend, name: string, share: number) => Backend,
  withBackends: (rule: Rule, backends: Backend[]) => Rule,
  front: string,
  weight: number,
): { changed: boolean; list: Rule[] } {
  let changed = false;
  const list = rules.map((rule) => {
    const backends = backendsOf(rule);
    const stable = backends.find((backend) => nameOf(backend) === front);
    if (stable === undefined || backends.some((backend) => ![front, nextName(front)].includes(nameOf(backend)))) return rule;
    changed = true;
    const old = weighted(stable, front, 100 - weight);
    return withBackends(rule, weight === 0 ? [old] : [old, weighted(stable, nextName(front), weight)]);
  });
  return { changed, list };
}

/** ingress-nginx takes a second Ingress of the same hosts and paths, marked as canary. */
async function splitIngress(api: KubernetesApi, target: Target, ingress: string, front: string, weight: number): Promise<void> {
  const path = `/apis/networking.k8s.io/v1/namespaces/${target.namespace}/ingresses`;
  const beside = nextName(ingress);
  if (weight === 0) return api.remove(`${path}/${beside}`);
  const annotations = { [`${NGINX}/canary`]: 'true', [`${NGINX}/canary-weight`]: String(weight) };
  if ((await api.find(`${path}/${beside}`)) !== undefined) {
    await api.patch(`${path}/${beside}`, { metadata: { annotations } }, MERGE_PATCH);
    return;
  }
  const { metadata, spec } = await api.get<Ingress>(`${path}/${ingress}`);
  const moved: unknown = JSON.parse(JSON.stringify(spec), (key, value: unknown) => (key === 'service' && isBackend(value) && value.name === front ? { ...value, name: nextName(front) } : value));
  if (JSON.stringify(moved) === JSON.stringify(spec)) throw problem('selector-mismatch', `the Ingress ${ingress} has no backend of the Service ${front}`);
  await api.create(path, {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'Ingress',
    metadata: { name: beside, namespace: target.namespace, annotations: { ...metadata.annotations, ...annotations }, ownerReferences: [{ apiVersion: 'networking.k8s.io/v1', kind: 'Ingress', name: ingress, uid: metadata.uid }] },
    spec: moved,
  });
}

function isBackend(value: unknown): value is { readonly name: string } {
  return typeof value === 'object' && value !== null && 'name' in value && typeof value.name === 'string';
}
