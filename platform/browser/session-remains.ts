import type { BrowserSessionStore } from '../../database/browser-sessions.ts';
import { isBlobRef, type BlobStore } from '../blobs/blob-store.ts';

/** Deletes what a session that ended left: logins, answers, pictures of its live page. Cut off, it may be done again from the beginning. */
export async function emptySession({ sessions, blobs }: { sessions: Pick<BrowserSessionStore, 'leftBy' | 'forget'>; blobs: Pick<BlobStore, 'delete'> }, orgId: string, id: string): Promise<void> {
  for (const reference of await sessions.leftBy(orgId, id)) if (isBlobRef(reference)) await blobs.delete(orgId, reference);
  await sessions.forget(orgId, id);
}
