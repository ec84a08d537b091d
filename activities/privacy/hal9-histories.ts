import { WorkflowNotFoundError, type Client } from '@temporalio/client';
import type { PayloadCodec } from '@temporalio/common';
import { setTimeout as delay } from 'node:timers/promises';
import { decodeHistory } from '../../platform/codec/history-decoding.ts';
import { HalError } from '../../schemas/errors.ts';
import { SEARCH_ATTRIBUTES } from '../../schemas/names/search-attributes.ts';
import { parseWorkflowId, workflowSubjectKey } from '../../schemas/names/workflow-id.ts';
import { SharedScan, type Scanned } from './shared-scan.ts';

/** One execution, as Temporal names it. */
export interface Execution {
  readonly workflowId: string;
  /** Undefined: the latest of the workflow. */
  readonly runId: string | undefined;
  readonly open: boolean;
}

/** A history with all its payloads in plain text. */
export interface PlainHistory extends Execution {
  /** In the order of the history; those that are no text are left out. */
  readonly payloads: readonly string[];
}

const RPC_MS = 10_000;
/** Histories read at once. */
const CONCURRENCY = 8;
/** How long a deletion may take to be seen, ms. */
const GONE_MS = 60_000;
/** How long a run that is asked to stop has before it is stopped, ms. */
const GRACE_MS = 5_000;
const GRPC_NOT_FOUND = 5;

/** What Temporal keeps of an organisation's runs: read whole, decoded with every key there is. */
export class Histories {
  readonly #client: Client;
  readonly #codec: PayloadCodec;
  readonly #scan = new SharedScan<Execution>((orgId) => this.#everyText(orgId));

  constructor(client: Client, codec: PayloadCodec) {
    this.#client = client;
    this.#codec = codec;
  }

  /** Executions whose history holds any of these texts, decoded with every key that is left. @param texts in lower case. */
  async naming(orgId: string, texts: readonly string[]): Promise<readonly Execution[]> {
    return this.#scan.find(orgId, texts);
  }

  /** Open executions, children too, that a key of these encrypts. */
  async openUnder(orgId: string, keyIds: readonly string[]): Promise<Execution[]> {
    const open: Execution[] = [];
    if (keyIds.length === 0) return open;
    for await (const execution of this.#list(orgId, " and ExecutionStatus = 'Running'")) if (keyIds.includes(workflowSubjectKey(execution.workflowId) ?? '')) open.push(execution);
    return open;
  }

  /** @returns undefined when it is gone. */
  async read(execution: Execution): Promise<PlainHistory | undefined> {
    const { workflowId, runId } = execution;
    try {
      const history = await this.#client.withDeadline(Date.now() + 6 * RPC_MS, () => this.#client.workflow.getHandle(workflowId, runId).fetchHistory());
      await decodeHistory(history, this.#codec);
      return { ...execution, payloads: textsIn(history) };
    } catch (error) {
      if (error instanceof WorkflowNotFoundError || isNotFound(error)) return undefined;
      throw error;
    }
  }

  /** Asks it to stop, then stops it. */
  async close({ workflowId, runId }: Execution, signal: AbortSignal): Promise<void> {
    const handle = this.#client.workflow.getHandle(workflowId, runId);
    await ignoringNotFound(() => handle.cancel());
    for (const until = Date.now() + GRACE_MS; Date.now() < until; await delay(200, undefined, { signal })) if (!(await this.#isOpen(workflowId, runId))) return;
    await ignoringNotFound(() => handle.terminate('the person it is about is being forgotten'));
  }

  /** Removes a closed execution with its history. Returns once it cannot be read any more. */
  async remove({ workflowId, runId }: Execution, signal: AbortSignal): Promise<void> {
    const { namespace } = this.#client.options;
    await ignoringNotFound(() => this.#client.withDeadline(Date.now() + RPC_MS, () => this.#client.workflowService.deleteWorkflowExecution({ namespace, workflowExecution: { workflowId, runId: runId ?? '' } })));
    for (const until = Date.now() + GONE_MS; ; await delay(200, undefined, { signal })) {
      if ((await this.read({ workflowId, runId, open: false })) === undefined) return;
      if (Date.now() > until) throw new HalError('DependencyUnavailable', 'Temporal has not deleted a history yet', { retryAfterSeconds: 60 });
    }
  }

  async #isOpen(workflowId: string, runId: string | undefined): Promise<boolean> {
    let open = false;
    await ignoringNotFound(async () => {
      open = (await this.#client.withDeadline(Date.now() + RPC_MS, () => this.#client.workflow.getHandle(workflowId, runId).describe())).status.name === 'RUNNING';
    });
    return open;
  }

  async *#list(orgId: string, more: string): AsyncIterable<Execution> {
    const list = this.#client.workflow.list({ query: `${SEARCH_ATTRIBUTES.orgId} = '${orgId}'${more}`, pageSize: 1000 });
    for await (const { workflowId, runId, status } of list) yield { workflowId, runId, open: status.name === 'RUNNING' };
  }

  /** Cascades are left out: they carry references only. */
  async *#everyText(orgId: string): AsyncIterable<Scanned<Execution>> {
    let batch: Execution[] = [];
    const read = async (): Promise<Scanned<Execution>[]> => {
      const plain = await Promise.all(batch.map((execution) => this.read(execution)));
      batch = [];
      return plain.flatMap((history) => (history === undefined ? [] : [{ hit: { workflowId: history.workflowId, runId: history.runId, open: history.open }, text: history.payloads.join('\n').toLowerCase() }]));
    };
    for await (const execution of this.#list(orgId, '')) {
      if (parseWorkflowId(execution.workflowId)?.operation === 'cascade') continue;
      batch.push(execution);
      if (batch.length === CONCURRENCY) yield* await read();
    }
    yield* await read();
  }
}

/** All text of a decoded history: payloads, reasons, names of whoever did something. */
function textsIn(value: unknown): string[] {
  if (typeof value === 'string') return [value];
  if (value instanceof Uint8Array) return [Buffer.from(value).toString('utf8')];
  if (typeof value !== 'object' || value === null) return [];
  return Object.values(value).flatMap((member) => textsIn(member));
}

async function ignoringNotFound(work: () => Promise<unknown>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof WorkflowNotFoundError) && !isNotFound(error)) throw error;
  }
}

function isNotFound(error: unknown): boolean {
  for (let at: unknown = error; at instanceof Error; at = at.cause) if ('code' in at && at.code === GRPC_NOT_FOUND) return true;
  return false;
}
