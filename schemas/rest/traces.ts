import { z } from 'zod';
import { LAYERS } from '../names/layers.ts';
import { decisionView } from './decisions.ts';
import { runStatus } from './runs.ts';

/** A place in the tree of a trace: the signal, an emission, a decision, or the run a decision started. */
export interface TraceNode {
  kind: 'signal' | 'emission' | 'decision' | 'run';
  /** Of the signal, emission or decision; the run's id. */
  id: string;
  /** L2, L3 or L4; empty for signals and runs. */
  layer: string;
  /** One line for people. */
  title: string;
  children: TraceNode[];
}

export const traceNode: z.ZodType<TraceNode> = z
  .object({
    kind: z.enum(['signal', 'emission', 'decision', 'run']),
    id: z.string(),
    layer: z.string(),
    title: z.string(),
    get children() {
      return z.array(traceNode);
    },
  })
  .meta({ id: 'TraceNode' });

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
    truncated: z.boolean().describe('Whether there is more than a trace shows (500 emissions, 200 decisions).'),
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
