import type { DatabaseOptions } from '../../database/database.ts';
import type { FailureName } from '../../schemas/errors.ts';
import type { Answers, Job } from './batch-jobs.ts';
import type { LayerSpan } from './evaluation-spans.ts';

/** What a thread is started with. */
export interface ThreadSettings {
  readonly database: DatabaseOptions;
}

export interface ThreadRequest {
  readonly id: number;
  readonly job: Job;
  /** Whether to answer what it took, for a trace. */
  readonly traced: boolean;
}

export type ThreadAnswer =
  | { readonly id: number; readonly answer: Answers[Job['kind']]; readonly spans: readonly LayerSpan[] }
  | { readonly id: number; readonly failure: { readonly message: string; readonly type: FailureName | undefined; /** SQLSTATE. */ readonly code: string | undefined } };
