/** Reference to bytes of one organisation: `blob:` and 64 hexadecimal digits. Safe in histories and logs; it tells nothing of the content. */
export type BlobRef = `blob:${string}`;

/** Where bytes live that are too large or too private for rows and histories. Equal bytes of one organisation have one reference. */
export interface BlobStore {
  /**
   * Durable when it returns. Writing the same bytes again changes nothing.
   * @param subjectKey the key of the person they are about; default the organisation's. Once it is destroyed, {@link get} finds nothing.
   */
  put(orgId: string, bytes: Uint8Array, subjectKey?: string): Promise<BlobRef>;
  /** @throws {HalError} NotFound when the organisation has no such blob. */
  get(orgId: string, ref: BlobRef): Promise<Buffer>;
  /** Removing what is not there is fine. */
  delete(orgId: string, ref: BlobRef): Promise<void>;
  /** All blobs of the organisation, in no order; what comes and goes meanwhile may or may not be among them. */
  list(orgId: string): AsyncIterable<BlobRef>;
  /** Bytes the organisation's blobs take in the store, for metering. */
  storedBytes(orgId: string): Promise<number>;
}

/** The same store, for what is about one person. @param subjectKey undefined: for what is not. */
export function blobsUnder(blobs: BlobStore, subjectKey: string | undefined): BlobStore {
  if (subjectKey === undefined) return blobs;
  return {
    put: (orgId, bytes) => blobs.put(orgId, bytes, subjectKey),
    get: (orgId, ref) => blobs.get(orgId, ref),
    delete: (orgId, ref) => blobs.delete(orgId, ref),
    list: (orgId) => blobs.list(orgId),
    storedBytes: (orgId) => blobs.storedBytes(orgId),
  };
}

/** Whether a text is a reference, e.g. one read back from JSON. */
export function isBlobRef(text: unknown): text is BlobRef {
  return typeof text === 'string' && /^blob:[0-9a-f]{64}$/.test(text);
}
