import type { KubernetesApi } from '../../platform/connections/kubernetes.ts';
import type { Strategy } from '../../schemas/operations/rollout.ts';
import type { Target } from './activity-contract.ts';
import { problem } from './cluster.ts';

interface Right {
  readonly verb: string;
  readonly group: string;
  readonly resource: string;
}

const ROUTES = {
  gateway: { group: 'gateway.networking.k8s.io', resource: 'httproutes' },
  istio: { group: 'networking.istio.io', resource: 'virtualservices' },
  nginx: { group: 'networking.k8s.io', resource: 'ingresses' },
} as const;

/** Everything the rollout of a workload will do, so that a missing right is known before the first change and not in the middle. */
export async function requirePermissions(api: KubernetesApi, { namespace, kind, name }: Pick<Target, 'namespace' | 'kind' | 'name'>, strategy: Strategy, hasService: boolean): Promise<void> {
  const missing: string[] = [];
  for (const { verb, group, resource } of rightsFor(kind, strategy, hasService)) {
    const review = await api.create<{ status: { allowed: boolean } }>('/apis/authorization.k8s.io/v1/selfsubjectaccessreviews', {
      apiVersion: 'authorization.k8s.io/v1',
      kind: 'SelfSubjectAccessReview',
      spec: { resourceAttributes: { namespace, verb, group, resource } },
    });
    if (!review.status.allowed) missing.push(`${verb} ${resource}${group === '' ? '' : `.${group}`}`);
  }
  if (missing.length > 0) throw problem('missing-permission', `rolling out ${kind} ${name} needs ${missing.join(', ')} in namespace ${namespace}`);
}

function rightsFor(kind: Target['kind'], strategy: Strategy, hasService: boolean): Right[] {
  const rights = (group: string, resource: string, ...verbs: readonly string[]): Right[] => verbs.map((verb) => ({ verb, group, resource }));
  const reading = [...rights('', 'pods', 'list'), ...(hasService ? rights('', 'services', 'get') : [])];
  const workload = [...rights('apps', kind === 'Deployment' ? 'deployments' : 'statefulsets', 'get', 'patch'), ...reading];
  // Going back takes pods away that never get ready.
  if (kind === 'StatefulSet') return [...workload, ...rights('', 'pods', 'delete')];
  if (strategy.kind === 'rolling') return workload;
  const beside = [...workload, ...rights('apps', 'deployments', 'create', 'delete')];
  if (strategy.kind === 'blue-green') return [...beside, ...rights('', 'services', 'create', 'patch', 'delete')];
  if (strategy.traffic === undefined) return beside;
  const { group, resource } = ROUTES[strategy.traffic.kind];
  const more = strategy.traffic.kind === 'nginx' ? ['create', 'delete'] : [];
  return [...beside, ...rights('', 'services', 'create', 'delete'), ...rights(group, resource, 'get', 'patch', ...more)];
}
