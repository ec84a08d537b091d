import { v5 } from 'uuid';
import { EvidenceStore } from '../../database/evidence.ts';
import { systemCaller } from '../../platform/identity/caller.ts';
import type { OperationsPort } from '../../platform/operations/contract.ts';
import type { BackgroundProcess } from '../process.ts';
import type { Drain } from './drains.ts';

const EVERY_MS = 300_000;

/** Starts the collection of evidence once a day for every organisation. */
export function createEvidenceSchedule({ database, operations }: Pick<BackgroundProcess, 'database' | 'operations'>): Drain {
  return evidenceSchedule(new EvidenceStore(database), operations);
}

/** The run's uuid is made of organisation and day: however often and by however many it is started, it is one run. */
export function evidenceSchedule(evidence: Pick<EvidenceStore, 'settledOrganisationsAcrossAll'>, operations: Pick<OperationsPort, 'start'>, now: () => Date = () => new Date()): Drain {
  let started = '';
  return {
    name: 'compliance-evidence',
    pollMs: EVERY_MS,
    async run(signal) {
      const day = now().toISOString().slice(0, 10);
      const organisations = await evidence.settledOrganisationsAcrossAll();
      const done = `${day}/${organisations.join()}`;
      if (done === started) return false;
      const failures: unknown[] = [];
      for (const orgId of organisations) {
        if (signal.aborted) return false;
        // One that cannot be started must not keep the others waiting.
        await operations
          .start(systemCaller(orgId, 'dispatcher'), { operation: 'compliance-evidence', uuid: v5(`compliance-evidence/${day}`, orgId), origin: 'dispatcher', input: {} })
          .catch((error: unknown) => failures.push(error));
      }
      if (failures.length > 0) throw new AggregateError(failures, `evidence of ${failures.length} organisations is not being collected`);
      started = done;
      return false;
    },
  };
}
