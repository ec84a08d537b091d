import type { RunEventStore } from '../../database/run-events.ts';
import type { RunStore } from '../../database/runs.ts';
import type { TracedMessage, TraceStore } from '../../database/traces.ts';
import { formatRunId, parseRunId } from '../../schemas/names/workflow-id.ts';
import bulk from '../../schemas/operations/bulk.ts';
import type { TraceKind, TraceNode } from '../../schemas/rest/traces.ts';
import { approvalNode, automationNode, runNode, traceNodeOf } from './node.ts';
import { MOST_STEPS, stepsOf } from './steps.ts';

/** Most nodes below those that are asked for. */
const MOST_NODES = 500;

export interface FollowerParts {
  readonly traces: TraceStore;
  readonly runs: RunStore;
  readonly events: RunEventStore;
}

/**
 * Hangs below these nodes, and below what follows from them, whatever came of them.
 * @param known nodes that are in the tree already.
 * @returns whether there is more.
 */
export async function addFollowers(parts: FollowerParts, orgId: string, known: readonly TraceNode[]): Promise<boolean> {
  const level = new Level(known);
  for (let nodes = [...known]; nodes.length > 0; nodes = level.next()) await grow(parts, orgId, level, nodes);
  return level.truncated;
}

/** Nodes found so far, each once. */
class Level {
  readonly #seen: Set<string>;
  #fresh: TraceNode[] = [];
  #room = MOST_NODES;
  truncated = false;

  constructor(known: readonly TraceNode[]) {
    this.#seen = new Set(known.map(keyOf));
  }

  add(parent: TraceNode | undefined, node: TraceNode): TraceNode | undefined {
    if (parent === undefined || this.#seen.has(keyOf(node))) return undefined;
    if (this.#room === 0) {
      this.truncated = true;
      return undefined;
    }
    this.#room -= 1;
    this.#seen.add(keyOf(node));
    parent.children.push(node);
    this.#fresh.push(node);
    return node;
  }

  next(): TraceNode[] {
    const fresh = this.#fresh;
    this.#fresh = [];
    return fresh;
  }
}

function keyOf({ kind, id }: TraceNode): string {
  return `${kind} ${id}`;
}

async function grow({ traces, runs, events }: FollowerParts, orgId: string, level: Level, nodes: readonly TraceNode[]): Promise<void> {
  const of = (...kinds: readonly TraceKind[]): ReadonlyMap<string, TraceNode> => new Map(nodes.filter(({ kind }) => kinds.includes(kind)).map((node) => [node.id, node]));
  const [signals, decisions, running, waiting] = [of('signal', 'emission'), of('decision'), of('run'), of('approval')];
  const [runIds, decisionIds] = [[...running.keys()], [...decisions.keys()]];
  const [firings, approvals, webhooks, notifications, followers, happened] = await Promise.all([
    traces.firingsOf(orgId, [...signals.keys()]),
    traces.approvalsOf(orgId, runIds, decisionIds),
    traces.webhooksOf(orgId, runIds, decisionIds),
    traces.notificationsOf(orgId, notificationKeys(runIds, decisionIds, [...waiting.keys()])),
    traces.followersOf(orgId, runIds, runIds.flatMap((id) => (parseRunId(id)?.operation === bulk.name ? (parseRunId(id)?.uuid ?? []) : []))),
    events.after(orgId, runIds.map((runId) => ({ runId, seq: 0 }))),
  ]);
  /** Runs to hang below these. */
  const started: { parent: TraceNode | undefined; runId: string }[] = followers.map(({ from, runId }) => ({ parent: running.get(from), runId }));

  for (const [runId, list] of happened) {
    const steps = stepsOf(runId, list);
    if (steps.length > MOST_STEPS) level.truncated = true;
    for (const step of steps.slice(0, MOST_STEPS)) level.add(running.get(runId), step);
  }
  for (const firing of firings) {
    const node = level.add(signals.get(firing.signalKey), automationNode(firing));
    if (firing.runId !== null) started.push({ parent: node, runId: firing.runId });
    if (firing.emittedKey !== null) level.add(node, traceNodeOf({ kind: 'signal', id: firing.emittedKey, title: firing.emittedType ?? 'a signal', at: firing.doneAt }));
  }
  for (const approval of approvals) {
    const node = level.add(running.get(approval.runId) ?? decisions.get(approval.decisionId ?? ''), approvalNode(approval));
    // What a yes to a decision starts hangs below the decision.
    if (approval.operation !== null && approval.decisionId === null) started.push({ parent: node, runId: formatRunId({ operation: approval.operation, uuid: approval.id }) });
  }
  const about = (id: string): TraceNode | undefined => running.get(id) ?? decisions.get(id) ?? waiting.get(id) ?? nodes.flatMap(({ children }) => children).find((node) => node.kind === 'approval' && node.id === id);
  for (const message of webhooks) level.add(about(message.about), messageNode('message', message));
  for (const message of notifications) level.add(about(message.about), messageNode('notification', message));
  if (started.length > 0) {
    const rows = new Map((await runs.list(orgId, { operations: [], runIds: started.map(({ runId }) => runId), limit: MOST_NODES })).map((row) => [row.runId, row]));
    for (const { parent, runId } of started) {
      const row = rows.get(runId);
      if (row !== undefined) level.add(parent, runNode(row));
    }
  }
  for (const { children } of nodes) children.sort((a, b) => (a.at ?? '').localeCompare(b.at ?? ''));
}

/** By their dedup keys, as those who send them choose them. */
function notificationKeys(runIds: readonly string[], decisionIds: readonly string[], approvalIds: readonly string[]): ReadonlyMap<string, string> {
  return new Map([
    ...decisionIds.map((id) => [id, id] as const),
    ...approvalIds.flatMap((id) => [[id, id] as const, [`approval/${id}`, id] as const]),
    ...runIds.flatMap((id) => [[`escalation/${id}`, id] as const, [`erasure/${id}`, id] as const]),
  ]);
}

function messageNode(kind: 'message' | 'notification', { id, what, to, state, failure, createdAt, doneAt }: TracedMessage): TraceNode {
  return traceNodeOf({ kind, id, title: `${what} to ${to}: ${state}`, state, at: createdAt, endedAt: doneAt, failure: state === 'delivered' ? null : failure });
}
