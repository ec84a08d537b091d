import { createHash } from 'node:crypto';
import type { Database } from './database.ts';

/** Assertions and logout tokens that were accepted: none is accepted again until it would be refused for its age. */
export class UsedAssertionStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /**
   * @param id the provider's own id of it; kept as SHA-256.
   * @param expiresAt when it would be refused for its age.
   * @returns true to the first of any number of callers, false to the others.
   */
  async use(orgId: string, providerId: string, id: string, expiresAt: Date): Promise<boolean> {
    return this.#database.withOrg(orgId, async (tx) => {
      const inserted = await tx
        .insertInto('used_assertions')
        .values({ org_id: orgId, provider_id: providerId, assertion_hash: createHash('sha256').update(id).digest(), expires_at: expiresAt })
        .onConflict((conflict) => conflict.doNothing())
        .returning('assertion_hash')
        .executeTakeFirst();
      return inserted !== undefined;
    });
  }

  /** @returns how many were forgotten, of all organisations. */
  async pruneAcrossOrganisations(): Promise<number> {
    const { numDeletedRows } = await this.#database.system.deleteFrom('used_assertions').where('expires_at', '<', new Date(Date.now() - 3_600_000)).executeTakeFirst();
    return Number(numDeletedRows);
  }
}
