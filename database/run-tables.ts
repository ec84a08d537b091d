import type { ColumnType, Generated } from 'kysely';
import type { Progress } from '../schemas/names/messages.ts';
import type { Timestamp } from './organisations.ts';

type MaybeTime = ColumnType<Date | null, Date | null | undefined, Date | null>;

/** How a run stands, in HAL9's words. */
export type RunStatus = 'running' | 'completed' | 'failed' | 'cancelled' | 'terminated' | 'timed-out';

/** What can happen to a run; `closed` is the last unless somebody replays it. */
export type RunEventType = 'started' | 'progress' | 'paused' | 'resumed' | 'retried' | 'replayed' | 'closed';

export interface RunTables {
  runs: {
    org_id: string;
    run_id: string;
    operation: string;
    origin: string;
    status: RunStatus;
    tags: string[];
    actor: string | null;
    request_id: string | null;
    traceparent: string | null;
    started_at: Timestamp;
    closed_at: MaybeTime;
    failure: string | null;
    paused_at: MaybeTime;
    progress: ColumnType<Progress | null, string | null | undefined, string | null>;
    retry_of: string | null;
    retried_by: string | null;
    epoch: Generated<number>;
  };
  run_events: { org_id: string; run_id: string; seq: number; type: RunEventType; at: Timestamp; data: Readonly<Record<string, unknown>> };
  idempotency_keys: { org_id: string; operation: string; key_hash: Buffer; body_hash: Buffer; run_id: string; started_at: MaybeTime; expires_at: Timestamp };
  run_projections: { name: string; watermark: Timestamp };
  workers: { id: string; process: string; host: string; pid: number; queues: string[]; build: string; started_at: Timestamp; last_seen: Timestamp };
}
