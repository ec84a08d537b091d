import { randomUUID } from 'node:crypto';
import type { Client } from '@temporalio/client';
import type { Logger } from 'pino';
import type { Database } from '../../database/database.ts';
import { ScheduleStore, type ScheduleChange, type ScheduleFiring, type StoredSchedule } from '../../database/schedules.ts';
import { HalError } from '../../schemas/errors.ts';
import type { OperationContract } from '../../schemas/operations/operation.ts';
import type { Overlap, ScheduleDraft } from '../../schemas/schedules/definition.ts';
import { actOf } from '../audit/act.ts';
import { AuditActStore } from '../../database/audit-acts.ts';
import { ownerOf, permissionOf } from '../automations/owner.ts';
import type { Caller } from '../identity/caller.ts';
import { assertCan } from '../identity/permissions.ts';
import { parsePayload } from '../operations/validation.ts';
import { applySchedule } from './reconcile.ts';
import { TemporalSchedules, type ScheduleTimes } from './temporal-schedules.ts';

/** Longest span a backfill may cover, days. */
const LONGEST_BACKFILL_DAYS = 400;
const DAY_MS = 86_400_000;

export interface ScheduleDependencies {
  readonly database: Database;
  readonly client: Client;
  readonly contracts: ReadonlyMap<string, OperationContract>;
  readonly logger: Pick<Logger, 'warn'>;
}

/** A schedule with what Temporal says of it; null while Temporal does not have it or does not answer. */
export interface ScheduleView {
  readonly schedule: StoredSchedule;
  readonly times: ScheduleTimes | null;
}

/** Schedules of an organisation. */
export class Schedules {
  readonly #store: ScheduleStore;
  readonly #acts: AuditActStore;
  readonly #temporal: TemporalSchedules;
  readonly #contracts: ReadonlyMap<string, OperationContract>;
  readonly #logger: Pick<Logger, 'warn'>;

  constructor({ database, client, contracts, logger }: ScheduleDependencies) {
    this.#store = new ScheduleStore(database);
    this.#acts = new AuditActStore(database);
    this.#temporal = new TemporalSchedules(client);
    this.#contracts = contracts;
    this.#logger = logger;
  }

  /** By name, at most `limit`; `after` continues a page. */
  async list(caller: Caller, limit: number, after?: string): Promise<StoredSchedule[]> {
    return this.#store.list(caller.orgId, limit, after);
  }

  /** By its name; undefined where there is none. */
  async named(caller: Caller, name: string): Promise<StoredSchedule | undefined> {
    return this.#store.findNamed(caller.orgId, name);
  }

  /** @throws {HalError} `NotFound`. */
  async get(caller: Caller, id: string): Promise<ScheduleView> {
    const schedule = await this.#stored(caller, id);
    return { schedule, times: (await this.#timesOf(schedule)) ?? null };
  }

  /**
   * The caller becomes its owner.
   * @throws {HalError} `InvalidInput`, also for input the operation refuses; `Forbidden` when the caller may not start it; `Conflict` when the name is taken.
   */
  async create(caller: Caller, draft: ScheduleDraft): Promise<ScheduleView> {
    this.#check(caller, draft);
    const id = randomUUID();
    const created = await this.#store.create(caller.orgId, id, draft, ownerOf(caller), actOf(caller, 'schedule.create', { kind: 'schedule', id }, facts(draft)));
    if (created === undefined) throw nameTaken();
    return this.#applied(created);
  }

  /** @param expected the version the change was made from. @throws {HalError} as {@link create}; `NotFound`; `Conflict` when another version is there by now. */
  async replace(caller: Caller, id: string, expected: number | undefined, draft: ScheduleDraft): Promise<ScheduleView> {
    this.#check(caller, draft);
    return this.#applied(changed(await this.#store.change(caller.orgId, id, expected, draft, ownerOf(caller), actOf(caller, 'schedule.update', { kind: 'schedule', id }, facts(draft)))));
  }

  /** @throws {HalError} `NotFound`. */
  async pause(caller: Caller, id: string, note: string): Promise<ScheduleView> {
    const paused = await this.#store.setPaused(caller.orgId, id, { by: 'person', note }, undefined, actOf(caller, 'schedule.pause', { kind: 'schedule', id }));
    if (paused === undefined) throw missing();
    return this.#applied(paused);
  }

  /** Lets it go on; the caller becomes its owner. @throws {HalError} `NotFound`; `Forbidden` when the caller may not start its operation. */
  async unpause(caller: Caller, id: string): Promise<ScheduleView> {
    this.#check(caller, (await this.#stored(caller, id)).draft);
    const going = await this.#store.setPaused(caller.orgId, id, undefined, ownerOf(caller), actOf(caller, 'schedule.unpause', { kind: 'schedule', id }));
    if (going === undefined) throw missing();
    return this.#applied(going);
  }

  /** @throws {HalError} `NotFound`. */
  async remove(caller: Caller, id: string): Promise<void> {
    if (!(await this.#store.remove(caller.orgId, id, actOf(caller, 'schedule.delete', { kind: 'schedule', id })))) throw missing();
    try {
      await applySchedule({ store: this.#store, temporal: this.#temporal, logger: this.#logger }, caller.orgId, id);
    } catch (error) {
      this.#later(id, error);
    }
  }

  /** Fires now, with the rights of its owner, paused or not. @throws {HalError} `NotFound`; `DependencyUnavailable` while Temporal does not have it. */
  async trigger(caller: Caller, id: string, overlap: Overlap | undefined): Promise<void> {
    await this.#atTemporal(caller, id, 'schedule.trigger', {}, ({ draft }) => this.#temporal.trigger(caller.orgId, id, overlap ?? draft.overlap));
  }

  /** Fires for every time of a span that has passed. @throws {HalError} as {@link trigger}; `InvalidInput` for a span that is empty, too long or not over. */
  async backfill(caller: Caller, id: string, span: { readonly from: Date; readonly to: Date; readonly overlap: Overlap }): Promise<void> {
    const length = span.to.getTime() - span.from.getTime();
    if (length <= 0 || length > LONGEST_BACKFILL_DAYS * DAY_MS || span.to.getTime() > Date.now()) {
      throw new HalError('InvalidInput', 'this span cannot be made up for', { errors: [{ path: '/to', message: `after \`from\`, by at most ${String(LONGEST_BACKFILL_DAYS)} days, and not in the future` }] });
    }
    await this.#atTemporal(caller, id, 'schedule.backfill', { from: span.from.toISOString(), to: span.to.toISOString() }, () => this.#temporal.backfill(caller.orgId, id, span));
  }

  /** What it did, newest first. @throws {HalError} `NotFound`. */
  async firings(caller: Caller, id: string, limit: number, before?: { createdAt: Date; id: string }): Promise<ScheduleFiring[]> {
    await this.#stored(caller, id);
    return this.#store.firings(caller.orgId, id, limit, before);
  }

  async #atTemporal(caller: Caller, id: string, action: string, details: Readonly<Record<string, string>>, work: (schedule: StoredSchedule) => Promise<void>): Promise<void> {
    const schedule = await this.#stored(caller, id);
    if (schedule.appliedVersion === 0) await this.#applied(schedule);
    await this.#acts.record(actOf(caller, action, { kind: 'schedule', id }, details));
    await work(schedule);
  }

  async #stored(caller: Caller, id: string): Promise<StoredSchedule> {
    const schedule = await this.#store.find(caller.orgId, id);
    if (schedule === undefined) throw missing();
    return schedule;
  }

  /** Tries at once; the dispatcher goes on trying. */
  async #applied(schedule: StoredSchedule): Promise<ScheduleView> {
    const { orgId, id } = schedule;
    try {
      const applied = (await applySchedule({ store: this.#store, temporal: this.#temporal, logger: this.#logger }, orgId, id)) ?? schedule;
      return { schedule: applied, times: applied.problem === null ? ((await this.#timesOf(applied)) ?? null) : null };
    } catch (error) {
      this.#later(id, error);
      return { schedule, times: null };
    }
  }

  async #timesOf({ orgId, id }: StoredSchedule): Promise<ScheduleTimes | undefined> {
    try {
      return await this.#temporal.describe(orgId, id);
    } catch (error) {
      this.#later(id, error);
      return undefined;
    }
  }

  /** Only for what the dispatcher makes good. @throws what is no outage. */
  #later(id: string, error: unknown): void {
    if (!(error instanceof HalError) || !error.failure.retryable) throw error;
    this.#logger.warn({ schedule: id, reason: error.message }, 'Temporal does not answer; the schedule is applied later');
  }

  #check(caller: Caller, { action }: ScheduleDraft): void {
    const needed = permissionOf(action, this.#contracts);
    assertCan(caller, needed.permission, needed.attributes);
    const contract = action.kind === 'operation' ? this.#contracts.get(action.operation) : undefined;
    if (contract !== undefined && action.kind === 'operation') parsePayload(contract.input, action.input);
  }
}

/** What of a draft may stand in the audit log. */
function facts({ action, overlap }: ScheduleDraft): Record<string, string> {
  return { action: action.kind, overlap, ...(action.kind === 'operation' ? { operation: action.operation } : {}) };
}

function changed(outcome: ScheduleChange): StoredSchedule {
  switch (outcome.kind) {
    case 'changed': return outcome.schedule;
    case 'missing': throw missing();
    case 'stale': throw new HalError('Conflict', `the schedule is at version ${String(outcome.version)} by now`);
    case 'name-taken': throw nameTaken();
  }
}

function missing(): HalError {
  return new HalError('NotFound', 'there is no such schedule');
}

function nameTaken(): HalError {
  return new HalError('Conflict', 'another schedule has this name');
}
