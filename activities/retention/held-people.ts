import type { ClientBase } from 'pg';
import type { LegalHold } from '../../database/legal-holds.ts';
import type { KeyRing } from '../../platform/keys/key-ring.ts';
import type { DataMap } from '../../platform/privacy/data-map.ts';
import { subjectHashes } from '../../platform/privacy/identities.ts';
import { reachRows, RowSet, seedValues } from '../privacy/postgres-rows.ts';
import type { HeldRows } from './expired-rows.ts';

/**
 * Rows of people whom a hold protects. Holds know keyed hashes only, so every identity of the source is hashed once and compared. Run in a
 * transaction that sees one snapshot.
 * @param holds in force.
 */
export async function heldRows(client: ClientBase, map: DataMap, source: string, holds: readonly LegalHold[], keys: KeyRing, orgId: string): Promise<HeldRows> {
  const ofPeople = holds.filter(({ subjects, source: of }) => subjects !== null && (of === null || of === source));
  const held = new Map<string, RowSet>();
  if (ofPeople.length === 0) return held;
  const found = new Map<LegalHold, Map<string, Set<string>>>();
  const byHash = new Map<string, LegalHold[]>();
  for (const hold of ofPeople) for (const subject of hold.subjects ?? []) byHash.set(subject.toString('hex'), [...(byHash.get(subject.toString('hex')) ?? []), hold]);
  for (const { identity, table: id, path } of map.traversal.seeds) {
    const table = map.schema.tables.get(id);
    if (table === undefined) continue;
    for await (const values of seedValues(client, table, path)) {
      for (const value of values) {
        const [hash] = subjectHashes(keys, orgId, { [identity]: [value] });
        for (const hold of byHash.get(hash?.toString('hex') ?? '') ?? []) {
          const kinds = found.get(hold) ?? new Map<string, Set<string>>();
          kinds.set(identity, (kinds.get(identity) ?? new Set()).add(value));
          found.set(hold, kinds);
        }
      }
    }
  }
  for (const [hold, kinds] of found) {
    const rows = await reachRows(client, map, Object.fromEntries([...kinds].map(([kind, values]) => [kind, [...values]])));
    for (const [id, set] of rows) {
      const table = map.schema.tables.get(id);
      if (hold.table !== null && ![id, table?.annotation?.name, `${table?.relation.schema ?? ''}.${table?.relation.name ?? ''}`].includes(hold.table)) continue;
      const all = held.get(id) ?? new RowSet();
      all.add([...set.chunks(Number.MAX_SAFE_INTEGER)].flatMap(({ oid, tids }) => tids.map((tid) => ({ oid, tid }))));
      held.set(id, all);
    }
  }
  return held;
}
