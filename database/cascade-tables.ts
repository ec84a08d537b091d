import type { ColumnType, Generated } from 'kysely';
import type { NeuronDraft } from '../schemas/neurons/definition.ts';
import type { EffectOfDecision } from './cascade-commit.ts';
import type { Timestamp } from './organisations.ts';

/** JSON columns: objects when read, JSON text when written. */
type Json<T> = ColumnType<T, string, string>;
type MaybeTime = ColumnType<Date | null, Date | string | null | undefined, Date | string | null>;
/** numeric arrives as text, so that no cent is lost. */
type Money = ColumnType<string, string | number | undefined, string | number>;

export interface CascadeTables {
  neurons: { org_id: string; id: string; name: string; layer: string; kind: string; enabled: boolean; version: number; draft: Json<NeuronDraft>; created_at: Timestamp; updated_at: Timestamp };
  neuron_versions: { org_id: string; neuron_id: string; version: number; draft: Json<NeuronDraft>; created_at: Timestamp; created_by: string };
  neuron_generations: { org_id: string; generation: number };
  batches: {
    org_id: string;
    id: string;
    lane: number;
    mode: 'batch' | 'interactive' | 'clock';
    depth: Generated<number>;
    state: Generated<'open' | 'decided' | 'failed'>;
    signals: number;
    emissions: Generated<number>;
    decisions: Generated<number>;
    dead_letters: Generated<number>;
    cost_usd: Money;
    traceparent: string | null;
    opened_at: Timestamp;
    started_at: MaybeTime;
    decided_at: MaybeTime;
    failure: string | null;
    /** Restarts by the dispatcher. */
    attempts: Generated<number>;
    /** When the dispatcher last looked after it. */
    checked_at: MaybeTime;
  };
  layer_results: { org_id: string; batch_id: string; layer: string; summary: Json<unknown>; committed_at: Timestamp };
  emissions: {
    org_id: string;
    id: string;
    batch_id: string;
    layer: string;
    ordinal: number;
    target_layer: string;
    direction: 'up' | 'down';
    neuron_id: string;
    neuron_version: number;
    neuron_name: string;
    type: string;
    subject: string | null;
    correlation_key: string;
    severity: string;
    event_time: Timestamp;
    data: Json<unknown> | null;
    causes: string[];
    path: string[];
    depth: number;
    created_at: Timestamp;
  };
  decisions: {
    org_id: string;
    id: string;
    batch_id: string;
    layer: string;
    ordinal: number;
    neuron_id: string;
    neuron_version: number;
    neuron_name: string;
    summary: string;
    reason: string;
    severity: string;
    dedup_key: string | null;
    event_time: Timestamp;
    evidence: Json<unknown> | null;
    causes: string[];
    cost_usd: Money;
    duration_us: Generated<number>;
    effect: Json<EffectOfDecision> | null;
    /** Why its effect failed or was refused. */
    effect_failure: string | null;
    state: 'none' | 'pending' | 'awaiting-approval' | 'done' | 'refused' | 'failed';
    run_id: string | null;
    created_at: Timestamp;
  };
  neuron_states: { org_id: string; neuron_id: string; series: string; state: Buffer; due_at: MaybeTime; due_event_at: MaybeTime; updated_at: Timestamp };
  dead_letters: {
    org_id: string;
    id: string;
    batch_id: string;
    layer: string;
    ref: string;
    neuron_id: string | null;
    neuron_version: number | null;
    failure: string;
    cause: string;
    created_at: Timestamp;
    replayed_at: MaybeTime;
  };
  external_calls: {
    org_id: string;
    id: string;
    batch_id: string;
    layer: string;
    ordinal: number;
    neuron_id: string;
    neuron_version: number;
    signal: Json<unknown>;
    created_at: Timestamp;
    answer: Json<unknown> | null;
    fallback: string | null;
    cost_usd: Money;
    answered_at: MaybeTime;
  };
  outbox: {
    org_id: string;
    id: string;
    kind: 'operation' | 'notification';
    payload: Json<unknown>;
    attempts: Generated<number>;
    next_at: Timestamp;
    last_failure: string | null;
    created_at: Timestamp;
    done_at: MaybeTime;
  };
}
