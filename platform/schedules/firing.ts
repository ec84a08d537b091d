import type { Logger } from 'pino';
import type { Database } from '../../database/database.ts';
import { ScheduleStore, type ScheduleFiring, type ScheduleFiringState, type StoredSchedule } from '../../database/schedules.ts';
import { SignalStore } from '../../database/signals.ts';
import { HalError } from '../../schemas/errors.ts';
import { formatRunId } from '../../schemas/names/workflow-id.ts';
import type { OperationContract } from '../../schemas/operations/operation.ts';
import { SCHEDULE_SOURCE } from '../../schemas/automations/definition.ts';
import { actOf } from '../audit/act.ts';
import { permissionOf, refusalOf } from '../automations/owner.ts';
import { OwnerStandings } from '../automations/standing.ts';
import { toHalError } from '../failures/translate.ts';
import { systemCaller, type Caller } from '../identity/caller.ts';
import type { OperationsPort, RunsPort } from '../operations/contract.ts';
import { uuidText } from '../signals/key.ts';
import type { LaneChooser } from '../signals/lane.ts';
import { prepareValue } from '../signals/prepare.ts';

export interface FiringDependencies {
  readonly database: Database;
  readonly operations: Pick<OperationsPort, 'start' | 'cancel' | 'terminate'> & Pick<RunsPort, 'result'> & { readonly contracts: ReadonlyMap<string, OperationContract> };
  readonly lanes: LaneChooser;
  readonly logger: Pick<Logger, 'warn'>;
}

/** One time a schedule is due. */
export interface DueFiring {
  readonly scheduleId: string;
  /** Temporal's id of the firing; the run it starts has it as its uuid. */
  readonly id: string;
  readonly dueAt: Date;
  /** When Temporal fired it: later than `dueAt` for a backfill, a buffered one, or one that Temporal caught up with. */
  readonly firedAt: Date;
}

/** What came of it: a run to stay with, or the end already. */
export type FiringStart = { readonly runId: string } | { readonly reason: string | null; readonly skipped: boolean; readonly failed: boolean };

/** Does what a schedule is due to do, after asking whether its owner still may. */
export class ScheduleFirer {
  readonly #parts: FiringDependencies;
  readonly #store: ScheduleStore;
  readonly #standings: OwnerStandings;
  readonly #signals: SignalStore;

  constructor(parts: FiringDependencies) {
    this.#parts = parts;
    this.#store = new ScheduleStore(parts.database);
    this.#standings = new OwnerStandings(parts.database);
    this.#signals = new SignalStore(parts.database);
  }

  /** The same firing twice does it once. @throws {HalError} what may pass by itself: try again. */
  async fire(orgId: string, due: DueFiring): Promise<FiringStart> {
    const schedule = await this.#store.find(orgId, due.scheduleId);
    if (schedule === undefined) return { reason: 'the schedule was deleted', skipped: true, failed: false };
    const { action } = schedule.draft;
    const runId = action.kind === 'operation' ? formatRunId({ operation: action.operation, uuid: due.id }) : null;
    const firing = await this.#store.begin(orgId, { ...due, runId, missed: missedBy(due, schedule.draft.catchUpSeconds) });
    if (firing.state !== 'running') return endOf(firing);
    try {
      const needed = permissionOf(action, this.#parts.operations.contracts);
      const refusal = refusalOf(schedule.owner, await this.#standings.of(orgId, schedule.owner), needed, 'schedule');
      if (refusal !== undefined) return await this.#refuse(orgId, firing, refusal);
      if (schedule.draft.overlap === 'terminate-other') await this.#endOthers(orgId, firing);
      return await this.#act(orgId, schedule, firing);
    } catch (thrown) {
      const error = toHalError(thrown);
      if (error.failure.retryable) throw error;
      const reason = `${error.type}: ${error.message}`;
      await this.#settle(orgId, firing, 'failed', reason);
      return { reason, skipped: false, failed: true };
    }
  }

  /** Notes how the run of a firing ended. @returns whether that is a failure. */
  async ended(orgId: string, { scheduleId, id }: { readonly scheduleId: string; readonly id: string }, status: string): Promise<{ failed: boolean }> {
    const state = status === 'completed' ? 'done' : status === 'cancelled' || status === 'terminated' ? 'cancelled' : 'failed';
    await this.#settle(orgId, { id, scheduleId }, state, status === 'completed' ? undefined : `the run ended as ${status}`);
    return { failed: state === 'failed' };
  }

  /** Asks after firings that nobody waits for any more, e.g. because their waiting was terminated. */
  async settleForgotten(firings: readonly (ScheduleFiring & { readonly orgId: string })[]): Promise<void> {
    for (const firing of firings) {
      if (firing.runId === null) continue;
      try {
        const { status } = await this.#parts.operations.result(this.#system(firing.orgId), firing.runId, 0);
        if (status !== 'running') await this.ended(firing.orgId, firing, status);
      } catch (error) {
        if (!(error instanceof HalError) || error.type !== 'NotFound') throw error;
        await this.#store.settle(firing.orgId, firing, { state: 'failed', reason: 'its run is not there' });
      }
    }
  }

  async #act(orgId: string, { owner, draft: { action } }: StoredSchedule, firing: ScheduleFiring): Promise<FiringStart> {
    if (action.kind === 'signal') {
      const key = await this.#send(orgId, firing, action);
      await this.#store.settle(orgId, firing, { state: 'done', emittedKey: key });
      return { reason: null, skipped: false, failed: false };
    }
    const caller: Caller = { orgId, actor: { kind: actorKind(owner.kind), id: owner.id }, scopes: owner.scopes, requestId: firing.id, traceparent: undefined };
    const { runId } = await this.#parts.operations.start(caller, { operation: action.operation, input: action.input, uuid: firing.id, origin: 'schedule' });
    return { runId };
  }

  /** The signal's (source, id) is made of the firing, so a second try is a duplicate. */
  async #send(orgId: string, { id, scheduleId, dueAt }: ScheduleFiring, action: { readonly type: string; readonly subject?: string | undefined; readonly data: Readonly<Record<string, unknown>> }): Promise<string> {
    const signal = {
      specversion: '1.0',
      id,
      source: `${SCHEDULE_SOURCE}${scheduleId}`,
      type: action.type,
      time: new Date().toISOString(),
      ...(action.subject === undefined ? {} : { subject: action.subject }),
      datacontenttype: 'application/json',
      data: { ...action.data, dueAt: dueAt.toISOString() },
    };
    const prepared = prepareValue(signal, { orgId, lanes: this.#parts.lanes, receivedAt: signal.time, defaultSpecversion: false });
    if (prepared.row === undefined) throw new HalError('InvalidInput', 'the signal it would send does not match the schema', { errors: prepared.errors });
    await this.#signals.commit({ orgId, rows: [prepared.row], traceparent: undefined });
    return uuidText(prepared.row.key);
  }

  /** Temporal ended the waiting of those before this one; their runs end here. */
  async #endOthers(orgId: string, { id, scheduleId }: ScheduleFiring): Promise<void> {
    for (const other of await this.#store.openBeside(orgId, scheduleId, id)) {
      if (other.runId === null) continue;
      try {
        await this.#parts.operations.terminate(this.#system(orgId), other.runId, 'the next firing of its schedule is due');
      } catch (error) {
        if (!(error instanceof HalError) || (error.type !== 'RunClosed' && error.type !== 'NotFound')) throw error;
      }
      await this.#store.settle(orgId, other, { state: 'cancelled', reason: 'the next firing was due' });
    }
  }

  async #refuse(orgId: string, firing: ScheduleFiring, refusal: string): Promise<FiringStart> {
    await this.#store.settle(orgId, firing, { state: 'skipped', reason: refusal }, this.#pause(orgId, firing.scheduleId, refusal, 'owner'));
    return { reason: refusal, skipped: true, failed: false };
  }

  async #settle(orgId: string, firing: { readonly id: string; readonly scheduleId: string }, state: Exclude<ScheduleFiringState, 'running'>, reason: string | undefined): Promise<void> {
    const pauses = state === 'failed' && (await this.#store.find(orgId, firing.scheduleId))?.draft.pauseOnFailure === true;
    await this.#store.settle(orgId, firing, { state, ...(reason === undefined ? {} : { reason }) }, pauses ? this.#pause(orgId, firing.scheduleId, reason ?? 'it failed', 'failure') : undefined);
  }

  #pause(orgId: string, id: string, note: string, cause: string) {
    this.#parts.logger.warn({ schedule: id, cause }, 'a schedule pauses');
    return { note, act: actOf(this.#system(orgId), 'schedule.pause', { kind: 'schedule', id }, { cause }) };
  }

  #system(orgId: string): Caller {
    return systemCaller(orgId, 'scheduler');
  }
}

/**
 * Why a firing comes too late: Temporal leaves out what it was itself away for too long, but fires on time while no worker is there
 * (or no database), and such a firing waits in its queue for as long as that lasts.
 */
function missedBy({ firedAt }: DueFiring, catchUpSeconds: number): string | undefined {
  const late = Math.floor((Date.now() - firedAt.getTime()) / 1000);
  return late > catchUpSeconds ? `nothing was there to act on it for ${String(late)} s; it may come ${String(catchUpSeconds)} s late` : undefined;
}

function endOf({ state, reason, runId }: ScheduleFiring): FiringStart {
  return state === 'done' && runId !== null ? { runId } : { reason, skipped: state === 'skipped', failed: state === 'failed' };
}

function actorKind(kind: string): Caller['actor']['kind'] {
  return kind === 'api-key' || kind === 'user' || kind === 'service' ? kind : 'system';
}
