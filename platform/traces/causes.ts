import { z } from 'zod';
import type { DecisionStore } from '../../database/decisions.ts';
import type { RunRow, RunStore } from '../../database/runs.ts';
import type { ReceivedSignal, SignalReadStore } from '../../database/signal-reads.ts';
import type { TraceStore } from '../../database/traces.ts';
import { AUTOMATION_SOURCE, HOOK_SOURCE, SCHEDULE_SOURCE } from '../../schemas/automations/definition.ts';
import { parseRunId } from '../../schemas/names/workflow-id.ts';
import type { TraceNode } from '../../schemas/rest/traces.ts';
import { approvalNode, automationNode, decisionNode, emissionNode, runNode, traceNodeOf } from './node.ts';

/** Causes above a run that are looked for; chains of automations are far shorter. */
const MOST_CAUSES = 32;
/** Causes of a decision or an emission that are tried. */
const MOST_TRIED = 5;

const envelopeSchema = z.looseObject({ id: z.string(), type: z.string(), source: z.string() });
const uuid = z.uuid();

export interface CauseParts {
  readonly traces: TraceStore;
  readonly runs: RunStore;
  readonly decisions: DecisionStore;
  readonly reads: SignalReadStore;
}

/** @returns the first of what led to the node, with the way down to it. */
export async function withCauses(parts: CauseParts, orgId: string, node: TraceNode): Promise<TraceNode> {
  const seen = new Set([`${node.kind} ${node.id}`]);
  let top = node;
  for (let step = 0; step < MOST_CAUSES; step += 1) {
    const cause = await causeOf(parts, orgId, top);
    if (cause === undefined || seen.has(`${cause.kind} ${cause.id}`)) return top;
    seen.add(`${cause.kind} ${cause.id}`);
    cause.children.push(top);
    top = cause;
  }
  return top;
}

async function causeOf(parts: CauseParts, orgId: string, { kind, id }: TraceNode): Promise<TraceNode | undefined> {
  const { traces, decisions } = parts;
  switch (kind) {
    case 'run': {
      const run = await parts.runs.get(orgId, id);
      return run === undefined ? undefined : causeOfRun(parts, run);
    }
    case 'automation': {
      const firing = await traces.firing(orgId, id);
      return firing === undefined ? undefined : signalNode(parts, orgId, firing.signalKey, firing.signalType);
    }
    case 'approval': {
      const asking = await traces.approval(orgId, id);
      const run = asking === undefined ? undefined : await parts.runs.get(orgId, asking.runId);
      return run === undefined ? undefined : runNode(run);
    }
    case 'decision': return firstOf(parts, orgId, (await decisions.find(orgId, id))?.causes);
    case 'emission': return firstOf(parts, orgId, (await traces.emission(orgId, id))?.causes);
    case 'signal': return causeOfSignal(parts, orgId, id);
    case 'caller':
    case 'schedule':
    case 'webhook':
    case 'step':
    case 'message':
    case 'notification':
      return undefined;
  }
}

/** What HAL9 starts has the id of its cause as its own. */
async function causeOfRun({ traces, runs, decisions }: CauseParts, run: RunRow): Promise<TraceNode | undefined> {
  const { orgId, origin, actor } = run;
  const id = parseRunId(run.runId)?.uuid ?? '';
  for (const other of [run.requestId, run.retryOf]) {
    const earlier = typeof other === 'string' && other !== run.runId && parseRunId(other) !== undefined ? await runs.get(orgId, other) : undefined;
    if (earlier !== undefined) return runNode(earlier);
  }
  if (origin === 'automation') {
    const firing = await traces.firing(orgId, id);
    if (firing !== undefined) return automationNode(firing);
  }
  if (origin === 'schedule') {
    const schedule = await scheduleNode(traces, orgId, id);
    if (schedule !== undefined) return schedule;
  }
  if (origin === 'decision') {
    const decision = await decisions.find(orgId, id);
    if (decision !== undefined) return decisionNode(decision);
    const approval = await traces.approval(orgId, id);
    if (approval !== undefined) return approvalNode(approval);
  }
  return actor === null ? undefined : traceNodeOf({ kind: 'caller', id: actor, title: actor.replace(':', ' '), at: run.startedAt });
}

async function causeOfSignal({ traces, reads }: CauseParts, orgId: string, key: string): Promise<TraceNode | undefined> {
  const received = await reads.find(orgId, key);
  if (received === undefined) return undefined;
  const { id, source } = envelopeSchema.parse(JSON.parse(received.envelope));
  if (source.startsWith(HOOK_SOURCE)) {
    const hook = source.slice(HOOK_SOURCE.length);
    return uuid.safeParse(hook).success ? traceNodeOf({ kind: 'webhook', id: hook, title: (await traces.webhookName(orgId, hook)) ?? 'a deleted webhook', at: received.receivedAt }) : undefined;
  }
  // These name their firing, but anybody may send what looks like theirs.
  if (!uuid.safeParse(id).success) return undefined;
  if (source.startsWith(SCHEDULE_SOURCE)) return scheduleNode(traces, orgId, id);
  const firing = source.startsWith(AUTOMATION_SOURCE) ? await traces.firing(orgId, id) : undefined;
  return firing?.emittedKey === key ? automationNode(firing) : undefined;
}

async function firstOf(parts: CauseParts, orgId: string, causes: readonly string[] = []): Promise<TraceNode | undefined> {
  const tried = causes.slice(0, MOST_TRIED);
  for (const cause of tried) {
    const emission = await parts.traces.emission(orgId, cause);
    if (emission !== undefined) return emissionNode(emission);
    if ((await parts.reads.find(orgId, cause)) !== undefined) return signalNode(parts, orgId, cause, '');
  }
  return undefined;
}

async function scheduleNode(traces: TraceStore, orgId: string, id: string): Promise<TraceNode | undefined> {
  const firing = await traces.scheduleFiring(orgId, id);
  if (firing === undefined) return undefined;
  const { scheduleId, schedule, dueAt, state, createdAt, doneAt } = firing;
  return traceNodeOf({ kind: 'schedule', id: scheduleId, title: `${schedule ?? 'a deleted schedule'}, due ${dueAt.toISOString()}`, state, at: createdAt, endedAt: doneAt });
}

/** A signal that left the dedup window is known by its type alone. */
async function signalNode({ reads }: CauseParts, orgId: string, key: string, type: string): Promise<TraceNode> {
  const received = await reads.find(orgId, key);
  return received === undefined ? traceNodeOf({ kind: 'signal', id: key, title: type }) : receivedNode(received);
}

export function receivedNode({ key, envelope, batchState, receivedAt, decidedAt }: ReceivedSignal): TraceNode {
  const { type, source } = envelopeSchema.parse(JSON.parse(envelope));
  return traceNodeOf({ kind: 'signal', id: key, title: `${type} from ${source}`, state: batchState === null || batchState === 'open' ? 'pending' : batchState, at: receivedAt, endedAt: decidedAt });
}
