import type { RetentionInput, RetentionResult } from '../../schemas/operations/retention.ts';

/** What there is to do, as far as the run must know. */
export interface RetentionSteps {
  /** Qualified names, those whose rows point at others' first. */
  readonly tables: readonly string[];
  /** What stands in the way of all of it; empty: it may begin. */
  readonly reasons: readonly string[];
}

/** Served by `core`. Organisation and report are those of the run. All are idempotent. */
export interface RetentionActivities {
  /** Reads the catalog, counts what would go, and writes the report. */
  planRetention(input: RetentionInput): Promise<RetentionSteps>;
  /**
   * Deletes what has expired by the cutoff of the report.
   * @throws {ApplicationFailure} Conflict (not retryable) when the source refuses.
   */
  sweepTable(input: RetentionInput, table: string): Promise<void>;
  /** Counts again and ends the report. */
  finishRetention(input: RetentionInput, reasons: readonly string[]): Promise<RetentionResult>;
}
