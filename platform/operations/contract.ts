import type { Caller } from '../identity/caller.ts';

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
  origin: 'api' | 'decision' | 'schedule' | 'dispatcher';
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
