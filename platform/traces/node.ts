import type { StoredDecision } from '../../database/decisions.ts';
import type { RunRow } from '../../database/runs.ts';
import type { TracedApproval, TracedEmission, TracedFiring } from '../../database/traces.ts';
import type { TraceKind, TraceNode } from '../../schemas/rest/traces.ts';

export interface NodeFacts {
  readonly kind: TraceKind;
  readonly id: string;
  readonly layer?: string;
  readonly title: string;
  readonly state?: string | null;
  readonly at?: Date | null;
  readonly endedAt?: Date | null;
  /** Default: from `at` to `endedAt`. */
  readonly durationMs?: number;
  readonly failure?: string | null;
}

export function traceNodeOf({ kind, id, layer = '', title, state = null, at = null, endedAt = null, durationMs, failure = null }: NodeFacts): TraceNode {
  const took = durationMs ?? (at === null || endedAt === null ? null : Math.max(0, endedAt.getTime() - at.getTime()));
  return { kind, id, layer, title, state, at: at?.toISOString() ?? null, endedAt: endedAt?.toISOString() ?? null, durationMs: took, failure, children: [] };
}

export function runNode({ runId, operation, status, startedAt, closedAt, failure }: RunRow): TraceNode {
  return traceNodeOf({ kind: 'run', id: runId, title: `${operation}: ${status}`, state: status, at: startedAt, endedAt: closedAt, failure });
}

export function emissionNode({ id, layer, neuronName, direction, type, targetLayer, createdAt }: TracedEmission): TraceNode {
  return traceNodeOf({ kind: 'emission', id, layer, title: `${neuronName} ${direction === 'up' ? 'emits' : 'delegates'} ${type} to ${targetLayer}`, at: createdAt });
}

export function decisionNode({ id, layer, neuronName, summary, state, createdAt, durationUs, effectFailure }: StoredDecision): TraceNode {
  return traceNodeOf({ kind: 'decision', id, layer, title: `${neuronName} decides: ${summary}`, state, at: createdAt, durationMs: durationUs / 1000, failure: effectFailure });
}

export function automationNode({ id, automation, state, reason, createdAt, doneAt }: TracedFiring): TraceNode {
  return traceNodeOf({ kind: 'automation', id, title: `${automation ?? 'a deleted automation'}: ${state}`, state, at: createdAt, endedAt: doneAt, failure: reason });
}

export function approvalNode({ id, summary, state, outcome, createdAt, closedAt }: TracedApproval): TraceNode {
  return traceNodeOf({ kind: 'approval', id, title: `${summary}: ${state}`, state, at: createdAt, endedAt: closedAt, failure: state === 'approved' ? null : outcome });
}
