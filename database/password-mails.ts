import { sql, type Generated } from 'kysely';
import { recordAct, type Act } from './audit-acts.ts';
import type { Database } from './database.ts';
import type { Timestamp } from './organisations.ts';

export interface PasswordMailTables {
  password_mails: { org_id: string; id: string; sealed: Buffer; attempts: Generated<number>; next_at: Timestamp; expires_at: Date };
}

/** Notified when a mail was asked for. */
export const PASSWORD_MAIL_CHANNEL = 'hal9_password_mails';

export interface PasswordMailRecord {
  readonly orgId: string;
  readonly id: string;
  readonly sealed: Buffer;
  /** This one included. */
  readonly attempts: number;
  readonly expiresAt: Date;
}

/** Whom what was typed means. */
interface Addressee {
  readonly id: string;
  /** Confirmed. */
  readonly email: string;
  /** PHC string; null for people who sign in elsewhere. */
  readonly passwordHash: string | null;
}

/** Seconds a mail is left to the process that took it; longer than a mail server has. */
const LEASE_SECONDS = 60;

/** Mails about forgotten passwords on their way out. */
export class PasswordMailStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  async ask(mail: Pick<PasswordMailRecord, 'orgId' | 'id' | 'sealed' | 'expiresAt'>, act: Act): Promise<void> {
    await this.#database.withOrg(mail.orgId, async (tx) => {
      await tx.insertInto('password_mails').values({ org_id: mail.orgId, id: mail.id, sealed: mail.sealed, expires_at: mail.expiresAt }).execute();
      await recordAct(tx, act);
      await sql`select pg_notify(${PASSWORD_MAIL_CHANNEL}, '')`.execute(tx);
    });
  }

  /** Takes due mails for a try each. */
  async takeAcrossOrganisations(limit: number): Promise<PasswordMailRecord[]> {
    const { rows } = await sql<PasswordMailRecord>`
      update password_mails m set attempts = attempts + 1, next_at = now() + make_interval(secs => ${LEASE_SECONDS})
      from (select org_id, id from password_mails where next_at <= now() order by next_at limit ${limit} for update skip locked) due
      where m.org_id = due.org_id and m.id = due.id
      returning m.org_id as "orgId", m.id, m.sealed, m.attempts, m.expires_at as "expiresAt"`.execute(this.#database.system);
    return rows;
  }

  /** By name; or by an address, when one person alone has it. */
  async addressee(orgId: string, typed: string): Promise<Addressee | undefined> {
    return this.#database.withOrg(orgId, async (tx) => {
      const rows = await tx
        .selectFrom('users')
        .select(['id', 'email', 'password_hash'])
        .select(sql<boolean>`lower(user_name) = lower(${typed})`.as('named'))
        .where(sql<boolean>`(lower(user_name) = lower(${typed}) or lower(email) = lower(${typed}))`)
        .where('active', '=', true)
        .where('email', 'is not', null)
        .where('email_verified', '=', true)
        .execute();
      const found = rows.find((row) => row.named) ?? (rows.length === 1 ? rows[0] : undefined);
      return found === undefined || found.email === null ? undefined : { id: found.id, email: found.email, passwordHash: found.password_hash };
    });
  }

  /** Keeps the letter, so that another try sends the same. */
  async keep(orgId: string, id: string, sealed: Buffer): Promise<void> {
    await this.#database.withOrg(orgId, (tx) => tx.updateTable('password_mails').set({ sealed }).where('id', '=', id).execute());
  }

  async retry(orgId: string, id: string, afterSeconds: number): Promise<void> {
    await this.#database.withOrg(orgId, (tx) => tx.updateTable('password_mails').set({ next_at: sql<Date>`now() + make_interval(secs => ${afterSeconds})` }).where('id', '=', id).execute());
  }

  /** There is nothing more to do for it. @param act what became of it; undefined when nobody was meant. */
  async finish(orgId: string, id: string, act: Act | undefined): Promise<void> {
    await this.#database.withOrg(orgId, async (tx) => {
      const gone = await tx.deleteFrom('password_mails').where('id', '=', id).returning('id').executeTakeFirst();
      if (gone !== undefined && act !== undefined) await recordAct(tx, act);
    });
  }
}
