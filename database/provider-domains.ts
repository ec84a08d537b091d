import { sql, type Selectable } from 'kysely';
import { recordAct, type Act } from './audit-acts.ts';
import type { Database } from './database.ts';
import type { IdentityTables } from './identity-tables.ts';

/** An organisation's word that an e-mail domain is its own. */
export interface DomainClaimRecord {
  readonly domain: string;
  readonly providerId: string;
  readonly createdAt: Date;
  /** Null until an administrator of the platform has looked. Only a confirmed claim leads anybody anywhere. */
  readonly confirmedAt: Date | null;
}

/** E-mail domains that lead to identity providers. */
export class ProviderDomainStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  async list(orgId: string, providerId: string): Promise<DomainClaimRecord[]> {
    return this.#database.withOrg(orgId, async (tx) => (await tx.selectFrom('identity_provider_domains').selectAll().where('provider_id', '=', providerId).orderBy('domain').execute()).map(record));
  }

  /** @returns undefined when the organisation has claimed it already. */
  async claim(orgId: string, providerId: string, domain: string, act: Act): Promise<DomainClaimRecord | undefined> {
    return this.#database.withOrg(orgId, async (tx) => {
      const row = await tx
        .insertInto('identity_provider_domains')
        .values({ org_id: orgId, provider_id: providerId, domain })
        .onConflict((conflict) => conflict.columns(['org_id', 'domain']).doNothing())
        .returningAll()
        .executeTakeFirst();
      if (row === undefined) return undefined;
      await recordAct(tx, act);
      return record(row);
    });
  }

  /** @returns whether it was there. */
  async release(orgId: string, providerId: string, domain: string, act: Act): Promise<boolean> {
    return this.#database.withOrg(orgId, async (tx) => {
      const { numDeletedRows } = await tx.deleteFrom('identity_provider_domains').where('provider_id', '=', providerId).where('domain', '=', domain).executeTakeFirst();
      if (numDeletedRows === 0n) return false;
      await recordAct(tx, act);
      return true;
    });
  }

  /**
   * Confirms a claim of any organisation.
   * @param confirmedBy `<kind>:<id>`.
   * @returns `taken` when another organisation's claim is confirmed, `missing` when this one has none.
   */
  async confirmAcrossOrganisations(orgId: string, domain: string, confirmedBy: string, acts: readonly Act[]): Promise<DomainClaimRecord | 'taken' | 'missing'> {
    return this.#database.system.transaction().execute(async (tx) => {
      const claims = await tx.selectFrom('identity_provider_domains').selectAll().where('domain', '=', domain).forUpdate().execute();
      if (claims.some((claim) => claim.org_id !== orgId && claim.confirmed_at !== null)) return 'taken';
      const row = await tx
        .updateTable('identity_provider_domains')
        .set({ confirmed_at: sql<Date>`coalesce(confirmed_at, now())`, confirmed_by: sql<string>`coalesce(confirmed_by, ${confirmedBy})` })
        .where('org_id', '=', orgId)
        .where('domain', '=', domain)
        .returningAll()
        .executeTakeFirst();
      if (row === undefined) return 'missing';
      for (const act of acts) await recordAct(tx, act);
      return record(row);
    });
  }
}

function record(row: Selectable<IdentityTables['identity_provider_domains']>): DomainClaimRecord {
  return { domain: row.domain, providerId: row.provider_id, createdAt: row.created_at, confirmedAt: row.confirmed_at };
}
