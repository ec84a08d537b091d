import type { BulkActionName, BulkInput } from '../../schemas/operations/bulk.ts';

export interface BulkTally {
  readonly action: BulkActionName;
  /** Not acted on yet. */
  readonly waiting: number;
  readonly done: number;
  readonly failed: number;
  readonly aborted: number;
}

/** Served by `core`. The organisation is that of the run. */
export interface BulkActivities {
  /**
   * Acts on the next runs, a second's worth, as whoever asked, and keeps what became of each.
   * @throws {ApplicationFailure} NotFound (not retryable) when there is no such action.
   */
  actOnRuns(input: BulkInput): Promise<BulkTally>;
  /** Leaves out what has not begun. Idempotent. */
  abortBulk(bulkId: string): Promise<void>;
}
