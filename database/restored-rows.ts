import { sql } from 'kysely';
import type { Database } from './database.ts';

/** Tables whose rows are there from the moment that their own time says on, and the column that says it. */
const COUNTED = { api_keys: 'created_at', connections: 'created_at', decisions: 'created_at', neurons: 'created_at', users: 'created_at' } as const;

/** Counts rows of one database, to be compared with those of an older copy of it. */
export class RestoredRowStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** Rows of an organisation from before this time, by table. */
  async countUntil(orgId: string, until: Date): Promise<ReadonlyMap<string, number>> {
    return this.#database.withOrg(orgId, async (tx) => {
      const counts = new Map<string, number>();
      for (const [table, column] of Object.entries(COUNTED)) {
        const { rows } = await sql<{ rows: number }>`select count(*) as rows from ${sql.table(table)} where org_id = ${orgId} and ${sql.ref(column)} < ${until}`.execute(tx);
        counts.set(table, rows[0]?.rows ?? 0);
      }
      return counts;
    });
  }
}
