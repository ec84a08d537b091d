import type { Cluster } from './cluster.ts';
import { OWN_SETTINGS } from './desired.ts';

/** What stands around a cluster when it is judged. */
export interface Neighbourhood {
  /** Other clusters of its namespace. */
  readonly others: readonly Cluster[];
  /** Names in the ConfigMap of its settings; undefined when that is not there. */
  readonly settings: readonly string[] | undefined;
  /** Whether the Secret of its settings is there. */
  readonly secret: boolean;
}

export interface Judgement {
  /** Why it cannot be; undefined when it can. */
  readonly refusal?: string;
  /** What is told to who wrote it all the same. */
  readonly warnings: readonly string[];
}

/** Judges what the schema of one object cannot: what depends on other objects. */
export function judge(cluster: Cluster, { others, settings, secret }: Neighbourhood): Judgement {
  const { claude, settings: named } = cluster.spec;
  const elder = others.find((other) => isElder(other, cluster));
  if (elder !== undefined) return { refusal: `${elder.metadata.name} serves the queues of this namespace already; change that one, or use another namespace and Temporal namespace`, warnings: [] };
  const own = settings?.filter((name) => OWN_SETTINGS.some((taken) => taken === name)) ?? [];
  if (own.length > 0) return { refusal: `the ConfigMap ${named.configMap ?? ''} sets ${own.join(', ')}, which the operator decides; take it out there`, warnings: [] };
  return {
    warnings: [
      ...(named.configMap !== undefined && settings === undefined ? [`there is no ConfigMap ${named.configMap}: pods wait for it`] : []),
      ...(named.secret !== undefined && !secret ? [`there is no Secret ${named.secret}: pods wait for it`] : []),
      ...(named.configMap === undefined && named.secret === undefined && named.databaseSecret === undefined ? ['none of settings.configMap, secret and databaseSecret is given: pods have no DATABASE_URL'] : []),
      ...(claude.mode === 'live' && claude.costLimit === 0 ? ['claude.costLimit is 0: every call of a model is refused'] : []),
    ],
  };
}

/** The first one stays, and by its name where two came within the same second. */
function isElder(other: Cluster, cluster: Cluster): boolean {
  const [theirs, own] = [other.metadata.creationTimestamp ?? '', cluster.metadata.creationTimestamp ?? '9999'];
  return theirs < own || (theirs === own && other.metadata.name < cluster.metadata.name);
}
