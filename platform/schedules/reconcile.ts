import type { Logger } from 'pino';
import type { ScheduleStore, StoredSchedule } from '../../database/schedules.ts';
import { actOf } from '../audit/act.ts';
import { systemCaller } from '../identity/caller.ts';
import { ScheduleRefused, type TemporalSchedules } from './temporal-schedules.ts';

const AT_ONCE = 50;
const PAGE = 500;

export interface ReconcileParts {
  readonly store: ScheduleStore;
  readonly temporal: TemporalSchedules;
  readonly logger: Pick<Logger, 'info' | 'warn'>;
}

/** Makes Temporal as the rows say. @returns whether more may wait. @throws {HalError} while Temporal does not answer. */
export async function applyPending({ store, temporal, logger }: ReconcileParts): Promise<boolean> {
  const pending = await store.unappliedAcrossOrganisations(AT_ONCE);
  for (const schedule of pending) {
    const { orgId, id, version, deletedAt } = schedule;
    if (deletedAt !== null) {
      await temporal.remove(orgId, id);
      await store.purge(orgId, id);
      continue;
    }
    try {
      await temporal.apply(schedule, await store.spent(orgId, schedule));
      await store.noteApplied(orgId, id, version, null);
    } catch (error) {
      if (!(error instanceof ScheduleRefused)) throw error;
      logger.warn({ schedule: id }, 'Temporal refuses a schedule');
      await store.noteApplied(orgId, id, version, error.message);
    }
  }
  return pending.length === AT_ONCE;
}

/** What a comparison of both sides found and began to mend. */
export interface Reconciled {
  /** Rows whose schedule Temporal had lost, or had otherwise paused than they say. */
  readonly reapplied: number;
  /** Schedules whose row the database had lost. */
  readonly restored: number;
}

/** Compares all rows with all of Temporal's schedules; what differs is applied by the next {@link applyPending}. Doing it twice changes nothing more. */
export async function compareAll({ store, temporal, logger }: ReconcileParts): Promise<Reconciled> {
  const there = new Map<string, { readonly orgId: string; readonly id: string; readonly paused: boolean }>();
  for await (const schedule of temporal.list()) there.set(`${schedule.orgId}/${schedule.id}`, schedule);
  let [reapplied, restored] = [0, 0];
  let after: StoredSchedule | undefined;
  do {
    const rows: StoredSchedule[] = await store.allAcrossOrganisations(PAGE, after);
    for (const row of rows) {
      const known = there.get(`${row.orgId}/${row.id}`);
      there.delete(`${row.orgId}/${row.id}`);
      if (await differs(row, known, temporal, store)) {
        await store.forgetApplied(row.orgId, row.id);
        reapplied += 1;
      }
    }
    after = rows.length === PAGE ? rows.at(-1) : undefined;
  } while (after !== undefined);
  for (const { orgId, id } of there.values()) {
    const kept = await temporal.kept(orgId, id);
    if (kept === undefined) continue;
    const act = actOf(systemCaller(orgId, 'dispatcher'), 'schedule.restore', { kind: 'schedule', id }, { version: kept.version });
    if (await store.restore({ orgId, id, ...kept, version: kept.version + 1 }, act)) restored += 1;
    else logger.warn({ schedule: id }, 'a schedule of Temporal belongs to no row and cannot be brought back');
  }
  return { reapplied, restored };
}

/** Listing lags, so a difference counts only when the schedule itself shows it. */
async function differs(row: StoredSchedule, known: { readonly paused: boolean } | undefined, temporal: TemporalSchedules, store: ScheduleStore): Promise<boolean> {
  if (row.deletedAt !== null || row.problem !== null || row.appliedVersion !== row.version) return false;
  if (known !== undefined) return false;
  if ((await temporal.describe(row.orgId, row.id)) !== undefined) return false;
  // One that is used up goes away by itself after a while.
  const { limit, endAt } = row.draft;
  if (endAt !== undefined && Date.parse(endAt) < Date.now()) return false;
  return limit === undefined || (await store.spent(row.orgId, row)) < limit;
}
