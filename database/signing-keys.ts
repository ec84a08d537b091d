import { sql } from 'kysely';
import { recordAct, type Act } from './audit-acts.ts';
import type { Database } from './database.ts';
import type { Timestamp } from './organisations.ts';

export interface SigningKeyTables {
  signing_keys: {
    kid: string;
    algorithm: string;
    public_jwk: unknown;
    sealed: Buffer;
    created_at: Timestamp;
    retires_at: Date;
    expires_at: Date;
  };
}

export interface SigningKeyRecord {
  readonly kid: string;
  readonly algorithm: string;
  readonly publicJwk: unknown;
  /** Private JWK, sealed. */
  readonly sealed: Buffer;
  /** It signs until then. */
  readonly retiresAt: Date;
  /** What it signed is good until then. */
  readonly expiresAt: Date;
}

/** Any constant: one process at a time adds a key. */
const ROTATION_LOCK = 4_240_000_054;

/** Keys that sign service tokens. They are the installation's: every organisation's tokens are signed by the same. */
export class SigningKeyStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** All that still verify, the newest first. */
  async listAcrossOrganisations(): Promise<SigningKeyRecord[]> {
    const rows = await this.#database.system.selectFrom('signing_keys').selectAll().where('expires_at', '>', sql<Date>`now()`).orderBy('created_at', 'desc').orderBy('kid').execute();
    return rows.map((row) => ({ kid: row.kid, algorithm: row.algorithm, publicJwk: row.public_jwk, sealed: row.sealed, retiresAt: row.retires_at, expiresAt: row.expires_at }));
  }

  /**
   * Adds a key unless one signs for longer than `minutesLeft` more; drops those whose tokens have all expired.
   * @param retireOthers whether those that sign now stop at once: rotation on demand.
   * @returns whether it was added; of several processes at once, one adds.
   */
  async addAcrossOrganisations(key: SigningKeyRecord, minutesLeft: number, retireOthers: boolean): Promise<boolean> {
    return this.#database.system.transaction().execute(async (tx) => {
      await sql`select pg_advisory_xact_lock(${ROTATION_LOCK})`.execute(tx);
      await tx.deleteFrom('signing_keys').where('expires_at', '<', sql<Date>`now()`).execute();
      if (retireOthers) await tx.updateTable('signing_keys').set({ retires_at: sql<Date>`least(retires_at, now())` }).execute();
      const lasting = await tx.selectFrom('signing_keys').select('kid').where('retires_at', '>', sql<Date>`now() + make_interval(mins => ${minutesLeft})`).limit(1).executeTakeFirst();
      if (lasting !== undefined) return false;
      await tx
        .insertInto('signing_keys')
        .values({ kid: key.kid, algorithm: key.algorithm, public_jwk: JSON.stringify(key.publicJwk), sealed: key.sealed, retires_at: key.retiresAt, expires_at: key.expiresAt })
        .execute();
      return true;
    });
  }

  /** A token leaves no row but this act. */
  async recordIssue(act: Act): Promise<void> {
    await this.#database.withOrg(act.orgId, (tx) => recordAct(tx, act));
  }
}
