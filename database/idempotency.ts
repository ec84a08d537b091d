import type { Database } from './database.ts';

export interface IdempotencyClaim {
  orgId: string;
  operation: string;
  /** HMAC of the caller's key. */
  keyHash: Buffer;
  /** Hash of the start's input and options. */
  bodyHash: Buffer;
  /** The run this start would make. */
  runId: string;
  expiresAt: Date;
}

export interface IdempotencyRecord {
  /** The run that belongs to the key; the claim's own when it was the first. */
  runId: string;
  bodyHash: Buffer;
  /** Whether Temporal had acknowledged the start before. */
  started: boolean;
  /** Whether this call made the row. */
  claimed: boolean;
}

/** Idempotency keys of starts: the first claim of a key wins, whoever asks at the same time. */
export class IdempotencyStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** Takes the key, or answers who has it. An expired row is taken over. */
  async claim(claim: IdempotencyClaim): Promise<IdempotencyRecord> {
    return this.#database.withOrg(claim.orgId, async (tx) => {
      const taken = await tx
        .insertInto('idempotency_keys')
        .values({
          org_id: claim.orgId,
          operation: claim.operation,
          key_hash: claim.keyHash,
          body_hash: claim.bodyHash,
          run_id: claim.runId,
          expires_at: claim.expiresAt,
        })
        .onConflict((conflict) =>
          conflict
            .columns(['org_id', 'operation', 'key_hash'])
            .doUpdateSet({ body_hash: claim.bodyHash, run_id: claim.runId, expires_at: claim.expiresAt, started_at: null })
            .where('idempotency_keys.expires_at', '<', new Date()),
        )
        .returning('run_id')
        .executeTakeFirst();
      if (taken !== undefined) return { runId: claim.runId, bodyHash: claim.bodyHash, started: false, claimed: true };
      const row = await tx
        .selectFrom('idempotency_keys')
        .select(['run_id', 'body_hash', 'started_at'])
        .where('org_id', '=', claim.orgId)
        .where('operation', '=', claim.operation)
        .where('key_hash', '=', claim.keyHash)
        .executeTakeFirstOrThrow();
      return { runId: row.run_id, bodyHash: row.body_hash, started: row.started_at !== null, claimed: false };
    });
  }

  /** Notes that Temporal acknowledged the start, so that a later repetition need not ask it. */
  async markStarted(orgId: string, operation: string, keyHash: Buffer): Promise<void> {
    await this.#database.withOrg(orgId, (tx) =>
      tx
        .updateTable('idempotency_keys')
        .set({ started_at: new Date() })
        .where('org_id', '=', orgId)
        .where('operation', '=', operation)
        .where('key_hash', '=', keyHash)
        .execute(),
    );
  }

  /** Removes rows past their time, of all organisations; answers how many. */
  async deleteExpiredOfAllOrganisations(now: Date): Promise<number> {
    const result = await this.#database.system.deleteFrom('idempotency_keys').where('expires_at', '<', now).executeTakeFirst();
    return Number(result.numDeletedRows);
  }
}
