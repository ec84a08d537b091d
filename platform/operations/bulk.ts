import { v7 } from 'uuid';
import { BulkActionStore, type BulkAction, type BulkCounts, type BulkItem, type BulkItemState, type BulkSelection } from '../../database/bulk-actions.ts';
import type { Database } from '../../database/database.ts';
import { HalError } from '../../schemas/errors.ts';
import { formatRunId, parseRunId } from '../../schemas/names/workflow-id.ts';
import bulkContract, { bulkInputSchema, type BulkActionName, type BulkInput } from '../../schemas/operations/bulk.ts';
import { actOf } from '../audit/act.ts';
import type { Caller } from '../identity/caller.ts';
import { assertCan, can, canSome } from '../identity/permissions.ts';
import type { KeyRing } from '../keys/key-ring.ts';
import type { Operations, RunStatus } from './contract.ts';

/** Most runs of one action chosen by a query. */
const MOST_BY_QUERY = 10_000;
/** Purpose of the key that seals what a run is started with: a signal's payload may name people. */
const SEALED = 'bulk-start';
/** Actions that were left behind, taken up at once. */
const BATCH = 20;

export interface BulkRequest {
  readonly action: BulkActionName;
  readonly runIds?: readonly string[] | undefined;
  readonly query?: { readonly type?: string | undefined; readonly status?: RunStatus | undefined; readonly tag?: string | undefined; readonly failure?: string | undefined; readonly from?: Date | undefined; readonly to?: Date | undefined } | undefined;
  readonly signal?: { readonly name: string; readonly payload?: unknown } | undefined;
  readonly reason: string;
  readonly perSecond: number;
}

export interface BulkReport {
  readonly id: string;
  /** The run that works it off. */
  readonly runId: string;
  readonly action: BulkActionName;
  readonly createdAt: Date;
  readonly counts: BulkCounts;
}

/** Actions on many runs: chosen once, when asked for, then worked off by a run of `bulk`. */
export class Bulk {
  readonly #store: BulkActionStore;
  readonly #keys: KeyRing;
  readonly #operations: Pick<Operations, 'start' | 'contracts'>;

  constructor({ database, keys, operations }: { readonly database: Database; readonly keys: KeyRing; readonly operations: Pick<Operations, 'start' | 'contracts'> }) {
    this.#store = new BulkActionStore(database);
    this.#keys = keys;
    this.#operations = operations;
  }

  /**
   * @throws {HalError} Forbidden for a run or operation the caller may not change, NotFound when the query finds none.
   */
  async begin(caller: Caller, request: BulkRequest): Promise<{ id: string; runId: string; items: number }> {
    const selection = this.#selection(caller, request);
    const id = v7();
    const { action, signal, reason, perSecond } = request;
    const bulk = { orgId: caller.orgId, id, action, actor: caller.actor, scopes: caller.scopes };
    const input: BulkInput = { bulkId: id, perSecond, reason, ...(signal === undefined ? {} : { signal: { payload: undefined, ...signal } }) };
    const items = await this.#store.create(bulk, selection, this.#keys.seal(caller.orgId, SEALED, JSON.stringify(input), id), (count) => actOf(caller, 'run.bulk', { kind: 'bulk', id }, { action, items: count }));
    if (items === 0) throw new HalError('NotFound', 'no run that you may change matches');
    return { id, runId: await this.#start(caller, input), items };
  }

  /**
   * Starts the runs of actions that were written down by a process which died before it had started them; the run's id is the
   * action's, so one that did start is found. What is refused for good is given up.
   * @returns how many were taken up.
   */
  async resumeAcrossOrganisations(): Promise<number> {
    const left = await this.#store.leftAcrossOrganisations(BATCH);
    for (const action of left) {
      const input = bulkInputSchema.parse(JSON.parse(this.#keys.open(action.orgId, SEALED, action.startSealed, action.id).toString('utf8')));
      await this.#start(callerOf(action), input).catch((error: unknown) => {
        if (!(error instanceof HalError) || error.failure.retryable) throw error;
      });
    }
    return left.length;
  }

  async #start(caller: Caller, input: BulkInput): Promise<string> {
    const { bulkId } = input;
    try {
      const started = await this.#operations.start({ ...caller, scopes: [...caller.scopes, `runs:write:type=${bulkContract.name}`] }, { operation: bulkContract.name, origin: 'automation', uuid: bulkId, input });
      await this.#store.begun(caller.orgId, bulkId);
      return started.runId;
    } catch (error) {
      // What may pass by itself is tried again by the dispatcher; what is refused is over.
      if (error instanceof HalError && !error.failure.retryable) await this.#store.abort(caller.orgId, bulkId);
      throw error;
    }
  }

  /** @throws {HalError} NotFound. */
  async report(caller: Caller, id: string): Promise<BulkReport> {
    const found = await this.#store.get(caller.orgId, id);
    if (found === undefined) throw new HalError('NotFound', 'no such bulk action');
    return { id, runId: formatRunId({ operation: bulkContract.name, uuid: id }), action: found.action, createdAt: found.createdAt, counts: await this.#store.counts(caller.orgId, id) };
  }

  async items(caller: Caller, id: string, query: { state?: BulkItemState | undefined; after: number; limit: number }): Promise<BulkItem[]> {
    return this.#store.items(caller.orgId, id, query);
  }

  #selection(caller: Caller, { runIds, query }: BulkRequest): BulkSelection {
    if (runIds !== undefined) {
      for (const runId of runIds) assertCan(caller, 'runs:write', { type: parseRunId(runId)?.operation ?? '', id: runId });
      return { runIds };
    }
    const { type, ...rest } = query ?? {};
    return { ...rest, operations: this.#operationsOf(caller, type), limit: MOST_BY_QUERY };
  }

  /** What the caller may change; never the bulk actions themselves. */
  #operationsOf(caller: Caller, type: string | undefined): string[] {
    if (type !== undefined) {
      assertCan(caller, 'runs:write', { type });
      return [type];
    }
    if (!canSome(caller, 'runs:write')) assertCan(caller, 'runs:write');
    return [...this.#operations.contracts.keys()].filter((name) => name !== bulkContract.name && can(caller, 'runs:write', { type: name }));
  }
}

/** Whoever asked, as the activity that acts on the runs will be, too. */
function callerOf({ orgId, id, actor, scopes }: BulkAction): Caller {
  return { orgId, actor: { kind: actorKind(actor.kind), id: actor.id }, scopes, requestId: `bulk~${id}`, traceparent: undefined };
}

function actorKind(kind: string): Caller['actor']['kind'] {
  if (kind === 'api-key' || kind === 'user' || kind === 'service' || kind === 'system') return kind;
  throw new TypeError(`no actor is a ${kind}`);
}
