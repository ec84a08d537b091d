import { sql } from 'kysely';
import type { Database } from './database.ts';
import type { IdentityTables } from './identity-tables.ts';

export type ChallengeKind = IdentityTables['sign_in_challenges']['kind'];

export interface NewChallenge {
  readonly orgId: string;
  readonly id: string;
  readonly kind: ChallengeKind;
  /** What must be known when the answer comes, sealed and bound to the id. */
  readonly sealed: Buffer;
  readonly ttlSeconds: number;
}

/** Sign-ins under way. What is consumed, expired, of another kind or another organisation is as if it never was. */
export class ChallengeStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  async create({ orgId, id, kind, sealed, ttlSeconds }: NewChallenge): Promise<void> {
    await this.#database.withOrg(orgId, (tx) =>
      tx
        .insertInto('sign_in_challenges')
        .values({ org_id: orgId, id, kind, sealed, expires_at: sql<Date>`now() + make_interval(secs => ${ttlSeconds})` })
        .execute(),
    );
  }

  /** @returns its sealed payload to the first of any number of callers, undefined to the others. */
  async consume(orgId: string, id: string, kind: ChallengeKind): Promise<Buffer | undefined> {
    return this.#database.withOrg(orgId, async (tx) => {
      const row = await tx
        .updateTable('sign_in_challenges')
        .set({ consumed_at: sql<Date>`now()` })
        .where('id', '=', id)
        .where('kind', '=', kind)
        .where('consumed_at', 'is', null)
        .where('expires_at', '>', sql<Date>`now()`)
        .returning('sealed')
        .executeTakeFirst();
      return row?.sealed;
    });
  }

  /** Looks without consuming: for a page that asks again after a mistyped code. */
  async read(orgId: string, id: string, kind: ChallengeKind): Promise<Buffer | undefined> {
    return this.#database.withOrg(orgId, async (tx) => {
      const row = await tx
        .selectFrom('sign_in_challenges')
        .select('sealed')
        .where('id', '=', id)
        .where('kind', '=', kind)
        .where('consumed_at', 'is', null)
        .where('expires_at', '>', sql<Date>`now()`)
        .executeTakeFirst();
      return row?.sealed;
    });
  }
}
