import { WorkflowFailedError, WorkflowNotFoundError, type Client, type WorkflowExecutionInfo } from '@temporalio/client';
import type { RunRow, RunStore } from '../../database/runs.ts';
import { SEARCH_ATTRIBUTES } from '../../schemas/names/search-attributes.ts';
import { formatRunId, formatWorkflowId, parseRunId, parseWorkflowId } from '../../schemas/names/workflow-id.ts';
import { failedResult } from './run-failure.ts';
import { readRunMemo } from './run-memo.ts';
import { runStatus } from './run-status.ts';

/** How late Temporal's visibility may show a start or an end, ms. */
const LAG_MS = 3_000;
const PAGE = 1_000;
const RPC_MS = 10_000;
/** Time for reading what is new, ms. */
const PASS_MS = 60_000;
/** Time for reading all that Temporal still has, ms. */
const REBUILD_MS = 600_000;
/** Failures read at once. */
const CONCURRENCY = 10;
/** Open rows looked at by one reconciliation. */
const RECONCILE = 200;
/** Rows this young are the projection's own business, ms. */
const SETTLED_MS = 60_000;

/** What a list and a description of an execution have in common. */
type Execution = Pick<WorkflowExecutionInfo, 'workflowId' | 'runId' | 'status' | 'memo' | 'searchAttributes' | 'startTime' | 'closeTime'>;

/** Completes the read model of runs from Temporal's visibility: every start and end since it was last read. */
export class RunProjection {
  readonly #client: Client;
  readonly #store: RunStore;
  /** Executions written within the lag, with the status written: they are listed again and again until it has passed. */
  #written = new Map<string, { status: string; at: number }>();

  constructor(client: Client, store: RunStore) {
    this.#client = client;
    this.#store = store;
  }

  /** Reads what is new. Does nothing while another process does. */
  async advance(signal: AbortSignal): Promise<void> {
    await this.#store.projectOfAllOrganisations('runs', (watermark) =>
      this.#client.withAbortSignal(signal, () => this.#client.withDeadline(Date.now() + (watermark === undefined ? REBUILD_MS : PASS_MS), () => this.#readSince(watermark))),
    );
  }

  /** Looks up open rows that should have been heard of: their end was missed, or Temporal lost them. Answers how many were mended. */
  async reconcile(signal: AbortSignal): Promise<number> {
    let mended = 0;
    for (const row of await this.#store.openOfAllOrganisations(new Date(Date.now() - SETTLED_MS), RECONCILE)) {
      if (signal.aborted) break;
      const parts = parseRunId(row.runId);
      if (parts === undefined) continue;
      const truth = await this.#lookUp(row, formatWorkflowId({ orgId: row.orgId, ...parts }));
      if (truth.status === 'running') continue;
      await this.#store.recordOfAllOrganisations([truth]);
      mended += 1;
    }
    return mended;
  }

  async #readSince(watermark: Date | undefined): Promise<Date | undefined> {
    const since = watermark === undefined ? undefined : new Date(watermark.getTime() - LAG_MS).toISOString();
    const query = since === undefined ? '' : `StartTime >= '${since}' OR CloseTime >= '${since}'`;
    let latest = watermark?.getTime() ?? 0;
    let page: WorkflowExecutionInfo[] = [];
    for await (const info of this.#client.workflow.list({ query, pageSize: PAGE })) {
      latest = Math.max(latest, info.startTime.getTime(), info.closeTime?.getTime() ?? 0);
      if (this.#isNews(info)) page.push(info);
      if (page.length < PAGE) continue;
      await this.#write(page);
      page = [];
    }
    await this.#write(page);
    this.#forget(latest - 2 * LAG_MS);
    return latest === 0 ? undefined : new Date(latest);
  }

  #isNews(info: WorkflowExecutionInfo): boolean {
    // The next history of the run is listed too.
    if (info.status.name === 'CONTINUED_AS_NEW') return false;
    return parseWorkflowId(info.workflowId) !== undefined && this.#written.get(info.runId)?.status !== info.status.name;
  }

  async #write(infos: readonly WorkflowExecutionInfo[]): Promise<void> {
    const rows: RunRow[] = [];
    for (let at = 0; at < infos.length; at += CONCURRENCY) {
      rows.push(...(await Promise.all(infos.slice(at, at + CONCURRENCY).map((info) => this.#row(info)))).filter((row) => row !== undefined));
    }
    await this.#store.recordOfAllOrganisations(rows);
    for (const info of infos) this.#written.set(info.runId, { status: info.status.name, at: (info.closeTime ?? info.startTime).getTime() });
  }

  #forget(before: number): void {
    for (const [runId, { at }] of this.#written) if (at < before) this.#written.delete(runId);
  }

  async #row(info: Execution): Promise<RunRow | undefined> {
    const parts = parseWorkflowId(info.workflowId);
    if (parts === undefined) return undefined;
    const status = runStatus(info.status.name);
    const { tags, actor, requestId, retryOf } = readRunMemo(info.memo);
    return {
      orgId: parts.orgId,
      runId: formatRunId(parts),
      operation: parts.operation,
      origin: String(info.searchAttributes[SEARCH_ATTRIBUTES.origin]?.[0] ?? 'workflow'),
      status,
      tags: [...tags],
      actor,
      requestId,
      retryOf,
      traceparent: null,
      startedAt: info.startTime,
      closedAt: status === 'running' ? null : (info.closeTime ?? new Date()),
      failure: status === 'failed' ? await this.#failureType(info.workflowId, info.runId) : null,
    };
  }

  async #failureType(workflowId: string, temporalRunId: string): Promise<string> {
    try {
      await this.#client.withDeadline(Date.now() + RPC_MS, () => this.#client.workflow.getHandle(workflowId, temporalRunId).result());
    } catch (error) {
      if (error instanceof WorkflowFailedError) {
        const result = failedResult(error);
        return 'failure' in result ? result.failure.type : 'Internal';
      }
      if (!(error instanceof WorkflowNotFoundError)) throw error;
    }
    return 'Internal';
  }

  async #lookUp(row: RunRow, workflowId: string): Promise<RunRow> {
    try {
      const info = await this.#client.withDeadline(Date.now() + RPC_MS, () => this.#client.workflow.getHandle(workflowId).describe());
      return (await this.#row(info)) ?? row;
    } catch (error) {
      if (!(error instanceof WorkflowNotFoundError)) throw error;
      // Past retention without its end having been read: all that can be said is that it runs no more.
      return { ...row, status: 'terminated', closedAt: new Date(), failure: 'HistoryGone' };
    }
  }
}
