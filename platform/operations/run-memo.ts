import type { Caller } from '../identity/caller.ts';

/** What Temporal keeps about a run beside its search attributes, so that the read model can be rebuilt from it. */
export interface RunMemo {
  readonly tags: readonly string[];
  /** `<kind>:<id>`; null when the run was started by other means. */
  readonly actor: string | null;
  readonly requestId: string | null;
}

/**
 * One field, because Temporal stores and the codec seals each on its own: three of them made a start a fifth dearer for the
 * server.
 */
const FIELD = 'hal9';

export function writeRunMemo(caller: Caller, tags: readonly string[]): Record<string, unknown> {
  return { [FIELD]: { tags, actor: `${caller.actor.kind}:${caller.actor.id}`, requestId: caller.requestId } };
}

export function readRunMemo(memo: Readonly<Record<string, unknown>> | undefined): RunMemo {
  const field = memo?.[FIELD];
  const read = (name: keyof RunMemo): unknown => (typeof field === 'object' && field !== null ? Reflect.get(field, name) : undefined);
  const [tags, actor, requestId] = [read('tags'), read('actor'), read('requestId')];
  return {
    tags: Array.isArray(tags) ? tags.filter((tag) => typeof tag === 'string') : [],
    actor: typeof actor === 'string' ? actor : null,
    requestId: typeof requestId === 'string' ? requestId : null,
  };
}
