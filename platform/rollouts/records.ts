import type { Database } from '../../database/database.ts';
import { RolloutStore, type RolloutOutcome, type RolloutRecord, type RolloutStepRecord, type RolloutVerdictRecord } from '../../database/rollouts.ts';
import { HalError } from '../../schemas/errors.ts';
import type { Caller } from '../identity/caller.ts';

/** What rollouts were to do, did and judged, for who asks. */
export class RolloutRecords {
  readonly #store: RolloutStore;

  constructor(database: Database) {
    this.#store = new RolloutStore(database);
  }

  /** Newest first; `before` is the `seq` of the last of the page before. */
  async list(caller: Caller, limit: number, before?: number): Promise<RolloutRecord[]> {
    return this.#store.list(caller.orgId, limit, before);
  }

  /** @throws {HalError} NotFound. */
  async read(caller: Caller, runId: string): Promise<{ rollout: RolloutRecord; steps: readonly RolloutStepRecord[] }> {
    const found = await this.#store.find(caller.orgId, runId);
    if (found === undefined) throw new HalError('NotFound', 'there is no such rollout');
    return found;
  }

  /** Newest first. @throws {HalError} NotFound. */
  async verdicts(caller: Caller, runId: string, limit: number, filter: { outcome?: RolloutOutcome | undefined; before?: number | undefined }): Promise<(RolloutVerdictRecord & { readonly seq: number })[]> {
    await this.read(caller, runId);
    return this.#store.verdicts(caller.orgId, runId, limit, filter);
  }
}
