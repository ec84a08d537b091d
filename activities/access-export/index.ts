import { randomBytes } from 'node:crypto';
import { cancellationSignal } from '@temporalio/activity';
import { AccessExportStore, type AccessExportRecord } from '../../database/access-exports.ts';
import { actOf } from '../../platform/audit/act.ts';
import { isBlobRef, type BlobStore } from '../../platform/blobs/blob-store.ts';
import { createBlobStore } from '../../platform/blobs/create.ts';
import { systemCaller } from '../../platform/identity/caller.ts';
import type { KeyRing } from '../../platform/keys/key-ring.ts';
import { loadKeyRing } from '../../platform/keys/load.ts';
import { openExportRequest } from '../../platform/privacy/access-exports.ts';
import { HalError } from '../../schemas/errors.ts';
import { TASK_QUEUES } from '../../schemas/names/task-queues.ts';
import { activityOrganisation } from '../activity-run.ts';
import { beating } from '../beating.ts';
import type { ActivityDependencies, RegisteredActivities } from '../dependencies.ts';
import { openAllSources, type AllSources } from '../privacy/all-sources.ts';
import type { AccessExportActivities } from './activity-contract.ts';
import { encryptTo, ExportArchive } from './archive.ts';

const DAY_MS = 86_400_000;

/** Discovered: what an access export reads, keeps and deletes. */
export default async function register({ config, database }: ActivityDependencies): Promise<RegisteredActivities> {
  const keys = await loadKeyRing(config);
  const sources = await openAllSources({ config, database, keys });
  return {
    queues: { [TASK_QUEUES.core]: { ...createAccessExportActivities({ keys, sources, store: new AccessExportStore(database), blobs: createBlobStore(config, keys) }) } },
    shutdown: () => sources.close(),
  };
}

interface Parts {
  readonly keys: KeyRing;
  readonly sources: AllSources;
  readonly store: AccessExportStore;
  readonly blobs: BlobStore;
}

function createAccessExportActivities(parts: Parts): AccessExportActivities {
  const { store, blobs } = parts;
  return {
    async collectAccessExport(exportId) {
      const orgId = activityOrganisation();
      const record = await rowOf(store, orgId, exportId);
      // Ready before, or erased with the person before it was.
      if (record.expiresAt !== null || record.state === 'expired') return { reasons: [], expiresAtMs: record.expiresAt?.getTime() ?? 0, records: recordsIn(record), passing: false };
      await store.move(orgId, exportId, 'collecting', []);
      return beating(() => collect(parts, orgId, record));
    },

    async noteAccessExport(exportId, reasons) {
      await store.move(activityOrganisation(), exportId, 'blocked', reasons);
    },

    async expireAccessExport(exportId) {
      const orgId = activityOrganisation();
      const blob = await store.expire(orgId, exportId, actOf(systemCaller(orgId, 'privacy'), 'access-export.expire', { kind: 'access-export', id: exportId }));
      if (isBlobRef(blob)) await blobs.delete(orgId, blob);
    },
  };
}

/** Half an answer is none: one source that does not answer stops it. */
async function collect({ keys, sources, store, blobs }: Parts, orgId: string, record: AccessExportRecord): ReturnType<AccessExportActivities['collectAccessExport']> {
  const { identities, recipient } = openExportRequest(keys, orgId, record);
  const inquiry = { orgId, requestId: record.id, identities, subjects: record.subjects, maskKey: randomBytes(32), holds: [], signal: cancellationSignal() };
  const archive = new ExportArchive();
  const reasons: string[] = [];
  let passing = false;
  for (const source of await sources.of(orgId)) {
    try {
      for await (const portion of source.export(inquiry)) archive.add(source.name, portion);
    } catch (error) {
      if (!(error instanceof HalError)) throw error;
      reasons.push(`${source.name}: ${error.message}`);
      passing ||= error.failure.retryable;
    }
  }
  if (reasons.length > 0) return { reasons, expiresAtMs: 0, records: 0, passing };
  const at = new Date();
  const expiresAt = new Date(at.getTime() + record.keepDays * DAY_MS);
  const bytes = await encryptTo(recipient, archive.zip({ id: record.id, at }));
  const { contents } = archive;
  const records = contents.reduce((sum, table) => sum + table.records, 0);
  const blob = await blobs.put(orgId, bytes);
  const first = await store.ready(orgId, record.id, { contents, blob, bytes: bytes.length, at, expiresAt }, actOf(systemCaller(orgId, 'privacy'), 'access-export.ready', { kind: 'access-export', id: record.id }, { records, bytes: bytes.length }));
  if (!first) await blobs.delete(orgId, blob);
  return { reasons: [], expiresAtMs: expiresAt.getTime(), records, passing: false };
}

async function rowOf(store: AccessExportStore, orgId: string, exportId: string): Promise<AccessExportRecord> {
  const record = await store.find(orgId, exportId);
  if (record === undefined) throw new HalError('NotFound', 'no such export');
  return record;
}

function recordsIn({ contents }: AccessExportRecord): number {
  return contents.reduce((sum, { records }) => sum + records, 0);
}
