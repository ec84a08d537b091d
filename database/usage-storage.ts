import { sql } from 'kysely';
import type { Database, Tx } from './database.ts';
import { recordUsage } from './usage-events.ts';

/** Longest measurement of one organisation's tables, milliseconds. */
const MEASURE_MS = 60_000;
/** Measured apart: too many rows to look at each. */
const APART = ['signals', 'signal_keys'];

/** Up to so many signals are measured one by one. */
const EXACT_SIGNALS = 50_000;

/** What an organisation's rows take in PostgreSQL, and the hourly sample of it. */
export class UsageStorageStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** Organisations without a sample of this hour. */
  async unsampledAcrossOrganisations(hour: string): Promise<string[]> {
    const { rows } = await sql<{ org_id: string }>`
      select o.org_id from organisations o where not exists (
        select from usage_events e where e.org_id = o.org_id and e.meter = 'storage-byte-hours' and e.key = ${hour}) order by o.org_id`.execute(this.#database.system);
    return rows.map((row) => row.org_id);
  }

  /**
   * Bytes of the organisation's rows: each row as stored, without indexes; many signals by their number and the mean size of a
   * signal in the partition of their day.
   */
  async tableBytes(orgId: string): Promise<number> {
    return this.#database.withOrg(orgId, async (tx) => {
      await sql`select set_config('statement_timeout', ${String(MEASURE_MS)}, true)`.execute(tx);
      const tables = await sql<{ name: string }>`
        select c.relname as name from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attname = 'org_id' and not a.attisdropped
        where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
          and has_table_privilege(current_user, c.oid, 'select') and c.relname <> all(${APART}::text[]) order by 1`.execute(tx);
      let bytes = 0;
      for (const { name } of tables.rows) {
        const { rows } = await sql<{ bytes: number }>`select coalesce(sum(pg_column_size(t.*)), 0)::bigint as bytes from ${sql.table(name)} t where org_id = ${orgId}`.execute(tx);
        bytes += rows[0]?.bytes ?? 0;
      }
      const stored = await sql<{ signals: number }>`select coalesce(sum(signals), 0)::bigint as signals from chunks where org_id = ${orgId}`.execute(tx);
      return bytes + ((stored.rows[0]?.signals ?? 0) > EXACT_SIGNALS ? await estimatedSignalBytes(tx, orgId) : await exactSignalBytes(tx, orgId));
    });
  }

  /** Writes the sample of an hour, once. */
  async sample(orgId: string, hour: string, bytes: number): Promise<void> {
    await this.#database.withOrg(orgId, (tx) => recordUsage(tx, { orgId, meter: 'storage-byte-hours', key: hour, quantity: bytes }));
  }
}

async function exactSignalBytes(tx: Tx, orgId: string): Promise<number> {
  const { rows } = await sql<{ bytes: number }>`
    select (select coalesce(sum(pg_column_size(s.*)), 0) from signals s where org_id = ${orgId})
      + (select coalesce(sum(pg_column_size(k.*)), 0) from signal_keys k where org_id = ${orgId}) as bytes`.execute(tx);
  return Number(rows[0]?.bytes ?? 0);
}

async function estimatedSignalBytes(tx: Tx, orgId: string): Promise<number> {
  const { rows } = await sql<{ bytes: number }>`
    select coalesce(sum(c.signals * coalesce(p.size, 0)), 0)::bigint as bytes
    from (select received_on, sum(signals) as signals from chunks where org_id = ${orgId} group by received_on) c
    left join (
      select t.relname as name, pg_table_size(t.oid)::float8 / t.reltuples as size
      from pg_inherits i join pg_class t on t.oid = i.inhrelid where i.inhparent = 'signals'::regclass and t.reltuples > 0
    ) p on p.name = 'signals_' || to_char(c.received_on, 'YYYYMMDD')`.execute(tx);
  return rows[0]?.bytes ?? 0;
}
