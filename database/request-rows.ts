import { sql, type RawBuilder } from 'kysely';
import type { Database } from './database.ts';

/** Tables of what was asked for about a person: `id`, and `requested_at`, by which they are read. */
type RequestTable = 'access_exports' | 'erasures' | 'privacy_changes';

/** One this young is being started by whoever wrote it down, seconds. */
const YOUNG_SECONDS = 10;

/** A request that has not come to its end. */
export interface UnendedRequest {
  readonly orgId: string;
  readonly id: string;
  readonly requestedAt: Date;
}

/** What is alike about the stores of requests about people: found by id, listed latest first, and looked after until they have ended. */
export class RequestRows<Row, Kept> {
  readonly #database: Database;
  readonly #table: RequestTable;
  readonly #record: (row: Row) => Kept;

  /** @param record what a row is to those who ask; `Row` are the table's columns. */
  constructor(database: Database, table: RequestTable, record: (row: Row) => Kept) {
    this.#database = database;
    this.#table = table;
    this.#record = record;
  }

  async find(orgId: string, id: string): Promise<Kept | undefined> {
    return this.#database.withOrg(orgId, async (tx) => {
      const { rows } = await sql<Row>`select * from ${sql.table(this.#table)} where id = ${id}`.execute(tx);
      const [row] = rows;
      return row === undefined ? undefined : this.#record(row);
    });
  }

  /** Latest first. @param before (requested, id) of the last of the page before. */
  async list(orgId: string, limit: number, before: { readonly createdAt: Date; readonly id: string } | undefined): Promise<Kept[]> {
    return this.#database.withOrg(orgId, async (tx) => {
      const older = before === undefined ? sql`true` : sql`(date_trunc('milliseconds', requested_at), id) < (${before.createdAt}, ${before.id}::uuid)`;
      const { rows } = await sql<Row>`select * from ${sql.table(this.#table)} where ${older} order by requested_at desc, id desc limit ${limit}`.execute(tx);
      return rows.map((row) => this.#record(row));
    });
  }

  /**
   * By the time they were asked for.
   * @param unended what is true of those that have not come to their end.
   * @param after time of the last of the page before.
   */
  async unendedAcrossOrganisations(unended: RawBuilder<unknown>, limit: number, after: Date): Promise<UnendedRequest[]> {
    const { rows } = await sql<UnendedRequest>`
      select org_id as "orgId", id, requested_at as "requestedAt" from ${sql.table(this.#table)}
      where ${unended} and requested_at > ${after} and requested_at < now() - make_interval(secs => ${YOUNG_SECONDS}) order by requested_at limit ${limit}`.execute(this.#database.system);
    return rows;
  }
}
