import { AuditLogStore } from '../../database/audit-log.ts';
import type { Database } from '../../database/database.ts';
import { OrganisationStore } from '../../database/organisations.ts';
import { RestoredRowStore } from '../../database/restored-rows.ts';
import type { DrillCheck } from '../../schemas/operations/drill.ts';

/**
 * Holds a restored database to the live one it is a copy of.
 * @param until rows that the live one has from before this time must be there. Those it has deleted since may be there too.
 */
export async function compareWithLive({ restored, live, until, signal }: { readonly restored: Database; readonly live: Database; readonly until: Date; readonly signal: AbortSignal }): Promise<readonly DrillCheck[]> {
  const [ownLog, liveLog] = [new AuditLogStore(restored), new AuditLogStore(live)];
  const [ownRows, liveRows] = [new RestoredRowStore(restored), new RestoredRowStore(live)];
  const known = new Set((await new OrganisationStore(live).listAll()).map(({ orgId }) => orgId));
  // One that was removed since has nothing to be compared with.
  const organisations = (await new OrganisationStore(restored).listAll()).map(({ orgId }) => orgId).filter((orgId) => known.has(orgId));
  const other: string[] = [];
  const missing: string[] = [];
  let [entries, counted] = [0n, 0];
  for (const orgId of organisations) {
    signal.throwIfAborted();
    const head = await ownLog.head(orgId);
    entries += head.size;
    if (!(await isBeginningOf(liveLog, orgId, head))) other.push(orgId);
    const there = await ownRows.countUntil(orgId, until);
    for (const [table, rows] of await liveRows.countUntil(orgId, until)) {
      counted += rows;
      if ((there.get(table) ?? 0) < rows) missing.push(`${orgId}: ${table} has ${there.get(table) ?? 0} of ${rows} rows`);
    }
  }
  return [
    { name: 'history', passed: other.length === 0, detail: other.length === 0 ? `the ${entries} entries of the audit logs are the first of the live ones` : `the audit log is not the beginning of the live one: ${other.join(', ')}` },
    { name: 'rows', passed: missing.length === 0, detail: missing.length === 0 ? `all ${counted} rows that the live database has from before ${until.toISOString()} are there` : `before ${until.toISOString()}, ${missing.join('; ')}` },
  ];
}

/** The live tree, cut off at that size, has the same root: what was signed in checkpoints of it is in the copy too. */
async function isBeginningOf(live: AuditLogStore, orgId: string, { size, root }: Awaited<ReturnType<AuditLogStore['head']>>): Promise<boolean> {
  if (size === 0n) return true;
  if ((await live.head(orgId)).size < size) return false;
  const [same] = await live.roots(orgId, [{ start: 0n, end: size }]);
  return same !== undefined && Buffer.compare(same, root) === 0;
}
