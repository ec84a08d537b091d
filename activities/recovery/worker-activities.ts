import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ApplicationFailure } from '@temporalio/activity';
import { Database } from '../../database/database.ts';
import { ErasureReplayStore } from '../../database/erasure-replays.ts';
import type { Config } from '../../platform/config/config.ts';
import type { KeyRing } from '../../platform/keys/key-ring.ts';
import { HalError } from '../../schemas/errors.ts';
import { drillInputSchema } from '../../schemas/operations/drill.ts';
import { activityOrganisation, activityRun } from '../activity-run.ts';
import { beating } from '../beating.ts';
import type { RecoveryActivities } from './activity-contract.ts';
import { assertRoom, chooseBaseBackup, takenAt, verifyBaseBackup } from './base-backups.ts';
import { drillingOrganisation } from './drilling-organisation.ts';
import { compareWithLive } from './live-comparison.ts';
import { bringUpToDate, eraseAgain, examine, restoredThrough } from './restored-database.ts';
import type { RestoredServer } from './restored-server.ts';
import type { Scratch } from './scratch.ts';

export interface RecoveryParts {
  readonly config: Pick<Config, 'HAL9_BACKUPS' | 'HAL9_RECOVERY_ORG'>;
  /** The live one. */
  readonly database: Database;
  readonly keys: KeyRing;
  readonly server: RestoredServer;
  readonly scratch: Scratch;
  /** Task queue of this machine. */
  readonly queue: string;
}

/** What a recovery worker does. The state of a drill lies on its disk, so that every step can be tried again by a worker that was started anew. */
export function createRecoveryActivities({ config, database, keys, server, scratch, queue }: RecoveryParts): RecoveryActivities {
  const backups = (): string => {
    if (config.HAL9_BACKUPS === undefined) throw new HalError('NoBackup', 'HAL9_BACKUPS of the recovery worker is not set');
    return config.HAL9_BACKUPS;
  };
  /** A step with what was laid out here for its run. */
  const step = async <T>(work: (folder: string, signal: AbortSignal) => Promise<T>): Promise<T> => {
    const { uuid } = activityRun();
    if (!(await scratch.holds(uuid))) throw ApplicationFailure.nonRetryable('there is nothing of this drill on this machine', 'ScratchLost');
    return beating((signal) => scratch.during(uuid, () => work(scratch.folder(uuid), signal)));
  };
  const restored = <T>(work: (restored: { readonly url: string; readonly database: Database; readonly signal: AbortSignal }) => Promise<T>): Promise<T> =>
    step((folder, signal) =>
      server.serve(folder, signal, async (url) => {
        const own = new Database({ url, poolSize: 2, applicationName: 'hal9-drill' });
        try {
          return await work({ url, database: own, signal });
        } finally {
          await own.close();
        }
      }),
    );
  return {
    async claimRecovery() {
      backups();
      await assertMayDrill(database, config.HAL9_RECOVERY_ORG, activityOrganisation());
      await scratch.claim(activityRun().uuid);
      return { queue };
    },
    async chooseBackup(input) {
      const { at, backup } = drillInputSchema.parse(input);
      return step(async (folder) => {
        const chosen = await chooseBaseBackup(backups(), { at, backup });
        if (chosen.major !== server.major) throw new HalError('NoBackup', `base backup ${chosen.name} is of PostgreSQL ${chosen.major}, and the recovery worker has ${server.major}: set HAL9_POSTGRES_BIN`);
        await assertRoom(folder, chosen, server.walCopies);
        return { name: chosen.name, takenAt: takenAt(chosen.name).toISOString(), files: chosen.files, bytes: chosen.bytes };
      });
    },
    verifyBackup: (name) => step(async (_, signal) => verifyBaseBackup(await chooseBaseBackup(backups(), { backup: name }), signal)),
    layOutBackup: ({ name, at }) =>
      step(async (folder, signal) => {
        const { firstSegment } = await chooseBaseBackup(backups(), { backup: name });
        await server.layOut(folder, { backups: backups(), base: name, firstSegment, at }, signal);
      }),
    async recoverDatabase() {
      // Only the server that replayed it knows; one that is started again has forgotten.
      const noted = join(scratch.folder(activityRun().uuid), 'restored-through');
      const through = await restored(async ({ url }) => (await restoredThrough(url))?.toISOString() ?? null);
      if (through !== null) await writeFile(noted, through);
      return { restoredThrough: through ?? (await readFile(noted, 'utf8').catch(() => null)) };
    },
    repeatErasures: () =>
      restored(async ({ url, database: own, signal }) => {
        const schema = await bringUpToDate(url);
        // Erasures that came after the moment: a restore must not bring those people back either.
        const ledger = new ErasureReplayStore(database);
        const { check, replayed, keysDestroyed } = await eraseAgain({ database: own, keys, signal, alsoErased: (orgId) => ledger.complete(orgId) });
        return { checks: [schema, check], replayed, keysDestroyed };
      }),
    checkDatabase: ({ at, until }) =>
      restored(async ({ url, database: own, signal }) => {
        const { checks, organisations, lastAct } = await examine({ url, database: own, restoredTo: at === undefined ? undefined : new Date(at), signal });
        return { checks: [...checks, ...(await compareWithLive({ restored: own, live: database, until: new Date(until), signal }))], organisations, lastAct: lastAct?.toISOString() ?? null };
      }),
    releaseRecovery: () => beating(() => scratch.remove(activityRun().uuid)),
  };
}

/** @throws {HalError} Forbidden. */
async function assertMayDrill(database: Database, chosen: string | undefined, orgId: string): Promise<void> {
  if ((await drillingOrganisation(database, chosen)) !== orgId) throw new HalError('Forbidden', 'a drill restores the data of every organisation: HAL9_RECOVERY_ORG of the recovery worker says whose runs may');
}
