import type { Logger } from 'pino';
import type { ScheduleStore, StoredSchedule } from '../../database/schedules.ts';
import { actOf } from '../audit/act.ts';
import { systemCaller } from '../identity/caller.ts';
import { ScheduleRefused, type TemporalSchedules } from './temporal-schedules.ts';

const AT_ONCE = 50;
const PAGE = 500;
const FAILED_UNHEARD = 'a firing failed or was ended from outside';

export interface ReconcileParts {
  readonly store: ScheduleStore;
  readonly temporal: TemporalSchedules;
  readonly logger: Pick<Logger, 'info' | 'warn'>;
}

/** Makes Temporal as one row says by now. @returns undefined when there is no such row any more. @throws {HalError} while Temporal does not answer. */
export async function applySchedule({ store, temporal, logger }: { readonly store: ScheduleStore; readonly temporal: TemporalSchedules; readonly logger: Pick<Logger, 'warn'> }, orgId: string, id: string): Promise<StoredSchedule | undefined> {
  return store.applyAlone(orgId, id, {
    async apply(schedule, spent) {
      try {
        await temporal.apply(schedule, spent);
        return null;
      } catch (error) {
        if (!(error instanceof ScheduleRefused)) throw error;
        logger.warn({ schedule: id }, 'Temporal refuses a schedule');
        return error.message;
      }
    },
    remove: () => temporal.remove(orgId, id),
  });
}

/** Makes Temporal as the rows say. @returns whether more may wait. @throws {HalError} while Temporal does not answer. */
export async function applyPending({ store, temporal, logger }: ReconcileParts): Promise<boolean> {
  const pending = await store.unappliedAcrossOrganisations(AT_ONCE);
  for (const { orgId, id } of pending) await applySchedule({ store, temporal, logger }, orgId, id);
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
      switch (await difference(row, known, temporal, store)) {
        case 'none':
          break;
        case 'lost':
        case 'state':
          await store.forgetApplied(row.orgId, row.id);
          reapplied += 1;
          break;
        case 'paused by a failure':
          // The row follows: a schedule that its maker wants stopped by failures must not go on because nobody heard of one.
          if (await store.adoptPause(row.orgId, row.id, row.version, FAILED_UNHEARD, actOf(systemCaller(row.orgId, 'dispatcher'), 'schedule.pause', { kind: 'schedule', id: row.id }))) reapplied += 1;
          break;
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

type Difference = 'none' | 'lost' | 'state' | 'paused by a failure';

/** Listing lags, so a difference counts only when the schedule itself shows it. */
async function difference(row: StoredSchedule, known: { readonly paused: boolean } | undefined, temporal: TemporalSchedules, store: ScheduleStore): Promise<Difference> {
  if (row.deletedAt !== null || row.problem !== null || row.appliedVersion !== row.version) return 'none';
  const paused = row.pausedAt !== null;
  if (known !== undefined && known.paused === paused) return 'none';
  const there = await temporal.describe(row.orgId, row.id);
  if (there !== undefined) {
    if (there.paused === paused) return 'none';
    return there.paused && row.draft.pauseOnFailure ? 'paused by a failure' : 'state';
  }
  // One that is used up goes away by itself after a while.
  const { limit, endAt } = row.draft;
  if (endAt !== undefined && Date.parse(endAt) < Date.now()) return 'none';
  return limit === undefined || (await store.spent(row.orgId, row)) < limit ? 'lost' : 'none';
}
