import { z } from 'zod';
import { LAYERS } from '../names/layers.ts';
import { decisionView } from './decisions.ts';
import { runStatus } from './runs.ts';

/** What stands in a trace: what caused a run, what it did, what it waited for and what it sent out. */
export const TRACE_KINDS = ['caller', 'schedule', 'webhook', 'signal', 'emission', 'decision', 'automation', 'run', 'step', 'approval', 'message', 'notification'] as const;
export type TraceKind = (typeof TRACE_KINDS)[number];

/** A place in the tree of a trace. */
export interface TraceNode {
  kind: TraceKind;
  /** Of the thing itself; a step's is `<run>#<number of the event it began with>`. Empty where the caller may not see it. */
  id: string;
  /** L2, L3 or L4; empty for what is in no layer. */
  layer: string;
  /** One line for people. */
  title: string;
  /** How it stands, in the words of its kind; null for what has no state. */
  state: string | null;
  /** RFC 3339; null where it is not known any more. */
  at: string | null;
  endedAt: string | null;
  /** From its begin to its end; null while it is open, and for what takes no time. */
  durationMs: number | null;
  /** Type of the failure of a run, reason of one elsewhere. */
  failure: string | null;
  children: TraceNode[];
}

export const traceNode: z.ZodType<TraceNode> = z
  .object({
    kind: z.enum(TRACE_KINDS),
    id: z.string().describe('Of the thing itself; of a step the run and the number of the event it began with. Empty where the caller may not see it.'),
    layer: z.string(),
    title: z.string(),
    state: z.string().nullable().describe('How it stands, in the words of its kind.'),
    at: z.iso.datetime().nullable(),
    endedAt: z.iso.datetime().nullable(),
    durationMs: z.number().nullable(),
    failure: z.string().nullable().describe('Type of the failure of a run, reason of one elsewhere.'),
    get children() {
      return z.array(traceNode);
    },
  })
  .meta({ id: 'TraceNode' });

export const runTraceView = z
  .object({
    runId: z.string(),
    operation: z.string(),
    status: runStatus,
    truncated: z.boolean().describe('Whether there is more than a trace shows (500 nodes, 50 steps of a run).'),
    tree: traceNode.describe('From what began it all down to the run, and from there everything that followed.'),
  })
  .meta({ id: 'RunTrace' });

export const traceView = z
  .object({
    signal: z.object({
      id: z.guid(),
      type: z.string(),
      source: z.string(),
      subject: z.string().nullable(),
      receivedAt: z.iso.datetime(),
      state: z.enum(['pending', 'decided', 'failed']),
      decidedAt: z.iso.datetime().nullable(),
      batch: z.uuid().nullable(),
    }),
    emissions: z.array(
      z.object({
        id: z.uuid(),
        layer: z.string(),
        targetLayer: z.enum(LAYERS),
        direction: z.enum(['up', 'down']),
        neuron: z.object({ id: z.uuid(), version: z.int(), name: z.string() }),
        type: z.string(),
        subject: z.string().nullable(),
        severity: z.string(),
        eventTime: z.iso.datetime(),
        data: z.unknown(),
        causes: z.array(z.uuid()),
        batch: z.uuid(),
        createdAt: z.iso.datetime(),
      }),
    ),
    decisions: z.array(decisionView),
    runs: z.array(z.object({ runId: z.string(), operation: z.string(), status: runStatus, startedAt: z.iso.datetime(), closedAt: z.iso.datetime().nullable(), failure: z.string().nullable() })),
    externalCalls: z.array(z.object({ id: z.uuid(), layer: z.string(), neuron: z.uuid(), ref: z.uuid(), costUsd: z.string(), fallback: z.string().nullable(), answeredAt: z.iso.datetime().nullable() })),
    deadLetters: z.array(z.object({ id: z.uuid(), layer: z.string(), ref: z.uuid(), failure: z.string(), cause: z.string() })),
    costUsd: z.string().describe('US dollars spent on calls outside for this signal, decimal text.'),
    durationMs: z.number().nullable().describe('From receipt to the last decision, or to the end of its cascade where there was none; null while it waits.'),
    truncated: z.boolean().describe('Whether there is more than a trace shows (500 emissions, 200 decisions, 500 nodes below them, 50 steps of a run).'),
    tree: traceNode,
  })
  .meta({ id: 'Trace' });

export const incidentView = z
  .object({
    id: z.string().describe('`data.incidentId` of its emissions.'),
    state: z.string().describe('`opened`, `updated` or `closed`.'),
    severity: z.string(),
    cause: z.string().nullable().describe('The likely cause, as the correlator ranks it.'),
    subject: z.string().nullable(),
    openedAt: z.iso.datetime(),
    updatedAt: z.iso.datetime(),
    members: z.array(z.unknown()).describe('What belongs to it, as the correlator names them.'),
    data: z.unknown().describe('Of its latest emission.'),
    emissions: z.array(z.uuid()),
    decisions: z.array(z.object({ id: z.uuid(), summary: z.string(), reason: z.string(), severity: z.string(), state: z.string(), runId: z.string().nullable(), createdAt: z.iso.datetime() })),
    runs: z.array(z.string()),
  })
  .meta({ id: 'Incident' });
