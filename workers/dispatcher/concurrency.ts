import { WorkflowNotFoundError } from '@temporalio/common';
import { ConcurrencyLeaseStore, LEASE_CHANNEL } from '../../database/concurrency-leases.ts';
import { BEGIN_SIGNAL } from '../../schemas/names/messages.ts';
import { formatWorkflowId, parseRunId } from '../../schemas/names/workflow-id.ts';
import type { BackgroundProcess } from '../process.ts';
import type { Drain } from './drains.ts';

const POLL_MS = 1_000;
const BATCH = 100;
const RPC_MS = 10_000;
/** How often leases without a run are looked for, ms. */
const SWEEP_MS = 60_000;

/** Lets queued runs begin as leases become free, in their order, and ends runs that have held one for longer than their operation allows. */
export function createConcurrencyDrain({ client, database, logger }: Pick<BackgroundProcess, 'client' | 'database' | 'logger'>): Drain {
  const leases = new ConcurrencyLeaseStore(database);
  let sweepAt = Date.now() + SWEEP_MS;
  const run = ({ orgId, runId }: { orgId: string; runId: string }) => {
    const parts = parseRunId(runId);
    if (parts === undefined) throw new Error(`${runId} is no id of a run`);
    return client.workflow.getHandle(formatWorkflowId({ orgId, ...parts }));
  };
  /** Undefined when the run has ended or never was. */
  const ifThere = async <T>(work: () => Promise<T>): Promise<T | undefined> => {
    try {
      return await client.withDeadline(Date.now() + RPC_MS, work);
    } catch (error) {
      if (error instanceof WorkflowNotFoundError) return undefined;
      throw error;
    }
  };
  return {
    name: 'concurrency',
    channels: [LEASE_CHANNEL],
    pollMs: POLL_MS,
    async run() {
      const granted = await leases.grantAcrossOrganisations(BATCH);
      const waiting = await leases.unannouncedAcrossOrganisations(BATCH);
      for (const lease of waiting) {
        // A run that is gone gives its lease back when its end is written down.
        await ifThere(() => run(lease).signal(BEGIN_SIGNAL));
        await leases.announceAcrossOrganisations(lease);
      }
      for (const lease of await leases.overdueAcrossOrganisations(BATCH)) {
        await ifThere(() => run(lease).terminate('longer than its operation allows'));
        await leases.removeAcrossOrganisations(lease);
      }
      if (Date.now() >= sweepAt) {
        for (const lease of await leases.orphansAcrossOrganisations(BATCH)) {
          const found = await ifThere(() => run(lease).describe());
          if (found?.status.name === 'RUNNING') continue;
          await leases.removeAcrossOrganisations(lease);
          logger.info({ runId: lease.runId }, 'lease without a run removed');
        }
        sweepAt = Date.now() + SWEEP_MS;
      }
      return granted > 0 || waiting.length === BATCH;
    },
  };
}
