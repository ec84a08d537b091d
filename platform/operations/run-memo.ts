import type { Caller } from '../identity/caller.ts';

/** What Temporal keeps about a run beside its search attributes, so that the read model can be rebuilt from it. */
export interface RunMemo {
  readonly tags: readonly string[];
  /** `<kind>:<id>`; null when the run was started by other means. */
  readonly actor: string | null;
  readonly requestId: string | null;
  readonly retryOf: string | null;
  /** Remarks of who started it. */
  readonly remarks: Readonly<Record<string, string>>;
}

/**
 * One field, because Temporal stores and the codec seals each on its own: three of them made a start a fifth dearer for the
 * server.
 */
const FIELD = 'hal9';

export function writeRunMemo(caller: Caller, request: { tags?: readonly string[]; retryOf?: string; memo?: Readonly<Record<string, string>> }): Record<string, unknown> {
  const { tags = [], retryOf, memo } = request;
  return { [FIELD]: { tags, actor: `${caller.actor.kind}:${caller.actor.id}`, requestId: caller.requestId, ...(retryOf === undefined ? {} : { retryOf }), ...(memo === undefined ? {} : { remarks: memo }) } };
}

export function readRunMemo(memo: Readonly<Record<string, unknown>> | undefined): RunMemo {
  const field = memo?.[FIELD];
  const read = (name: keyof RunMemo): unknown => (typeof field === 'object' && field !== null ? Reflect.get(field, name) : undefined);
  const [tags, actor, requestId, retryOf, remarks] = [read('tags'), read('actor'), read('requestId'), read('retryOf'), read('remarks')];
  return {
    tags: Array.isArray(tags) ? tags.filter((tag) => typeof tag === 'string') : [],
    actor: typeof actor === 'string' ? actor : null,
    requestId: typeof requestId === 'string' ? requestId : null,
    retryOf: typeof retryOf === 'string' ? retryOf : null,
    remarks: typeof remarks === 'object' && remarks !== null ? Object.fromEntries(Object.entries(remarks).filter(([, value]) => typeof value === 'string')) : {},
  };
}
