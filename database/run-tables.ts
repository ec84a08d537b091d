import type { ColumnType } from 'kysely';
import type { Timestamp } from './organisations.ts';

type MaybeTime = ColumnType<Date | null, Date | null | undefined, Date | null>;

/** How a run stands, in HAL9's words. */
export type RunStatus = 'running' | 'completed' | 'failed' | 'cancelled' | 'terminated' | 'timed-out';

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
  };
  idempotency_keys: { org_id: string; operation: string; key_hash: Buffer; body_hash: Buffer; run_id: string; started_at: MaybeTime; expires_at: Timestamp };
  run_projections: { name: string; watermark: Timestamp };
  workers: { id: string; process: string; host: string; pid: number; queues: string[]; build: string; started_at: Timestamp; last_seen: Timestamp };
}
