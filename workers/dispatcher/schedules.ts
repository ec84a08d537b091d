import { ScheduleStore, SCHEDULES_CHANNEL } from '../../database/schedules.ts';
import { ScheduleFirer } from '../../platform/schedules/firing.ts';
import { applyPending, compareAll } from '../../platform/schedules/reconcile.ts';
import { TemporalSchedules } from '../../platform/schedules/temporal-schedules.ts';
import { LaneChooser } from '../../platform/signals/lane.ts';
import type { BackgroundProcess } from '../process.ts';
import type { Drain } from './drains.ts';

const COMPARE_MS = 60_000;
const UPKEEP_MS = 30_000;
/** A firing that runs so long is asked after: whoever waited for its run may be gone. Seconds. */
const ASK_AFTER_SECONDS = 120;
const ASKED_AT_ONCE = 100;
const FORGET_AFTER_DAYS = 90;

/** Keeps Temporal's schedules as the rows say, and brings back what either side lost. */
export function createScheduleDrain({ client, database, logger }: Pick<BackgroundProcess, 'client' | 'database' | 'logger'>): Drain {
  const parts = { store: new ScheduleStore(database), temporal: new TemporalSchedules(client), logger };
  let compareAt = 0;
  return {
    name: 'schedules',
    channels: [SCHEDULES_CHANNEL],
    pollMs: 5_000,
    async run() {
      if (Date.now() >= compareAt) {
        const { reapplied, restored } = await compareAll(parts);
        compareAt = Date.now() + COMPARE_MS;
        if (reapplied + restored > 0) logger.info({ reapplied, restored }, 'schedules that one side had lost');
      }
      return applyPending(parts);
    },
  };
}

/** Settles firings that nobody waits for, and forgets old ones. */
export function createScheduleUpkeep({ config, database, operations, logger }: Pick<BackgroundProcess, 'config' | 'database' | 'operations' | 'logger'>): Drain {
  const store = new ScheduleStore(database);
  const firer = new ScheduleFirer({ database, operations, lanes: new LaneChooser(config.HAL9_LANES), logger });
  return {
    name: 'schedules-upkeep',
    pollMs: UPKEEP_MS,
    async run() {
      await firer.settleForgotten(await store.openFiringsAcrossOrganisations(ASK_AFTER_SECONDS, ASKED_AT_ONCE));
      await store.forgetFiringsAcrossOrganisations(FORGET_AFTER_DAYS);
      return false;
    },
  };
}
