import type { Caller } from '../identity/caller.ts';
import type { Progress } from '../../schemas/names/messages.ts';
import type { OperationContract } from '../../schemas/operations/operation.ts';

/** The one way in: every start, message and list goes through an implementation of this, which scopes it to the caller's organisation. */
export interface OperationsPort {
  /**
   * Validates the input against the contract and starts the workflow.
   * @throws {HalError} UnknownOperation, InvalidInput, Forbidden, IdempotencyMismatch, Conflict, DependencyUnavailable.
   */
  start(caller: Caller, request: StartRequest): Promise<StartedRun>;
  /** Starts (or finds) the run and sends the update in one call; answers the update's answer. */
  startWithUpdate(caller: Caller, request: StartRequest, update: { name: string; payload: unknown; timeoutMs: number }): Promise<unknown>;
  signal(caller: Caller, runId: string, name: string, payload: unknown): Promise<void>;
  query(caller: Caller, runId: string, name: string, payload: unknown): Promise<unknown>;
  update(caller: Caller, runId: string, name: string, payload: unknown): Promise<unknown>;
  cancel(caller: Caller, runId: string): Promise<void>;
  terminate(caller: Caller, runId: string, reason: string): Promise<void>;
}

export interface StartRequest {
  /** Name of the operation. */
  operation: string;
  input: unknown;
  origin: 'api' | 'decision' | 'automation' | 'schedule' | 'dispatcher';
  /** For HAL9's own starts: the uuid of the workflow id, so that a retry is the same run. */
  uuid?: string;
  /** From the `Idempotency-Key` header. */
  idempotencyKey?: string;
  /** Seconds to wait before the first workflow task. */
  delaySeconds?: number;
  tags?: readonly string[];
  /** Instead of the contract's queue; used for waiting callers. */
  taskQueue?: string;
}

export interface StartedRun {
  /** What people see and pass back: `<operation>~<uuid>`, the workflow id without the organisation and with `~` for `/`. */
  runId: string;
  workflowId: string;
  /** False when the run was already there (idempotency key, conflict policy, same uuid). */
  created: boolean;
}

/** How a run stands. */
export type RunStatus = 'running' | 'completed' | 'failed' | 'cancelled' | 'terminated' | 'timed-out';

/** Reading runs; `describe` and `result` ask Temporal and fall back to the read model once its retention has passed. */
export interface RunsPort {
  /** Newest first, of the caller's organisation and of the operations its scopes allow. Lags a start by less than a second. */
  list(caller: Caller, filter: RunFilter): Promise<RunPage>;
  /** @throws {HalError} NotFound, Forbidden, DependencyUnavailable. */
  describe(caller: Caller, runId: string): Promise<RunDescription>;
  /**
   * @param waitMs how long to wait for an open run to end; 0 asks only.
   * @throws {HalError} NotFound, Forbidden, DependencyUnavailable.
   */
  result(caller: Caller, runId: string, waitMs: number): Promise<RunResult>;
}

/** All there is to do with operations: what the API is given. */
export interface Operations extends OperationsPort, RunsPort {
  /** Every operation this process knows, by name. */
  readonly contracts: ReadonlyMap<string, OperationContract>;
  /** Writes what is still waiting to be written; call once, when the process ends. */
  close(): Promise<void>;
}

export interface RunFilter {
  operation?: string;
  status?: RunStatus;
  tag?: string;
  /** Runs started at or after. */
  startedFrom?: Date;
  /** Runs started before. */
  startedTo?: Date;
  /** 1 to 200; default 50. */
  limit?: number;
  /** `nextCursor` of the page before. */
  cursor?: string;
}

export interface RunSummary {
  runId: string;
  operation: string;
  status: RunStatus;
  origin: string;
  tags: readonly string[];
  /** `<kind>:<id>` of who started it; null when unknown. */
  startedBy: string | null;
  startedAt: Date;
  closedAt: Date | null;
  /** Type of the failure that ended it, from `schemas/errors.ts` or the operation's own. */
  failure: string | null;
}

export interface RunPage {
  runs: RunSummary[];
  /** Null on the last page. */
  nextCursor: string | null;
}

export interface PendingActivity {
  name: string;
  /** `scheduled`: waits for a worker; `running`; `retrying`: waits for its next attempt. */
  state: 'scheduled' | 'running' | 'retrying' | 'cancelling' | 'paused';
  /** From 1. */
  attempt: number;
  nextAttemptAt: Date | null;
  lastFailure: { type: string; message: string } | null;
  /** All of the above as one sentence for people. */
  explanation: string;
}

export interface RunDescription extends RunSummary {
  /** `temporal` while its history exists, then `read-model`. */
  source: 'temporal' | 'read-model';
  /** Answer of the reserved query `progress`; null when the operation has none or no worker answered. */
  progress: Progress | null;
  pendingActivities: readonly PendingActivity[];
  /** Events in the history so far; null once it is gone. */
  historyLength: number | null;
  /** Temporal's own id of the execution, for its UI; null once it is gone. */
  temporalRunId: string | null;
}

export type RunResult =
  | { status: 'running' }
  | { status: 'completed'; result: unknown }
  | { status: 'failed' | 'cancelled' | 'terminated' | 'timed-out'; failure: { type: string; message: string } };
