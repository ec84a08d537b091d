import { ConsensusStore, type ConsensusRecord, type VoteRecord } from '../../../database/consensus.ts';
import type { Database } from '../../../database/database.ts';
import { HalError } from '../../../schemas/errors.ts';
import type { Caller } from '../../identity/caller.ts';

/** Rounds of consensus as people see them; the operation `consensus` makes them. */
export class Consensuses {
  readonly #store: ConsensusStore;

  constructor(database: Database) {
    this.#store = new ConsensusStore(database);
  }

  /** Newest first; `before` is the `seq` of the last of the page before. */
  async list(caller: Caller, limit: number, before?: number): Promise<ConsensusRecord[]> {
    return this.#store.list(caller.orgId, limit, before);
  }

  /** @throws {HalError} `NotFound`. */
  async get(caller: Caller, id: string): Promise<{ readonly request: ConsensusRecord; readonly votes: readonly VoteRecord[] }> {
    const found = await this.#store.find(caller.orgId, id);
    if (found === undefined) throw new HalError('NotFound', 'there is no such round');
    return found;
  }
}
