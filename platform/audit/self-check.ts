import { AuditHoleError, type AuditLogStore } from '../../database/audit-log.ts';
import { LogCheck, type Finding } from '../../schemas/audit/log-check.ts';
import { auditOrigin } from '../../schemas/audit/note.ts';
import { pages } from './export.ts';
import type { Witness } from './witness.ts';

/**
 * Recomputes an organisation's log from its rows and compares it with the last checkpoint its witness saw: what `hal9 audit verify`
 * does with an export, without one.
 */
export async function checkLog({ log, witness }: { readonly log: AuditLogStore; readonly witness: Pick<Witness, 'latest'> }, orgId: string, signal?: AbortSignal): Promise<readonly Finding[]> {
  const last = await witness.latest(auditOrigin(orgId));
  const check = new LogCheck({ orgId, from: 0, roots: [], witnessed: last === undefined ? [] : [last] });
  const { size } = await log.head(orgId);
  // Entries are written before they are witnessed, so what is there now goes at least that far.
  const end = Math.max(Number(size), Number(last?.size ?? 0n));
  for await (const page of pages(log, orgId, 0, end, signal)) {
    for (const { entry, leafHash, opened } of page) check.entry(entry, leafHash, opened);
  }
  check.end();
  return [...check.findings, ...(await checkNodes(log, orgId, size))];
}

/** Whether proofs can be made: the kept subtrees are those of the entries. */
async function checkNodes(log: AuditLogStore, orgId: string, size: bigint): Promise<Finding[]> {
  if (size === 0n) return [];
  try {
    const head = await log.head(orgId);
    const [root] = await log.roots(orgId, [{ start: 0n, end: head.size }]);
    if (root !== undefined && Buffer.compare(root, head.root) === 0) return [];
    return [{ kind: 'rewritten', detail: 'the kept subtrees do not make up the root' }];
  } catch (error) {
    if (error instanceof AuditHoleError) return [{ kind: 'missing', entries: { first: Number(error.start), last: Number(error.end) - 1 }, detail: error.message }];
    throw error;
  }
}
