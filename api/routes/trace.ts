import { z } from 'zod';
import type { DecisionStore, StoredDecision } from '../../database/decisions.ts';
import type { IncidentStore, StoredIncident } from '../../database/incidents.ts';
import type { ReceivedSignal, SignalReadStore } from '../../database/signal-reads.ts';
import type { TracedEmission, TraceStore } from '../../database/traces.ts';
import type { RunEventStore } from '../../database/run-events.ts';
import type { RunRow, RunStore } from '../../database/runs.ts';
import type { Caller } from '../../platform/identity/caller.ts';
import { receivedNode, withCauses } from '../../platform/traces/causes.ts';
import { addFollowers } from '../../platform/traces/followers.ts';
import { decisionNode, emissionNode, runNode, traceNodeOf } from '../../platform/traces/node.ts';
import { shownTo } from '../../platform/traces/shown.ts';
import { HalError } from '../../schemas/errors.ts';
import { LAYERS } from '../../schemas/names/layers.ts';
import { incidentView, runTraceView, type TraceNode, traceView } from '../../schemas/rest/traces.ts';
import { runIdParams } from '../../schemas/rest/runs.ts';
import { signalParams } from '../../schemas/rest/signals.ts';
import { defineRoute, type AnyRoute } from '../route.ts';
import { byRun } from '../run-access.ts';
import { viewOfDecision } from './decisions.ts';

export interface TraceRouteOptions {
  readonly reads: SignalReadStore;
  readonly traces: TraceStore;
  readonly decisions: DecisionStore;
  readonly incidents: IncidentStore;
  readonly runs: RunStore;
  readonly events: RunEventStore;
}

const MOST_DECISIONS = 200;

/** What became of a signal, and the incidents that signals add up to. */
export function createTraceRoutes(options: TraceRouteOptions): AnyRoute[] {
  return [
    defineRoute({
      method: 'get',
      path: '/v1/signals/:id/trace',
      id: 'traceSignal',
      tag: 'Signals',
      summary: 'Shows the way of a signal through the layers as a tree',
      description: 'Emissions that rest on it, in whatever batch a correlator made them; delegations downwards and what followed; decisions with reason, cost and duration; the runs they started. In `tree` also what automations did, the steps of runs, approvals, and messages that went out.',
      permission: 'signals:read',
      params: signalParams,
      responses: { 200: { description: 'The trace.', schema: traceView } },
      handler: async ({ caller, params }) => {
        const signal = await options.reads.find(caller.orgId, params.id);
        if (signal === undefined) throw new HalError('NotFound', 'there is no such signal, or it left the dedup window');
        return { status: 200, body: await traced(options, caller, signal) };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/v1/runs/:id/trace',
      id: 'traceRun',
      tag: 'Runs',
      summary: 'Shows what led to a run and what came of it as a tree',
      description: 'From the caller, schedule, webhook or signal that began it, through automations and decisions, down to the run; below it its steps, the approvals it waited for, the runs it led to, and the messages that went out. Read from the read model, so a running one may be some hundred milliseconds behind. What the caller may not read keeps its place without its name.',
      permission: 'runs:read',
      access: byRun,
      params: runIdParams,
      responses: { 200: { description: 'The trace.', schema: runTraceView } },
      handler: async ({ caller, params }) => {
        const run = await options.runs.get(caller.orgId, params.id);
        if (run === undefined) throw new HalError('NotFound', 'there is no such run');
        const node = runNode(run);
        const truncated = await addFollowers(options, caller.orgId, [node]);
        const tree = shownTo(caller, await withCauses(options, caller.orgId, node));
        return { status: 200, body: { runId: run.runId, operation: run.operation, status: run.status, truncated, tree } };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/v1/incidents',
      id: 'listIncidents',
      tag: 'Decisions',
      summary: 'Lists incidents, latest change first',
      description: 'What correlators opened: emissions of type `hal9.incident`, gathered by `data.incidentId`.',
      permission: 'decisions:read',
      query: z.object({ limit: z.coerce.number().int().min(1).max(500).default(50).describe('Most incidents.') }),
      responses: { 200: { description: 'Incidents.', schema: z.object({ items: z.array(incidentView) }) } },
      handler: async ({ caller, query }) => ({ status: 200, body: { items: (await options.incidents.list(caller.orgId, query.limit)).map(viewOfIncident) } }),
    }),
  ];
}

async function traced(options: TraceRouteOptions, caller: Caller, signal: ReceivedSignal): Promise<z.input<typeof traceView>> {
  const { orgId } = caller;
  const { emissions, truncated } = signal.batchId === null ? { emissions: [], truncated: false } : await options.traces.emissionsFrom(orgId, signal.key, signal.batchId);
  const refs = [signal.key, ...emissions.map((emission) => emission.id)];
  const decisions = await options.decisions.restingOn(orgId, refs, MOST_DECISIONS + 1);
  const shown = decisions.slice(0, MOST_DECISIONS);
  const runIds = shown.flatMap((decision) => decision.runId ?? []);
  const runs = (await Promise.all(runIds.map((runId) => options.runs.get(orgId, runId)))).filter((run) => run !== undefined);
  const batches = [...new Set([...(signal.batchId === null ? [] : [signal.batchId]), ...emissions.map((emission) => emission.batchId)])];
  const calls = await options.traces.callsFor(orgId, batches, refs);
  const letters = await options.traces.deadLettersFor(orgId, refs);
  const head = signalHead(signal);
  const { root, nodes } = tree(signal, emissions, shown, runs);
  const more = await addFollowers(options, orgId, nodes);
  const end = shown.length > 0 ? Math.max(...shown.map((decision) => decision.createdAt.getTime())) : signal.decidedAt?.getTime();
  return {
    signal: head,
    emissions: emissions.map(viewOfEmission),
    decisions: shown.map(viewOfDecision),
    runs: runs.map((run) => ({ runId: run.runId, operation: run.operation, status: run.status, startedAt: run.startedAt.toISOString(), closedAt: run.closedAt?.toISOString() ?? null, failure: run.failure })),
    externalCalls: calls.map((call) => ({ id: call.id, layer: call.layer, neuron: call.neuronId, ref: call.ref, costUsd: call.costUsd, fallback: call.fallback, answeredAt: call.answeredAt?.toISOString() ?? null })),
    deadLetters: letters,
    costUsd: sumOfMoney(calls.map((call) => call.costUsd)),
    durationMs: end === undefined ? null : Math.max(0, end - signal.receivedAt.getTime()),
    truncated: truncated || more || decisions.length > MOST_DECISIONS,
    // Whoever may trace signals may see what was decided and started for them.
    tree: shownTo(caller, root, ['signal', 'emission', 'decision', 'run']),
  };
}

const attributes = z.looseObject({ type: z.string(), source: z.string(), subject: z.string().optional() });

function signalHead(signal: ReceivedSignal): z.input<typeof traceView>['signal'] {
  const { type, source, subject } = attributes.parse(JSON.parse(signal.envelope));
  const state = signal.batchState ?? 'open';
  return {
    id: signal.key,
    type,
    source,
    subject: subject ?? null,
    receivedAt: signal.receivedAt.toISOString(),
    state: state === 'open' ? 'pending' : state,
    decidedAt: signal.decidedAt?.toISOString() ?? null,
    batch: signal.batchId,
  };
}

function viewOfEmission(emission: TracedEmission): z.input<typeof traceView>['emissions'][number] {
  const { neuronId, neuronVersion, neuronName, batchId, targetLayer, eventTime, causes, createdAt, depth: _depth, ...rest } = emission;
  return {
    ...rest,
    targetLayer: LAYERS.find((layer) => layer === targetLayer) ?? 'L2',
    neuron: { id: neuronId, version: neuronVersion, name: neuronName },
    eventTime: eventTime.toISOString(),
    causes: [...causes],
    batch: batchId,
    createdAt: createdAt.toISOString(),
  };
}

/** Each emission and decision hangs below the first of its causes that is part of the trace. */
function tree(signal: ReceivedSignal, emissions: readonly TracedEmission[], decisions: readonly StoredDecision[], runs: readonly RunRow[]): { readonly root: TraceNode; readonly nodes: readonly TraceNode[] } {
  const root = receivedNode(signal);
  const nodes = new Map<string, TraceNode>([[root.id, root], ...emissions.map((emission) => [emission.id, emissionNode(emission)] as const)]);
  const parentOf = (id: string, causes: readonly string[]): TraceNode => nodes.get(causes.find((cause) => cause !== id && nodes.has(cause)) ?? '') ?? root;
  for (const { id, causes } of emissions) {
    const node = nodes.get(id);
    if (node !== undefined) parentOf(id, causes).children.push(node);
  }
  const byRunId = new Map(runs.map((run) => [run.runId, run]));
  const decided = decisions.flatMap((decision) => {
    const node = decisionNode(decision);
    parentOf(decision.id, decision.causes).children.push(node);
    if (decision.runId === null) return [node];
    const run = byRunId.get(decision.runId);
    // The read model may not have heard of it yet.
    const started = run === undefined ? traceNodeOf({ kind: 'run', id: decision.runId, title: decision.runId }) : runNode(run);
    node.children.push(started);
    return [node, started];
  });
  return { root, nodes: [...nodes.values(), ...decided] };
}

/** Decimal texts of US dollars, added without rounding; nine places, as PostgreSQL keeps them. */
function sumOfMoney(amounts: readonly string[]): string {
  let nano = 0n;
  for (const amount of amounts) {
    const [whole = '0', fraction = ''] = amount.split('.');
    nano += BigInt(whole) * 1_000_000_000n + BigInt(fraction.padEnd(9, '0').slice(0, 9));
  }
  return `${String(nano / 1_000_000_000n)}.${String(nano % 1_000_000_000n).padStart(9, '0')}`;
}

function viewOfIncident(incident: StoredIncident): z.input<typeof incidentView> {
  const { data } = incident;
  const text = (value: unknown): string | null => (typeof value === 'string' ? value : null);
  return {
    id: incident.id,
    state: text(data['state']) ?? 'opened',
    severity: incident.severity,
    cause: text(data['cause']),
    subject: incident.subject,
    openedAt: incident.openedAt.toISOString(),
    updatedAt: incident.updatedAt.toISOString(),
    members: Array.isArray(data['members']) ? data['members'] : [],
    data,
    emissions: [...incident.emissions],
    decisions: incident.decisions.map((decision) => ({ ...decision, createdAt: decision.createdAt.toISOString() })),
    runs: incident.decisions.flatMap((decision) => decision.runId ?? []),
  };
}
