import type { Caller } from '../identity/caller.ts';
import type { Progress } from '../../schemas/names/messages.ts';
import type { RunEvent } from '../../database/run-events.ts';
import type { FailureGroup } from '../../database/runs.ts';
import type { ConcurrencyConflict, EffectClass, OperationContract, Subject } from '../../schemas/operations/operation.ts';
import type { RunRecording } from './run-recording.ts';

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
  /** @param timeoutMs how long its answer is waited for, default 30 s; the update goes on afterwards. */
  update(caller: Caller, runId: string, name: string, payload: unknown, timeoutMs?: number): Promise<unknown>;
  cancel(caller: Caller, runId: string): Promise<void>;
  terminate(caller: Caller, runId: string, reason: string): Promise<void>;
  /**
   * Holds the run before its next step; what runs already ends. Answers whether it was running.
   * @throws {HalError} NotFound, RunClosed, Timeout when no worker serves the run.
   */
  pause(caller: Caller, runId: string): Promise<boolean>;
  /** Lets a paused run go on. Answers whether it was paused. */
  resume(caller: Caller, runId: string): Promise<boolean>;
  /**
   * Starts a run with the input of one that has ended.
   * @param uuid of the new run, so that a repetition is the same; default random.
   * @throws {HalError} Conflict while it is open, NotFound once Temporal's retention has passed.
   */
  retry(caller: Caller, runId: string, uuid?: string): Promise<StartedRun>;
  /** Begins the run again from a step, in the next epoch; see {@link RunsPort.replayPlan}. */
  replay(caller: Caller, runId: string, fromEvent: number | undefined, reason: string): Promise<ReplayedRun>;
}

export interface StartRequest {
  /** Name of the operation. */
  operation: string;
  input: unknown;
  origin: 'api' | 'decision' | 'automation' | 'schedule' | 'dispatcher';
  /** For HAL9's own starts: the uuid of the workflow id, so that a retry is the same run. */
  uuid?: string;
  /** The person the run is about, from the `HAL9-Subject` header; default: who the contract says. */
  subject?: Subject;
  /** With `uuid`: names one run at a time, so that one that was lost is started again. */
  again?: true;
  /** From the `Idempotency-Key` header. */
  idempotencyKey?: string;
  /** Seconds to wait before the first workflow task. */
  delaySeconds?: number;
  /** Seconds the run may take, less than the operation's own limit. */
  timeoutSeconds?: number;
  /** 1 (first) to 5 (last), default 3; between organisations of one priority turns are shared out fairly. */
  priority?: number;
  /** Instead of the operation's own rule: so many runs of it at once for the key. */
  concurrency?: { readonly key: string; readonly limit: number; readonly onConflict: ConcurrencyConflict };
  /** Remarks for people, kept encrypted in Temporal and shown in the description. */
  memo?: Readonly<Record<string, string>>;
  /** The run whose input this is. */
  retryOf?: string;
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
  /** True when it waits for the lease of its concurrency key. */
  queued?: boolean;
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
   * The run as the read model has it, from memory where nothing changed: usually some hundred milliseconds behind Temporal, and after
   * {@link result} told of the end not behind that. @throws {HalError} NotFound, Forbidden.
   */
  read(caller: Caller, runId: string): Promise<RunDescription>;
  /** Runs that failed or timed out, grouped by operation and failure, the latest first. */
  failures(caller: Caller, query: { operation?: string; from: Date; to: Date; limit: number }): Promise<readonly FailureGroup[]>;
  /** What the run did, step by step; inputs and results for callers with `codec:decode` who ask. @throws {HalError} NotFound, Forbidden. */
  timeline(caller: Caller, runId: string, payloads: boolean): Promise<{ steps: readonly RunStep[]; events: number }>;
  /** What the run was started with; for callers with `codec:decode`. @throws {HalError} NotFound (also once Temporal's retention has passed), Forbidden. */
  input(caller: Caller, runId: string): Promise<unknown>;
  /** The history of a run as replay tests keep it, decrypted; for callers with `codec:decode`. @throws {HalError} NotFound, Forbidden. */
  recording(caller: Caller, runId: string): Promise<RunRecording>;
  /** What a replay would repeat. @throws {HalError} NotFound, InvalidInput without such a step. */
  replayPlan(caller: Caller, runId: string, fromEvent: number | undefined): Promise<ReplayPlan>;
  /** Whether the run has ended and nothing happened to it after the event `after`. @throws {HalError} Forbidden. */
  ended(caller: Caller, runId: string, after: number): Promise<boolean>;
  /**
   * What happens to the run, each event once and in order, from the one after `after` to its end.
   * @throws {HalError} NotFound, Forbidden.
   */
  watch(caller: Caller, runId: string, after: number, signal: AbortSignal): Promise<AsyncIterable<readonly RunEvent[]>>;
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
  /** Part of the type of the failure. */
  failure?: string;
  /** `<kind>:<id>` of who started it. */
  actor?: string;
  origin?: string;
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
  /** Since when it waits before its next step, because somebody paused it. */
  pausedAt: Date | null;
  retryOf: string | null;
  retriedBy: string | null;
  /** How often it was replayed from a step. */
  epoch: number;
}

export interface RunStep {
  /** Temporal's number of the event that began it. */
  readonly eventId: number;
  /** Where a replay from this step begins; null where none can. */
  readonly resetTo: number | null;
  readonly kind: 'run' | 'activity' | 'local-activity' | 'child' | 'timer' | 'signal' | 'update' | 'cancellation';
  readonly name: string;
  readonly startedAt: Date;
  readonly endedAt: Date | null;
  readonly attempts: number;
  readonly state: 'open' | 'running' | 'completed' | 'failed' | 'timed-out' | 'cancelled' | 'terminated';
  readonly failure: { readonly type: string; readonly message: string } | null;
  readonly input?: unknown;
  readonly result?: unknown;
}

type RepeatedStep = Pick<RunStep, 'eventId' | 'kind' | 'name' | 'state' | 'attempts'>;

export interface ReplayPlan {
  readonly from: Pick<RunStep, 'eventId' | 'kind' | 'name'>;
  readonly resetTo: number;
  /** What a second execution of the operation does to the world. */
  readonly effect: EffectClass;
  /** Steps that happened and would happen again. */
  readonly repeated: readonly RepeatedStep[];
  /** The epoch it would be. */
  readonly epoch: number;
  /** Whether the run goes on now; a replay ends what it does. */
  readonly open: boolean;
}

export interface ReplayedRun {
  readonly runId: string;
  readonly epoch: number;
  readonly repeated: readonly RepeatedStep[];
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
  /** Its concurrency key's lease: `queued` while it waits for its turn; the fencing token rises with every lease. */
  lease: { readonly state: 'queued' | 'held'; readonly token: number | null } | null;
  /** Temporal's own id of the execution, for its UI; null once it is gone. */
  temporalRunId: string | null;
  /** Remarks of who started it; empty once its history is gone. */
  memo: Readonly<Record<string, string>>;
}

export type RunResult =
  | { status: 'running' }
  | { status: 'completed'; result: unknown }
  | { status: 'failed' | 'cancelled' | 'terminated' | 'timed-out'; failure: { type: string; message: string } };
