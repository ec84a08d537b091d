import type { ClientBase } from 'pg';
import { quotedRelation } from '../../platform/privacy/catalog.ts';
import type { DataMap } from '../../platform/privacy/data-map.ts';
import type { ExportedRecords } from '../../platform/privacy/data-source.ts';
import type { Identities } from '../../platform/privacy/identities.ts';
import { findRows } from './postgres-rows.ts';

/** Rows read at once. */
const CHUNK = 1_000;

/**
 * All rows of a person, whole, as one snapshot sees them; also those of tables that hold nothing personal but are the person's (their
 * orders), and rows shared with others only where the map follows them.
 */
export async function exportRows(client: ClientBase, map: DataMap, identities: Identities): Promise<ExportedRecords[]> {
  await client.query('begin transaction isolation level repeatable read read only');
  try {
    const { rows: found } = await findRows(client, map, identities);
    const portions: ExportedRecords[] = [];
    for (const [id, set] of found) {
      const table = map.schema.tables.get(id);
      if (table === undefined) continue;
      const about = [...new Set(table.fields.flatMap(({ purpose, legalBasis }) => [purpose, legalBasis]).filter((text) => text !== undefined))].join(', ');
      for (const { oid, tids } of set.chunks(CHUNK)) {
        const { rows } = await client.query<{ row: Record<string, unknown> }>(`select row_to_json(t) as row from ${quotedRelation(table.relation)} t where t.tableoid = $1 and t.ctid = any ($2::tid[])`, [oid, tids]);
        if (rows.length > 0) portions.push({ table: id, ...(about === '' ? {} : { about }), rows: rows.map(({ row }) => row) });
      }
    }
    return portions;
  } finally {
    await client.query('rollback');
  }
}
