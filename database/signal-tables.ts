import type { ColumnType, Generated, GeneratedAlways } from 'kysely';
import type { Timestamp } from './organisations.ts';

/** Dates without a time travel as `YYYY-MM-DD`. */
type Day = ColumnType<string, string, string>;

export interface SignalTables {
  lanes: { org_id: string; lane: number; open_batch: string | null };
  chunks: {
    org_id: string;
    id: GeneratedAlways<number>;
    lane: number;
    signals: number;
    received_on: Day;
    received_at: Timestamp;
    mode: Generated<'batch' | 'interactive'>;
    depth: Generated<number>;
    traceparent: string | null;
    batch_id: string | null;
  };
  signals: { org_id: string; received_on: Day; chunk_id: number; ordinal: number; key: string; source: string; type: string; time: Timestamp; envelope: string };
  signal_keys: { org_id: string; key: string; received_on: Day; chunk_id: number; ordinal: number };
}
