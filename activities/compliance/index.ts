import { EvidenceStore, type EvidenceResult, type Numbers } from '../../database/evidence.ts';
import { collect, shownByQuery } from '../../platform/compliance/collection.ts';
import { TASK_QUEUES } from '../../schemas/names/task-queues.ts';
import { activityRun } from '../activity-run.ts';
import type { ActivityDependencies, RegisteredActivities } from '../dependencies.ts';

export interface ComplianceActivities {
  /** Ids of the controls that a query shows; of `wanted` where given. @throws {HalError} InvalidInput for one that is not there. */
  controlsToShow(wanted: readonly string[] | undefined): Promise<string[]>;
  /**
   * Asks for a control and keeps the answer, once in a run.
   * @param at RFC 3339.
   * @throws what PostgreSQL throws while it is away (retried). A query that fails otherwise is kept as `error`.
   */
  collectEvidence(control: string, at: string): Promise<{ result: EvidenceResult; numbers: Numbers }>;
}

/** Discovered: evidence of the controls. */
export default function register({ database, logger }: ActivityDependencies): RegisteredActivities {
  const evidence = new EvidenceStore(database);
  const activities: ComplianceActivities = {
    controlsToShow: (wanted) => Promise.resolve(shownByQuery(wanted).map(({ id }) => id)),
    async collectEvidence(control, at) {
      const run = activityRun();
      const kept = await collect({ evidence, logger }, { orgId: run.orgId, collection: run.uuid, control, at: new Date(at) });
      return { result: kept.result, numbers: kept.numbers };
    },
  };
  return { queues: { [TASK_QUEUES.core]: { ...activities } } };
}
