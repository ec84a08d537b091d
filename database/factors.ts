import { sql, type ColumnType, type Generated } from 'kysely';
import { recordAct, type Act } from './audit-acts.ts';
import type { Database, Tx } from './database.ts';
import { announceIdentity } from './identity-channel.ts';
import type { Timestamp } from './organisations.ts';

export interface FactorTables {
  user_factors: {
    org_id: string;
    id: string;
    user_id: string;
    kind: 'totp' | 'webauthn' | 'recovery';
    name: string;
    sealed: Buffer | null;
    last_step: number | null;
    credential_id: Buffer | null;
    public_key: Buffer | null;
    counter: number | null;
    transports: Generated<string[]>;
    backed_up: boolean | null;
    code_hash: Buffer | null;
    created_at: Timestamp;
    last_used_at: ColumnType<Date | null, Date | null | undefined, Date | null>;
  };
}

interface AnyFactor {
  readonly id: string;
  readonly userId: string;
  readonly name: string;
  readonly createdAt: Date;
  readonly lastUsedAt: Date | null;
}

export interface TotpFactor extends AnyFactor {
  readonly kind: 'totp';
  readonly sealed: Buffer;
}

export interface WebAuthnFactor extends AnyFactor {
  readonly kind: 'webauthn';
  readonly credentialId: Buffer;
  readonly publicKey: Buffer;
  readonly counter: number;
  readonly transports: readonly string[];
}

export interface RecoveryFactor extends AnyFactor {
  readonly kind: 'recovery';
}

export type Factor = TotpFactor | WebAuthnFactor | RecoveryFactor;

export interface NewTotp {
  readonly id: string;
  readonly userId: string;
  readonly name: string;
  readonly sealed: Buffer;
  /** Step of the code that confirmed it; it does not work again. */
  readonly lastStep: number;
}

export interface NewWebAuthn {
  readonly id: string;
  readonly userId: string;
  readonly name: string;
  readonly credentialId: Buffer;
  readonly publicKey: Buffer;
  readonly counter: number;
  readonly transports: readonly string[];
  readonly backedUp: boolean;
}

/** Second factors of people. Every use that must happen once is one conditional update. */
export class FactorStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** Of a user, oldest first; unused recovery codes among them. */
  async list(orgId: string, userId: string): Promise<Factor[]> {
    return this.#database.withOrg(orgId, async (tx) => {
      const rows = await tx.selectFrom('user_factors').selectAll().where('user_id', '=', userId).orderBy('created_at').orderBy('id').execute();
      return rows.map(factor);
    });
  }

  async findCredential(orgId: string, credentialId: Buffer): Promise<WebAuthnFactor | undefined> {
    return this.#database.withOrg(orgId, async (tx) => {
      const row = await tx.selectFrom('user_factors').selectAll().where('credential_id', '=', credentialId).executeTakeFirst();
      const found = row === undefined ? undefined : factor(row);
      return found?.kind === 'webauthn' ? found : undefined;
    });
  }

  async addTotp(orgId: string, totp: NewTotp, codeHashes: readonly Buffer[], act: Act): Promise<void> {
    await this.#database.withOrg(orgId, async (tx) => {
      await tx.insertInto('user_factors').values({ org_id: orgId, id: totp.id, user_id: totp.userId, kind: 'totp', name: totp.name, sealed: totp.sealed, last_step: totp.lastStep }).execute();
      await finish(tx, orgId, totp.userId, codeHashes, act);
    });
  }

  /** @returns false when the authenticator is registered already. */
  async addWebAuthn(orgId: string, passkey: NewWebAuthn, codeHashes: readonly Buffer[], act: Act): Promise<boolean> {
    return this.#database.withOrg(orgId, async (tx) => {
      const added = await tx
        .insertInto('user_factors')
        .values({
          org_id: orgId,
          id: passkey.id,
          user_id: passkey.userId,
          kind: 'webauthn',
          name: passkey.name,
          credential_id: passkey.credentialId,
          public_key: passkey.publicKey,
          counter: passkey.counter,
          transports: [...passkey.transports],
          backed_up: passkey.backedUp,
        })
        .onConflict((conflict) => conflict.doNothing())
        .returning('id')
        .executeTakeFirst();
      if (added === undefined) return false;
      await finish(tx, orgId, passkey.userId, codeHashes, act);
      return true;
    });
  }

  /** New recovery codes in place of what is left of the old ones. */
  async replaceRecoveryCodes(orgId: string, userId: string, codeHashes: readonly Buffer[], act: Act): Promise<void> {
    await this.#database.withOrg(orgId, async (tx) => {
      await tx.deleteFrom('user_factors').where('user_id', '=', userId).where('kind', '=', 'recovery').execute();
      await finish(tx, orgId, userId, codeHashes, act);
    });
  }

  /** Takes a TOTP step. @returns false when a code of this step or a later one was taken already. */
  async useTotp(orgId: string, id: string, step: number): Promise<boolean> {
    return this.#database.withOrg(orgId, async (tx) => {
      const row = await tx
        .updateTable('user_factors')
        .set({ last_step: step, last_used_at: sql<Date>`now()` })
        .where('id', '=', id)
        .where('kind', '=', 'totp')
        .where('last_step', '<', step)
        .returning('id')
        .executeTakeFirst();
      return row !== undefined;
    });
  }

  /** Stores the signature counter. @returns false when it did not grow although the authenticator counts: a copy of it may exist. */
  async useWebAuthn(orgId: string, id: string, counter: number): Promise<boolean> {
    return this.#database.withOrg(orgId, async (tx) => {
      const row = await tx
        .updateTable('user_factors')
        .set({ counter, last_used_at: sql<Date>`now()` })
        .where('id', '=', id)
        .where('kind', '=', 'webauthn')
        .where((where) => where.or([where('counter', '<', counter), where.and([where('counter', '=', 0), where(sql.val(counter), '=', 0)])]))
        .returning('id')
        .executeTakeFirst();
      return row !== undefined;
    });
  }

  /** Uses up a recovery code. @returns false when there is none with this hash. */
  async useRecoveryCode(orgId: string, userId: string, codeHash: Buffer, act: Act): Promise<boolean> {
    return this.#database.withOrg(orgId, async (tx) => {
      const row = await tx.deleteFrom('user_factors').where('user_id', '=', userId).where('kind', '=', 'recovery').where('code_hash', '=', codeHash).returning('id').executeTakeFirst();
      if (row === undefined) return false;
      await recordAct(tx, act);
      return true;
    });
  }

  /** Takes one factor of a user away, or with `all` every one. @returns how many were there. */
  async remove(orgId: string, userId: string, which: { readonly id: string } | 'all', act: Act): Promise<number> {
    return this.#database.withOrg(orgId, async (tx) => {
      let query = tx.deleteFrom('user_factors').where('user_id', '=', userId);
      if (which !== 'all') query = query.where('id', '=', which.id).where('kind', '<>', 'recovery');
      const rows = await query.returning('id').execute();
      if (rows.length === 0) return 0;
      const left = await tx.selectFrom('user_factors').select('id').where('user_id', '=', userId).where('kind', '<>', 'recovery').limit(1).executeTakeFirst();
      // Codes that stand in for a factor stand in for nothing when there is none.
      if (left === undefined) await tx.deleteFrom('user_factors').where('user_id', '=', userId).execute();
      await recordAct(tx, act);
      await announceIdentity(tx, orgId);
      return rows.length;
    });
  }
}

async function finish(tx: Tx, orgId: string, userId: string, codeHashes: readonly Buffer[], act: Act): Promise<void> {
  if (codeHashes.length > 0) {
    await tx
      .insertInto('user_factors')
      .values(codeHashes.map((hash) => ({ org_id: orgId, id: sql<string>`gen_random_uuid()`, user_id: userId, kind: 'recovery' as const, name: 'recovery code', code_hash: hash })))
      .execute();
  }
  await recordAct(tx, act);
  await announceIdentity(tx, orgId);
}

interface FactorRow {
  id: string;
  user_id: string;
  kind: 'totp' | 'webauthn' | 'recovery';
  name: string;
  sealed: Buffer | null;
  credential_id: Buffer | null;
  public_key: Buffer | null;
  counter: number | null;
  transports: string[];
  created_at: Date;
  last_used_at: Date | null;
}

function factor(row: FactorRow): Factor {
  const any = { id: row.id, userId: row.user_id, name: row.name, createdAt: row.created_at, lastUsedAt: row.last_used_at };
  switch (row.kind) {
    case 'totp':
      return { ...any, kind: 'totp', sealed: present(row.sealed) };
    case 'webauthn':
      return { ...any, kind: 'webauthn', credentialId: present(row.credential_id), publicKey: present(row.public_key), counter: present(row.counter), transports: row.transports };
    case 'recovery':
      return { ...any, kind: 'recovery' };
  }
}

function present<T>(value: T | null): T {
  if (value === null) throw new Error('a factor lacks what the check constraint of its table demands');
  return value;
}
