import { drillingOrganisation } from '../../activities/recovery/drilling-organisation.ts';
import type { Config } from '../../platform/config/config.ts';
import { systemCaller } from '../../platform/identity/caller.ts';
import { Schedules } from '../../platform/schedules/schedules.ts';
import { HalError } from '../../schemas/errors.ts';
import drill from '../../schemas/operations/drill.ts';
import { scheduleDraftSchema } from '../../schemas/schedules/definition.ts';
import type { BackgroundProcess } from '../process.ts';
import type { Drain } from './drains.ts';

const EVERY_MS = 10_000;
const NAME = 'recovery-drill';

/** Keeps the schedule of drills that HAL9_DRILL_CRON asks for. What a person has changed stays as it is: they own the schedule then. */
export function createDrillSchedule({ client, config, database, logger, operations }: { readonly config: Pick<Config, 'HAL9_DRILL_CRON' | 'HAL9_RECOVERY_ORG'> } & Pick<BackgroundProcess, 'client' | 'database' | 'logger' | 'operations'>): Drain {
  const schedules = new Schedules({ database, client, contracts: operations.contracts, logger });
  const { HAL9_DRILL_CRON: cron, HAL9_RECOVERY_ORG: chosen } = config;
  return {
    name: 'drill-schedule',
    pollMs: EVERY_MS,
    async run() {
      const orgId = cron === undefined ? undefined : await drillingOrganisation(database, chosen);
      if (cron === undefined || orgId === undefined) return false;
      const caller = systemCaller(orgId, 'dispatcher');
      const draft = scheduleDraftSchema.parse({ name: NAME, description: 'As HAL9_DRILL_CRON says.', cron: [cron], action: { kind: 'operation', operation: drill.name } });
      const there = await schedules.named(caller, NAME);
      try {
        if (there === undefined) await schedules.create(caller, draft);
        else if (there.owner.kind === caller.actor.kind && there.owner.id === caller.actor.id && there.draft.cron.join() !== cron) await schedules.replace(caller, there.id, there.version, draft);
      } catch (error) {
        // Another dispatcher was quicker.
        if (!(error instanceof HalError) || error.type !== 'Conflict') throw error;
      }
      return false;
    },
  };
}
