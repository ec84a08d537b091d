import type { Client, WorkflowHandleWithFirstExecutionRunId } from '@temporalio/client';
import { WorkflowNotFoundError } from '@temporalio/common';
import type { Database } from '../../database/database.ts';
import { DelayedStartStore, type DelayedStart } from '../../database/delayed-starts.ts';
import { formatWorkflowId, parseRunId } from '../../schemas/names/workflow-id.ts';
import { actOf } from '../audit/act.ts';
import { systemCaller, type Caller } from '../identity/caller.ts';

/** Starts stopped at once. */
const BATCH = 100;
/** Time for one call to Temporal, ms. */
const RPC_MS = 10_000;
const REASON = 'the credential that started it has ended';

/** Runs that were started with a delay: each begins only while the credential that asked for it has not been taken back. */
export class DelayedStarts {
  readonly #store: DelayedStartStore;

  constructor(database: Database) {
    this.#store = new DelayedStartStore(database);
  }

  /**
   * Notes a run that was started just now; what cannot be noted does not begin. HAL9's own starts rest on no credential and are not noted.
   * @param delaySeconds time before it begins.
   */
  async note(caller: Caller, runId: string, handle: WorkflowHandleWithFirstExecutionRunId, delaySeconds: number): Promise<void> {
    const { orgId, homeOrgId = orgId, actor } = caller;
    if (actor.kind === 'system') return;
    const start = { orgId, runId, execution: handle.firstExecutionRunId, actorKind: actor.kind, actorId: actor.id, actorOrgId: actor.kind === 'user' ? homeOrgId : orgId, beginsAt: new Date(Date.now() + delaySeconds * 1000) };
    try {
      await this.#store.add(start);
    } catch (error) {
      await handle.terminate('its credential could not be noted');
      throw error;
    }
  }

  /** Ends the waiting runs of credentials that were taken back, in all organisations. @returns how many, at most 100. */
  async stopEndedAcrossOrganisations(client: Client): Promise<number> {
    const ended = await this.#store.endedAcrossOrganisations(BATCH);
    for (const start of ended) await this.#stop(client, start);
    return ended.length;
  }

  /** Forgets what has begun. */
  async forgetBegunAcrossOrganisations(): Promise<number> {
    return this.#store.removeBegunAcrossOrganisations();
  }

  async #stop(client: Client, { orgId, runId, execution }: Pick<DelayedStart, 'orgId' | 'runId' | 'execution'>): Promise<void> {
    const parts = parseRunId(runId);
    if (parts === undefined) throw new Error(`${runId} is no id of a run`);
    const handle = client.workflow.getHandle(formatWorkflowId({ orgId, ...parts }), undefined, { firstExecutionRunId: execution });
    try {
      await client.withDeadline(Date.now() + RPC_MS, () => handle.terminate(REASON));
    } catch (error) {
      // Somebody ended it before: nothing of it will begin.
      if (!(error instanceof WorkflowNotFoundError)) throw error;
    }
    await this.#store.removeAcrossOrganisations({ orgId, runId, execution }, actOf(systemCaller(orgId, 'delayed-starts'), 'run.terminate', { kind: 'run', id: runId }, { reason: 'credential-ended' }));
  }
}
