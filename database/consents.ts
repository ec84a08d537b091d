import { sql, type ColumnType } from 'kysely';
import type { ConsentState, LegalBasis } from '../schemas/rest/consents.ts';
import { recordAct, type Act } from './audit-acts.ts';
import type { Database, Tx } from './database.ts';
import type { Timestamp } from './organisations.ts';

export interface ConsentTables {
  consent_records: {
    org_id: string;
    id: string;
    subject: Buffer;
    purpose: string;
    state: ConsentState;
    legal_basis: LegalBasis;
    text_version: string;
    source: string;
    proof_hash: Buffer | null;
    at: Timestamp;
    recorded_at: Timestamp;
    seq: ColumnType<number, never, never>;
    recorded_by: string;
  };
}

export interface ConsentRecord {
  readonly id: string;
  /** HMAC of the subject's reference, 32 bytes. */
  readonly subject: Buffer;
  readonly purpose: string;
  readonly state: ConsentState;
  readonly legalBasis: LegalBasis;
  readonly textVersion: string;
  readonly source: string;
  /** SHA-256, 32 bytes. */
  readonly proofHash: Buffer | null;
  /** When the person decided. */
  readonly at: Date;
  readonly recordedAt: Date;
  /** `<kind>:<id>`. */
  readonly recordedBy: string;
}

/** Consents as they were given and withdrawn; rows are only added. */
export class ConsentStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** @param alongside written in the same transaction. */
  async add(orgId: string, record: Omit<ConsentRecord, 'recordedAt' | 'at'> & { readonly at: Date | undefined }, act: Act, alongside?: (tx: Tx) => Promise<void>): Promise<ConsentRecord> {
    return this.#database.withOrg(orgId, async (tx) => {
      // The order of records about one subject is the order of their commits.
      await sql`select pg_advisory_xact_lock(hashtextextended(${`hal9 consent ${orgId} ${record.subject.toString('hex')}`}, 0))`.execute(tx);
      const row = await tx
        .insertInto('consent_records')
        .values({
          org_id: orgId,
          id: record.id,
          subject: record.subject,
          purpose: record.purpose,
          state: record.state,
          legal_basis: record.legalBasis,
          text_version: record.textVersion,
          source: record.source,
          proof_hash: record.proofHash,
          at: record.at ?? sql<Date>`clock_timestamp()`,
          recorded_by: record.recordedBy,
        })
        .returningAll()
        .executeTakeFirstOrThrow();
      await recordAct(tx, act);
      await alongside?.(tx);
      return fromRow(row);
    });
  }

  /** The record that counts for a purpose: the last one. */
  async current(orgId: string, subject: Buffer, purpose: string): Promise<ConsentRecord | undefined> {
    return this.#database.withOrg(orgId, async (tx) => {
      const row = await tx.selectFrom('consent_records').selectAll().where('org_id', '=', orgId).where('subject', '=', subject).where('purpose', '=', purpose).orderBy('seq', 'desc').limit(1).executeTakeFirst();
      return row === undefined ? undefined : fromRow(row);
    });
  }

  /** Everything recorded about a subject, newest first. */
  async history(orgId: string, subject: Buffer, limit: number): Promise<ConsentRecord[]> {
    return this.#database.withOrg(orgId, async (tx) => {
      const rows = await tx.selectFrom('consent_records').selectAll().where('org_id', '=', orgId).where('subject', '=', subject).orderBy('seq', 'desc').limit(limit).execute();
      return rows.map(fromRow);
    });
  }

  /** How many subjects stand how, by purpose. */
  async purposes(orgId: string): Promise<{ purpose: string; given: number; withdrawn: number }[]> {
    return this.#database.withOrg(orgId, async (tx) => {
      const { rows } = await sql<{ purpose: string; given: number; withdrawn: number }>`
        select purpose, count(*) filter (where state = 'given')::int as given, count(*) filter (where state = 'withdrawn')::int as withdrawn
        from (select distinct on (subject, purpose) purpose, state from consent_records where org_id = ${orgId} order by subject, purpose, seq desc) as now
        group by purpose order by purpose`.execute(tx);
      return rows;
    });
  }
}

function fromRow(row: {
  id: string; subject: Buffer; purpose: string; state: ConsentState; legal_basis: LegalBasis; text_version: string; source: string; proof_hash: Buffer | null; at: Date; recorded_at: Date; recorded_by: string;
}): ConsentRecord {
  return {
    id: row.id,
    subject: row.subject,
    purpose: row.purpose,
    state: row.state,
    legalBasis: row.legal_basis,
    textVersion: row.text_version,
    source: row.source,
    proofHash: row.proof_hash,
    at: row.at,
    recordedAt: row.recorded_at,
    recordedBy: row.recorded_by,
  };
}
