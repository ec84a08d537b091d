export interface PrivacyChangePlan {
  /** Set when it had come to its end before. */
  readonly ended?: 'complete' | 'superseded';
  /** What stands in the way; empty: it is being carried out from now on. */
  readonly reasons: readonly string[];
  /** Ids, independent of each other. */
  readonly sources: readonly string[];
  /** Whether the reasons may be gone in minutes. */
  readonly passing: boolean;
}

/** Served by `core`. The organisation is that of the run. All are idempotent. */
export interface PrivacyChangeActivities {
  /** Ends earlier changes that this one makes needless, finds the person in every source, and begins where nothing stands in the way. */
  planPrivacyChange(changeId: string): Promise<PrivacyChangePlan>;
  notePrivacyChange(changeId: string, reasons: readonly string[]): Promise<void>;
  /** @throws {ApplicationFailure} Conflict (not retryable) when the source refuses, or people have something to do. */
  changeSource(changeId: string, sourceId: string): Promise<void>;
  /** Reads again, in all sources. @returns what is still otherwise. */
  verifyPrivacyChange(changeId: string): Promise<readonly string[]>;
  finishPrivacyChange(changeId: string): Promise<{ readonly rows: number }>;
}
