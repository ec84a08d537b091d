import { sql } from 'kysely';
import { recordAct, type Act } from './audit-acts.ts';
import type { Database } from './database.ts';

/** Tables with `id` and a `name` that is unique in an organisation. */
type NamedTable = 'connections' | 'privacy_sources' | 'webhooks' | 'webhook_endpoints';

/** What is alike about the stores of things that people give a name: found by id, listed by name, removed with an act. */
export class NamedRows<Row, Kept> {
  readonly #database: Database;
  readonly #table: NamedTable;
  readonly #record: (row: Row) => Kept;

  /** @param record what a row is to those who ask; `Row` are the table's columns. */
  constructor(database: Database, table: NamedTable, record: (row: Row) => Kept) {
    this.#database = database;
    this.#table = table;
    this.#record = record;
  }

  /** By name, in alphabetical order. `after` is the name of the last one of the page before. */
  async list(orgId: string, limit: number, after: string | undefined): Promise<Kept[]> {
    return this.#database.withOrg(orgId, async (tx) => {
      const { rows } = await sql<Row>`select * from ${sql.table(this.#table)} where ${after === undefined ? sql`true` : sql`name > ${after}`} order by name limit ${limit}`.execute(tx);
      return rows.map(this.#record);
    });
  }

  async find(orgId: string, by: 'id' | 'name', value: string): Promise<Kept | undefined> {
    return this.#database.withOrg(orgId, async (tx) => {
      const { rows } = await sql<Row>`select * from ${sql.table(this.#table)} where ${sql.ref(by)} = ${value}`.execute(tx);
      const [row] = rows;
      return row === undefined ? undefined : this.#record(row);
    });
  }

  /** @returns whether it was there. */
  async remove(orgId: string, id: string, act: Act): Promise<boolean> {
    return this.#database.withOrg(orgId, async (tx) => {
      const { numAffectedRows } = await sql`delete from ${sql.table(this.#table)} where id = ${id}`.execute(tx);
      if (numAffectedRows === 0n) return false;
      await recordAct(tx, act);
      return true;
    });
  }
}
