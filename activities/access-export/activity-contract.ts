/** Served by `core`. The organisation is that of the run. All are idempotent. */
export interface AccessExportActivities {
  /** @returns when it expires, epoch ms, and records in it; `reasons` when a source stands in the way: then nothing is kept. */
  collectAccessExport(exportId: string): Promise<{ readonly reasons: readonly string[]; readonly expiresAtMs: number; readonly records: number; readonly passing: boolean }>;
  noteAccessExport(exportId: string, reasons: readonly string[]): Promise<void>;
  /** Deletes it. */
  expireAccessExport(exportId: string): Promise<void>;
}
