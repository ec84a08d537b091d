import { v7 } from 'uuid';
import { BulkActionStore, type BulkCounts, type BulkItem, type BulkItemState, type BulkSelection } from '../../database/bulk-actions.ts';
import type { Database } from '../../database/database.ts';
import { HalError } from '../../schemas/errors.ts';
import { formatRunId, parseRunId } from '../../schemas/names/workflow-id.ts';
import bulkContract, { type BulkActionName } from '../../schemas/operations/bulk.ts';
import { actOf } from '../audit/act.ts';
import type { Caller } from '../identity/caller.ts';
import { assertCan, can, canSome } from '../identity/permissions.ts';
import type { Operations, RunStatus } from './contract.ts';

/** Most runs of one action chosen by a query. */
const MOST_BY_QUERY = 10_000;

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
  readonly #operations: Pick<Operations, 'start' | 'contracts' | 'cancel'>;

  constructor(database: Database, operations: Pick<Operations, 'start' | 'contracts' | 'cancel'>) {
    this.#store = new BulkActionStore(database);
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
    const items = await this.#store.create(bulk, selection, (count) => actOf(caller, 'run.bulk', { kind: 'bulk', id }, { action, items: count }));
    if (items === 0) throw new HalError('NotFound', 'no run that you may change matches');
    const started = await this.#operations.start({ ...caller, scopes: [...caller.scopes, `runs:write:type=${bulkContract.name}`] }, {
      operation: bulkContract.name, origin: 'automation', uuid: id, input: { bulkId: id, perSecond, reason, ...(signal === undefined ? {} : { signal: { payload: undefined, ...signal } }) },
    }).catch(async (error: unknown) => {
      await this.#store.abort(caller.orgId, id);
      throw error;
    });
    return { id, runId: started.runId, items };
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
      for (const runId of runIds) assertCan(caller, 'runs:write', { type: parseRunId(runId)?.operation ?? '' });
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
