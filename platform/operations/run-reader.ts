import {
  QueryNotRegisteredError,
  WorkflowFailedError,
  WorkflowNotFoundError,
  isGrpcDeadlineError,
  type Client,
  type WorkflowExecutionDescription,
} from '@temporalio/client';
import type { ConcurrencyLeaseStore } from '../../database/concurrency-leases.ts';
import type { RunEvent } from '../../database/run-events.ts';
import type { FailureGroup, RunRow, RunStore, VisibleRuns } from '../../database/runs.ts';
import { HalError } from '../../schemas/errors.ts';
import { RESERVED_QUERIES, type Progress } from '../../schemas/names/messages.ts';
import type { OperationContract } from '../../schemas/operations/operation.ts';
import type { Caller } from '../identity/caller.ts';
import { assertCan, can, namedIds } from '../identity/permissions.ts';
import type { RunDescription, RunFilter, RunPage, RunResult, RunSummary } from './contract.ts';
import { pendingActivities } from './pending-activities.ts';
import { readRunMemo } from './run-memo.ts';
import { failedResult } from './run-failure.ts';
import type { RunFeed } from './run-feed.ts';
import { runStatus } from './run-status.ts';
import { fromTemporal } from './temporal-failures.ts';

const RPC_MS = 10_000;
/** A description must not wait long for a worker that may be down, ms. */
const PROGRESS_MS = 1_000;
/** Shortest wait for a result: one round trip, ms. */
const RESULT_MS = 1_000;

/** Reads runs: lists from PostgreSQL, one run from Temporal while it has it. */
export class RunReader {
  readonly #client: Client;
  readonly #store: RunStore;
  readonly #contracts: ReadonlyMap<string, OperationContract>;
  readonly #feed: RunFeed;
  readonly #describing = new Map<string, Promise<RunDescription>>();
  /** Of rows that are remembered, so that who asks again gets the same object. */
  readonly #descriptions = new WeakMap<RunRow, RunDescription>();
  readonly #leases: ConcurrencyLeaseStore;
  /** Writes started runs that still wait to be written. */
  readonly #flush: () => Promise<void>;

  constructor(client: Client, store: RunStore, contracts: ReadonlyMap<string, OperationContract>, feed: RunFeed, flush: () => Promise<void>, leases: ConcurrencyLeaseStore) {
    this.#leases = leases;
    this.#feed = feed;
    this.#flush = flush;
    this.#client = client;
    this.#store = store;
    this.#contracts = contracts;
  }

  async list(caller: Caller, filter: RunFilter): Promise<RunPage> {
    const limit = Math.min(Math.max(filter.limit ?? 50, 1), 200);
    const rows = await this.#store.list(caller.orgId, {
      ...this.#visible(caller, filter.operation),
      ...(filter.status !== undefined && { status: filter.status }),
      ...(filter.tag !== undefined && { tag: filter.tag }),
      ...(filter.failure !== undefined && { failure: filter.failure }),
      ...(filter.actor !== undefined && { actor: filter.actor }),
      ...(filter.origin !== undefined && { origin: filter.origin }),
      ...(filter.startedFrom !== undefined && { startedFrom: filter.startedFrom }),
      ...(filter.startedTo !== undefined && { startedTo: filter.startedTo }),
      ...(filter.cursor !== undefined && { after: readCursor(filter.cursor) }),
      // One more than asked tells whether there is a next page.
      limit: limit + 1,
    });
    const page = rows.slice(0, limit);
    const last = page.at(-1);
    return { runs: page.map(summary), nextCursor: rows.length > limit && last !== undefined ? writeCursor(last) : null };
  }

  async describe(caller: Caller, runId: string, workflowId: string): Promise<RunDescription> {
    const stored = this.#store.get(caller.orgId, runId);
    const described = await this.#describeInTemporal(runId, workflowId);
    const row = await stored;
    if (described === undefined) {
      if (row === undefined) throw new HalError('NotFound', `no run ${runId}`);
      return fromRow(row);
    }
    const status = runStatus(described.status.name);
    const memo = readRunMemo(described.memo);
    return {
      runId,
      operation: row?.operation ?? runId.slice(0, runId.indexOf('~')),
      status,
      origin: row?.origin ?? String(described.searchAttributes['Origin']?.[0] ?? 'api'),
      tags: row?.tags ?? memo.tags,
      startedBy: row?.actor ?? memo.actor,
      startedAt: described.startTime,
      closedAt: status === 'running' ? null : (described.closeTime ?? null),
      failure: status === 'running' ? null : (row?.failure ?? null),
      pausedAt: status === 'running' ? (row?.state?.pausedAt ?? null) : null,
      retryOf: row?.retryOf ?? memo.retryOf,
      retriedBy: row?.state?.retriedBy ?? null,
      epoch: row?.state?.epoch ?? 0,
      memo: memo.remarks,
      lease: status === 'running' ? ((await this.#leases.of(caller.orgId, runId)) ?? null) : null,
      source: 'temporal',
      progress: status === 'running' ? await this.#progress(workflowId) : null,
      pendingActivities: await pendingActivities(described.raw.pendingActivities ?? [], workflowId, this.#client),
      historyLength: described.historyLength,
      temporalRunId: described.runId,
    };
  }

  /** From memory or PostgreSQL, the same object while the run has not changed; a run so young that it is not there yet is asked for in Temporal. */
  async read(caller: Caller, runId: string, workflowId: string): Promise<RunDescription> {
    const row = (await this.#feed.row(caller.orgId, runId)) ?? (await this.#rowOnceWritten(caller.orgId, runId));
    if (row === undefined) return this.#describeOnce(caller, runId, workflowId);
    const known = this.#descriptions.get(row);
    if (known !== undefined) return known;
    const description = fromRow(row);
    this.#descriptions.set(row, description);
    return description;
  }

  /** A run this process started a moment ago may wait to be written. */
  async #rowOnceWritten(orgId: string, runId: string): Promise<RunRow | undefined> {
    await this.#flush();
    return this.#feed.row(orgId, runId);
  }

  /** Many who ask for one run at once are one question to Temporal. */
  #describeOnce(caller: Caller, runId: string, workflowId: string): Promise<RunDescription> {
    const asked = this.#describing.get(workflowId);
    if (asked !== undefined) return asked;
    const asking = this.describe(caller, runId, workflowId).finally(() => this.#describing.delete(workflowId));
    this.#describing.set(workflowId, asking);
    return asking;
  }

  async ended(caller: Caller, runId: string, after: number): Promise<boolean> {
    return this.#feed.ended(caller.orgId, runId, after);
  }

  async failures(caller: Caller, query: { operation?: string; from: Date; to: Date; limit: number }): Promise<FailureGroup[]> {
    return this.#store.failures(caller.orgId, { ...query, ...this.#visible(caller, query.operation) });
  }

  /** Each event once, in order, from the one after `after`; ends after `closed`, or when `signal` aborts. */
  async watch(caller: Caller, runId: string, workflowId: string, after: number, signal: AbortSignal): Promise<AsyncIterable<readonly RunEvent[]>> {
    // Refuses a run that is not there before anything is sent.
    await this.read(caller, runId, workflowId);
    return this.#eventsOf(caller.orgId, runId, after, signal);
  }

  async *#eventsOf(orgId: string, runId: string, after: number, signal: AbortSignal): AsyncGenerator<readonly RunEvent[]> {
    const waiting: RunEvent[] = [];
    let wake: () => void = () => undefined;
    const stop = this.#feed.watch(orgId, runId, after, (events) => {
      waiting.push(...events);
      wake();
    });
    const onAbort = (): void => wake();
    signal.addEventListener('abort', onAbort);
    try {
      while (!signal.aborted) {
        if (waiting.length === 0) {
          await new Promise<void>((resolve) => {
            wake = resolve;
            if (signal.aborted || waiting.length > 0) resolve();
          });
          continue;
        }
        const events = waiting.splice(0);
        yield events;
        if (events.at(-1)?.type === 'closed') return;
      }
    } finally {
      stop();
      signal.removeEventListener('abort', onAbort);
    }
  }

  async result(caller: Caller, runId: string, workflowId: string, waitMs: number): Promise<RunResult> {
    const result = await this.#result(caller, runId, workflowId, waitMs);
    if (result.status !== 'running') await this.#settle(caller, runId, workflowId, result);
    return result;
  }

  /** Who was told of the end does not read that the run goes on: the row need not wait for the projector. */
  async #settle(caller: Caller, runId: string, workflowId: string, result: Exclude<RunResult, { status: 'running' }>): Promise<void> {
    const known = await this.#feed.row(caller.orgId, runId);
    if (known === undefined) await this.#flush();
    const row = known ?? (await this.#store.get(caller.orgId, runId));
    if (row === undefined || row.closedAt !== null) return;
    const described = await this.#describeInTemporal(runId, workflowId);
    if (described?.closeTime === undefined || runStatus(described.status.name) !== result.status) return;
    await this.#store.recordOfAllOrganisations([{ ...row, status: result.status, closedAt: described.closeTime, failure: result.status === 'failed' ? result.failure.type : null }]);
    this.#feed.forget(caller.orgId, runId);
  }

  async #result(caller: Caller, runId: string, workflowId: string, waitMs: number): Promise<RunResult> {
    const handle = this.#client.workflow.getHandle(workflowId);
    // A closed run answers at once; an open one would be polled until the deadline.
    if (waitMs <= 0) {
      const described = await this.#describeInTemporal(runId, workflowId);
      if (described === undefined) return this.#resultFromReadModel(caller, runId);
      if (runStatus(described.status.name) === 'running') return { status: 'running' };
    }
    try {
      const result: unknown = await this.#client.withDeadline(Date.now() + Math.max(waitMs, RESULT_MS), () => handle.result());
      return { status: 'completed', result };
    } catch (error) {
      if (error instanceof WorkflowFailedError) return failedResult(error);
      if (isGrpcDeadlineError(error)) return { status: 'running' };
      if (error instanceof WorkflowNotFoundError) return this.#resultFromReadModel(caller, runId);
      throw fromTemporal(error, 'read', runId);
    }
  }

  async #resultFromReadModel(caller: Caller, runId: string): Promise<RunResult> {
    const row = await this.#store.get(caller.orgId, runId);
    if (row === undefined) throw new HalError('NotFound', `no run ${runId}`);
    if (row.status === 'running' || row.status === 'completed') throw new HalError('NotFound', `the result of ${runId} is past Temporal's retention`);
    return { status: row.status, failure: { type: row.failure ?? 'Internal', message: 'the details are past the retention of Temporal' } };
  }

  async #describeInTemporal(runId: string, workflowId: string): Promise<WorkflowExecutionDescription | undefined> {
    try {
      return await this.#client.withDeadline(Date.now() + RPC_MS, () => this.#client.workflow.getHandle(workflowId).describe());
    } catch (error) {
      if (error instanceof WorkflowNotFoundError) return undefined;
      throw fromTemporal(error, 'read', runId);
    }
  }

  async #progress(workflowId: string): Promise<Progress | null> {
    try {
      const answer: unknown = await this.#client.withDeadline(Date.now() + PROGRESS_MS, () =>
        this.#client.workflow.getHandle(workflowId).query(RESERVED_QUERIES.progress),
      );
      return isProgress(answer) ? answer : null;
    } catch (error) {
      if (error instanceof QueryNotRegisteredError) return null;
      // No worker, or a busy one: the description is complete without it.
      if (fromTemporal(error, 'query', workflowId) instanceof HalError) return null;
      throw error;
    }
  }

  /** Undefined for all: an unrestricted reader also sees runs of operations this process no longer knows. */
  #visible(caller: Caller, wanted: string | undefined): VisibleRuns {
    if (wanted !== undefined) {
      assertCan(caller, 'runs:read', { type: wanted });
      return { operations: [wanted] };
    }
    if (can(caller, 'runs:read')) return { operations: undefined };
    const operations = [...this.#contracts.keys()].filter((name) => can(caller, 'runs:read', { type: name }));
    const runIds = namedIds(caller, 'runs:read');
    if (operations.length + runIds.length === 0) assertCan(caller, 'runs:read');
    return { operations, runIds };
  }
}

function summary(row: RunRow): RunSummary {
  const { runId, operation, status, origin, tags, actor, startedAt, closedAt, failure, retryOf = null, state } = row;
  return { runId, operation, status, origin, tags, startedBy: actor, startedAt, closedAt, failure, pausedAt: state?.pausedAt ?? null, retryOf, retriedBy: state?.retriedBy ?? null, epoch: state?.epoch ?? 0 };
}

function fromRow(row: RunRow): RunDescription {
  return { ...summary(row), source: 'read-model', progress: row.status === 'running' ? (row.state?.progress ?? null) : null, pendingActivities: [], historyLength: null, temporalRunId: null, memo: {}, lease: null };
}

function isProgress(value: unknown): value is Progress {
  return typeof value === 'object' && value !== null && 'step' in value && 'done' in value && 'total' in value && 'message' in value;
}

function writeCursor(row: RunRow): string {
  return Buffer.from(JSON.stringify([row.startedAt.toISOString(), row.runId])).toString('base64url');
}

function readCursor(cursor: string): { startedAt: Date; runId: string } {
  const bad = (cause?: unknown): HalError => new HalError('InvalidInput', 'the cursor is not one this server gave', { cause });
  let content: unknown;
  try {
    content = JSON.parse(Buffer.from(cursor, 'base64url').toString('utf8'));
  } catch (error) {
    throw bad(error);
  }
  if (!Array.isArray(content)) throw bad();
  const [time, runId]: unknown[] = content;
  if (typeof time !== 'string' || typeof runId !== 'string' || Number.isNaN(Date.parse(time))) throw bad();
  return { startedAt: new Date(time), runId };
}
