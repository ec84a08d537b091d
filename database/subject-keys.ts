import { sql, type ColumnType } from 'kysely';
import type { Database } from './database.ts';
import type { Timestamp } from './organisations.ts';

export interface SubjectKeyTables {
  subject_keys: { org_id: string; id: string; subject: Buffer; wrapped: Buffer | null; created_at: Timestamp; destroyed_at: ColumnType<Date | null, never, Date> };
  signal_subjects: { org_id: string; key: string; subject: Buffer; received_on: ColumnType<string, string, string> };
}

export interface SubjectKeyRecord {
  readonly id: string;
  /** Null: it was destroyed. */
  readonly wrapped: Buffer | null;
}

/** Keys of people, wrapped. */
export class SubjectKeyStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** The living key of a person, or this new one where there is none. */
  async findOrInsert(orgId: string, subject: Buffer, fresh: { id: string; wrapped: Buffer }): Promise<SubjectKeyRecord> {
    return this.#database.withOrg(orgId, async (tx) => {
      await tx
        .insertInto('subject_keys')
        .values({ org_id: orgId, id: fresh.id, subject, wrapped: fresh.wrapped })
        .onConflict((conflict) => conflict.columns(['org_id', 'subject']).where('wrapped', 'is not', null).doNothing())
        .execute();
      return tx.selectFrom('subject_keys').select(['id', 'wrapped']).where('subject', '=', subject).where('wrapped', 'is not', null).executeTakeFirstOrThrow();
    });
  }

  /** The living key of a person; undefined where there is none. */
  async living(orgId: string, subject: Buffer): Promise<SubjectKeyRecord | undefined> {
    return this.#database.withOrg(orgId, (tx) => tx.selectFrom('subject_keys').select(['id', 'wrapped']).where('subject', '=', subject).where('wrapped', 'is not', null).executeTakeFirst());
  }

  async find(orgId: string, id: string): Promise<SubjectKeyRecord | undefined> {
    return this.#database.withOrg(orgId, (tx) => tx.selectFrom('subject_keys').select(['id', 'wrapped']).where('id', '=', id).executeTakeFirst());
  }

  /** All keys these people ever had. */
  async ofSubjects(orgId: string, subjects: readonly Buffer[]): Promise<{ id: string; destroyedMsAgo: number | null }[]> {
    if (subjects.length === 0) return [];
    return this.#database.withOrg(orgId, (tx) => tx.selectFrom('subject_keys').select(['id', sql<number | null>`(extract(epoch from now() - destroyed_at) * 1000)::float8`.as('destroyedMsAgo')]).where('subject', 'in', [...subjects]).orderBy('created_at').execute());
  }

  /** For good. @returns keys that this call destroyed. */
  async destroy(orgId: string, subjects: readonly Buffer[]): Promise<number> {
    if (subjects.length === 0) return 0;
    return this.#database.withOrg(orgId, async (tx) => {
      const done = await tx.updateTable('subject_keys').set({ wrapped: null, destroyed_at: sql<Date>`now()` }).where('subject', 'in', [...subjects]).where('wrapped', 'is not', null).executeTakeFirst();
      return Number(done.numUpdatedRows);
    });
  }
}
