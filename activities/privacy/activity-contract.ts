/** What a run must know of its erasure; nothing of it is personal. */
export interface ErasureTerms {
  /** People who must agree; 0: nobody. */
  readonly approvals: number;
  readonly dueAtMs: number;
  /** Days before the deadline. */
  readonly remindDays: readonly number[];
  readonly connection: string | null;
  /** Whether it had come to its end before this run began; what is missing is the receipt. */
  readonly ended?: 'complete' | 'denied';
}

export interface ErasurePlan {
  /** What stands in the way; empty: the erasure may begin. */
  readonly reasons: readonly string[];
  /** Ids, independent of each other. */
  readonly sources: readonly string[];
  /** Ids of sources whose turn comes after all others'. */
  readonly last?: readonly string[];
  /** Rows of the person in all sources. */
  readonly rows: number;
  /** For people who are asked to agree. */
  readonly summary: string;
  /** Whether the reasons may be gone in minutes. */
  readonly passing: boolean;
}

/** Served by `core`. The organisation is that of the run. All are idempotent. */
export interface ErasureActivities {
  openErasure(erasureId: string): Promise<ErasureTerms>;
  noteErasure(erasureId: string, state: 'blocked' | 'waiting' | 'erasing', reasons: readonly string[]): Promise<void>;
  /** Reads every source's catalog, applies holds, and rehearses the whole erasure in a transaction that is taken back. */
  planErasure(erasureId: string): Promise<ErasurePlan>;
  /**
   * Masks and deletes, a transaction a step.
   * @throws {ApplicationFailure} Conflict (not retryable) when the source refuses.
   */
  eraseSource(erasureId: string, sourceId: string): Promise<void>;
  /** Looks for the person again, in all columns of all sources. @returns where somebody must act. */
  verifyErasure(erasureId: string): Promise<readonly string[]>;
  finishErasure(erasureId: string, state: 'complete' | 'denied', reasons: readonly string[]): Promise<{ readonly rows: number }>;
  /** @throws until a checkpoint of the audit log covers the end. */
  issueReceipt(erasureId: string): Promise<void>;
  /** @param days until the deadline; 0 and below: past it. */
  remindOfErasure(erasureId: string, days: number): Promise<void>;
}
