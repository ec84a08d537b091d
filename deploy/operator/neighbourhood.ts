import type { Neighbourhood } from './admission.ts';
import type { Cluster } from './cluster.ts';
import type { Kubernetes } from './kubernetes.ts';
import { MADE_KINDS, pathOf, type KubernetesObject } from './objects.ts';

const SECRETS = { apiVersion: 'v1', plural: 'secrets' } as const;

/** Reads what a cluster is judged by, and from which version its pods have their settings. */
export async function lookAround(api: Kubernetes, cluster: Cluster, all: readonly Cluster[]): Promise<Neighbourhood & { readonly settingsVersion: string }> {
  const { namespace = '', name } = cluster.metadata;
  const { configMap, secret } = cluster.spec.settings;
  const [settings, sealed] = await Promise.all([
    configMap === undefined ? undefined : api.find(pathOf(MADE_KINDS.ConfigMap, namespace, configMap)),
    secret === undefined ? undefined : api.find(pathOf(SECRETS, namespace, secret)),
  ]);
  return {
    others: all.filter((other) => other.metadata.namespace === namespace && other.metadata.name !== name && other.metadata.deletionTimestamp === undefined),
    settings: settings === undefined ? undefined : namesIn(settings),
    secret: sealed !== undefined,
    // Versions, not digests: a digest of a secret would let people try what it could be.
    settingsVersion: [settings, sealed].map((object) => object?.metadata.resourceVersion ?? 'none').join('.'),
  };
}

function namesIn({ data }: KubernetesObject): string[] {
  return typeof data === 'object' && data !== null ? Object.keys(data) : [];
}
