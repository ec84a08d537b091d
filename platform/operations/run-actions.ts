import { randomUUID } from 'node:crypto';
import type { Client } from '@temporalio/client';
import Long from 'long';
import type { ActDetails } from '../../database/audit-acts.ts';
import { RunEventStore } from '../../database/run-events.ts';
import type { Database } from '../../database/database.ts';
import { HalError } from '../../schemas/errors.ts';
import { RESERVED_UPDATES } from '../../schemas/names/messages.ts';
import type { OperationContract } from '../../schemas/operations/operation.ts';
import type { Caller } from '../identity/caller.ts';
import type { ReplayPlan, ReplayedRun, RunDescription, StartRequest, StartedRun } from './contract.ts';
import { NOT_REAPPLIED, type RunHistory } from './run-history.ts';
import { fromTemporal } from './temporal-failures.ts';

const RPC_MS = 10_000;
/** Time for a worker to take the update, ms. */
const PAUSE_MS = 10_000;

export interface RunActionParts {
  readonly client: Client;
  readonly database: Database;
  readonly history: RunHistory;
  readonly contracts: ReadonlyMap<string, OperationContract>;
  readonly read: (caller: Caller, runId: string) => Promise<RunDescription>;
  /** Writes started runs that still wait to be written. */
  readonly flush: () => Promise<void>;
  /** Told after the run's row was changed. */
  readonly changed: (orgId: string, runId: string) => void;
  readonly start: (caller: Caller, request: StartRequest) => Promise<StartedRun>;
  /** Runs the work between an act of the intention and one of the outcome. */
  readonly audited: <T>(caller: Caller, action: string, runId: string, details: ActDetails, work: () => Promise<T>) => Promise<T>;
}

/** What an operator does with a run besides messages: pause, resume, retry, replay. Rights were checked by who calls. */
export class RunActions {
  readonly #parts: RunActionParts;
  readonly #events: RunEventStore;

  constructor(parts: RunActionParts) {
    this.#parts = parts;
    this.#events = new RunEventStore(parts.database);
  }

  /** @returns whether it changed anything. */
  async setPaused(caller: Caller, runId: string, workflowId: string, paused: boolean): Promise<boolean> {
    const { client, audited } = this.#parts;
    await this.#parts.flush();
    return audited(caller, paused ? 'run.pause' : 'run.resume', runId, {}, async () => {
      const answer = await this.#call('update', runId, PAUSE_MS, () => client.workflow.getHandle(workflowId).executeUpdate<{ changed: boolean }, []>(paused ? RESERVED_UPDATES.pause : RESERVED_UPDATES.resume));
      await this.#note(caller.orgId, runId, (events) => events.pause(caller.orgId, runId, paused));
      return answer.changed;
    });
  }

  /**
   * Starts a new run with the input of one that has ended.
   * @param uuid names the new run, so that a repetition finds it.
   */
  async retry(caller: Caller, runId: string, workflowId: string, uuid: string = randomUUID()): Promise<StartedRun> {
    const { history, start, audited } = this.#parts;
    const row = await this.#row(caller, runId);
    if (row.status === 'running') throw new HalError('Conflict', `the run ${runId} has not ended; cancel it first, or replay it from a step`);
    return audited(caller, 'run.retry', runId, {}, async () => {
      const input = await history.input(runId, workflowId);
      const started = await start(caller, { operation: row.operation, input, origin: 'api', tags: row.tags, retryOf: runId, uuid });
      await this.#note(caller.orgId, runId, (events) => events.retry(caller.orgId, runId, started.runId));
      return started;
    });
  }

  /**
   * What a replay from a step would do.
   * @param fromEvent `eventId` of the step; default the first one that failed.
   * @throws {HalError} InvalidInput when there is no such step.
   */
  async plan(caller: Caller, runId: string, workflowId: string, fromEvent: number | undefined): Promise<ReplayPlan> {
    const [row, { steps }] = await Promise.all([this.#row(caller, runId), this.#parts.history.timeline(runId, workflowId, false)]);
    const at = steps.find((step) => (fromEvent === undefined ? step.state === 'failed' || step.state === 'timed-out' : step.eventId === fromEvent) && step.resetTo !== null && step.resetTo > 0);
    if (at === undefined || at.resetTo === null) {
      throw new HalError('InvalidInput', fromEvent === undefined ? 'no step of the run failed: say from which one to replay' : `the run has no step ${fromEvent} to replay from`, { errors: [{ path: '/fromEvent', message: 'the eventId of an activity, child, timer or local activity in the history of the run' }] });
    }
    const { resetTo } = at;
    const repeated = steps.filter((step) => step.resetTo !== null && step.resetTo >= resetTo && step.kind !== 'timer').map(({ eventId, kind, name, state, attempts }) => ({ eventId, kind, name, state, attempts }));
    return { from: { eventId: at.eventId, kind: at.kind, name: at.name }, resetTo, effect: this.#parts.contracts.get(row.operation)?.effect ?? 'irreversible', repeated, epoch: row.epoch + 1, open: row.status === 'running' };
  }

  /**
   * Lets the run go on from a step as if what followed had not happened; signals since then are sent again, updates and cancellations
   * are not. The epoch is raised first, so that a crash between leaves effects guarded by the old one untouched.
   */
  async replay(caller: Caller, runId: string, workflowId: string, fromEvent: number | undefined, reason: string): Promise<ReplayedRun> {
    const { client, audited } = this.#parts;
    const plan = await this.plan(caller, runId, workflowId, fromEvent);
    return audited(caller, 'run.replay', runId, { fromEvent: plan.from.eventId, epoch: plan.epoch }, async () => {
      const { runId: temporalRunId } = await this.#call('read', runId, RPC_MS, () => client.workflow.getHandle(workflowId).describe());
      await this.#note(caller.orgId, runId, (events) => events.replay(caller.orgId, runId, plan.epoch));
      await this.#call('replay', runId, RPC_MS, () =>
        client.workflowService.resetWorkflowExecution({
          namespace: client.options.namespace,
          workflowExecution: { workflowId, runId: temporalRunId },
          reason,
          workflowTaskFinishEventId: Long.fromNumber(plan.resetTo),
          requestId: randomUUID(),
          resetReapplyExcludeTypes: NOT_REAPPLIED,
        }),
      );
      return { runId, epoch: plan.epoch, repeated: plan.repeated };
    });
  }

  /** As it stands now; a run that this process has just started is written down first. */
  async #row(caller: Caller, runId: string): Promise<RunDescription> {
    await this.#parts.flush();
    return this.#parts.read(caller, runId);
  }

  /** Changes the run's row; who reads it next through this process sees that. */
  async #note(orgId: string, runId: string, change: (events: RunEventStore) => Promise<void>): Promise<void> {
    await change(this.#events);
    this.#parts.changed(orgId, runId);
  }

  async #call<T>(attempt: Parameters<typeof fromTemporal>[1], runId: string, timeoutMs: number, work: () => Promise<T>): Promise<T> {
    try {
      return await this.#parts.client.withDeadline(Date.now() + timeoutMs, work);
    } catch (error) {
      throw fromTemporal(error, attempt, runId);
    }
  }
}
