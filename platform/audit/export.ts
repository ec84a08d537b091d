import type { AuditLogStore, LoggedEntry, StoredCheckpoint } from '../../database/audit-log.ts';
import type { ExportLine } from '../../schemas/audit/export.ts';
import { auditOrigin } from '../../schemas/audit/note.ts';
import { perfectRanges } from '../../schemas/audit/tree.ts';

const ENTRIES_AT_ONCE = 1000;

/**
 * Everything that is needed to verify the log from a number on without a server.
 * @param from number of the first entry.
 */
export async function* exportLog(store: AuditLogStore, orgId: string, from: number, signal?: AbortSignal): AsyncGenerator<ExportLine> {
  const size = Number((await store.head(orgId)).size);
  const start = Math.min(from, size);
  const roots = await store.roots(orgId, perfectRanges(BigInt(start)));
  yield { kind: 'header', version: 1, origin: auditOrigin(orgId), orgId, from: start, size, roots: roots.map(base64) };
  let at = start;
  for await (const page of pages(store, orgId, start, size, signal)) {
    const last = page.at(-1);
    if (last === undefined) break;
    const checkpoints = await store.checkpointsFrom(orgId, at, last.entry.seq + 1);
    yield* interleaved(page, checkpoints);
    at = last.entry.seq + 1;
  }
  yield { kind: 'end', size };
}

/** The entries in their order, a page at a time. @param size entries from this number on are left out. */
export async function* pages(store: AuditLogStore, orgId: string, from: number, size: number, signal?: AbortSignal): AsyncGenerator<LoggedEntry[]> {
  for (let next = from; next < size; ) {
    signal?.throwIfAborted();
    const page = await store.from(orgId, next, ENTRIES_AT_ONCE, size);
    const last = page.at(-1);
    if (last === undefined) return;
    yield page;
    next = last.entry.seq + 1;
  }
}

function* interleaved(page: readonly LoggedEntry[], checkpoints: readonly StoredCheckpoint[]): Generator<ExportLine> {
  let next = 0;
  for (const { entry, leafHash, opened } of page) {
    yield { kind: 'entry', entry, leafHash: base64(leafHash), personal: opened };
    for (let checkpoint = checkpoints[next]; checkpoint !== undefined && checkpoint.size <= entry.seq + 1; checkpoint = checkpoints[++next]) {
      yield { kind: 'checkpoint', size: checkpoint.size, note: checkpoint.note };
    }
  }
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64');
}
