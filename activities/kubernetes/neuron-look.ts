import type { NeuronStore } from '../../database/neurons.ts';
import type { SignalReadStore } from '../../database/signal-reads.ts';
import type { NeuronSignal } from '../../neurons/layer.ts';
import { explainFailure } from '../../platform/connections/failure.ts';
import { HalError } from '../../schemas/errors.ts';
import { neuronVerdictSchema, type NeuronVerdict, type RolloutMetric, type Verdict } from '../../schemas/operations/rollout.ts';
import { askNeuron, unaskable, type NeuronReply } from '../external/ask-neuron.ts';
import type { CallDependencies } from '../external/call-neuron.ts';
import type { NeuronLook } from './activity-contract.ts';
import { inconclusive, judgeMeasurement, type Finding } from './judgement.ts';

type NeuronSource = Extract<RolloutMetric['source'], { kind: 'neuron' }>;

/** Of a neuron's own reason, characters. */
const REASON_CHARACTERS = 1000;
/** Of what was asked, characters. */
const ASKED_CHARACTERS = 4000;
/** Signals looked through for those about a subject. */
const SEARCHED_SIGNALS = 1000;

export interface NeuronLookDependencies {
  readonly neurons: Pick<NeuronStore, 'named'>;
  readonly signals: Pick<SignalReadStore, 'list'>;
  readonly calls: CallDependencies;
}

interface AskedLook {
  readonly orgId: string;
  /** The same in every attempt of this look. */
  readonly key: string;
  readonly look: NeuronLook;
  readonly signal: AbortSignal;
}

/** Asks the neuron of one metric. @throws only when the signal aborts. */
export async function lookByNeuron(deps: NeuronLookDependencies, asked: AskedLook, metric: RolloutMetric): Promise<Verdict> {
  const { target, step } = asked.look;
  const about = { at: new Date().toISOString(), service: target.service, cluster: target.cluster, step, metric: metric.name };
  if (metric.source.kind !== 'neuron') return { ...about, ...inconclusive('the metric has no neuron'), queries: {}, samples: {} };
  try {
    return { ...about, ...(await askFor(deps, asked, metric, metric.source)) };
  } catch (error) {
    asked.signal.throwIfAborted();
    const reason = error instanceof HalError ? error.message : explainFailure(error).message;
    return { ...about, ...inconclusive(`the neuron ${metric.source.neuron} could not be asked: ${reason}`), queries: {}, samples: {} };
  }
}

async function askFor(deps: NeuronLookDependencies, { orgId, key, look, signal }: AskedLook, metric: RolloutMetric, source: NeuronSource): Promise<Finding & Pick<Verdict, 'queries' | 'samples'>> {
  const neuron = await deps.neurons.named(orgId, source.neuron);
  const refusal = unaskable(neuron);
  if (neuron === undefined || refusal !== undefined) return { ...inconclusive(`${source.neuron}: ${refusal ?? ''}`), queries: {}, samples: {} };
  const shown = await signalsFor(deps.signals, orgId, source);
  const { service, cluster, namespace, kind, name, from, to } = look.target;
  const facts = { service, cluster, namespace, workload: `${kind}/${name}`, step: look.step, since: new Date(look.sinceMs).toISOString(), from, to };
  const metrics = Object.fromEntries(look.measured.map(({ metric: measured, outcome, reason, samples, statistic, threshold }) => [measured, { outcome, reason, samples, statistic, threshold }]));
  const question: NeuronSignal = { ref: '0', id: key, source: 'hal9/rollout', type: source.type, subject: service, timeMs: look.sinceMs, data: { ...facts, metrics, signals: shown } };
  const reply = await askNeuron(deps.calls, { orgId, neuron, signal: question, key: `${key} ${metric.name}` }, signal);
  // Signals may speak of people: how many were shown is on record, they themselves are where they were.
  const asked = JSON.stringify({ type: source.type, ...facts, metrics: Object.fromEntries(look.measured.map(({ metric: measured, outcome }) => [measured, outcome])), signals: shown.length });
  const queries = { neuron: `${neuron.name}, version ${String(neuron.version)}`, asked: asked.slice(0, ASKED_CHARACTERS), ...(reply.kind === 'reply' && reply.context !== null ? { context: reply.context } : {}) };
  return { ...findingOf(reply, metric.judge), queries, samples: samplesOf(reply) };
}

interface ShownSignal {
  readonly id: string;
  readonly source: string;
  readonly type: string;
  readonly subject: string | null;
  readonly time: string | null;
  readonly data: unknown;
}

async function signalsFor(store: Pick<SignalReadStore, 'list'>, orgId: string, { signals: wanted }: NeuronSource): Promise<ShownSignal[]> {
  if (wanted === undefined) return [];
  const { type, source, subject, seconds, limit } = wanted;
  const filter = { from: new Date(Date.now() - seconds * 1000), ...(type === undefined ? {} : { type }), ...(source === undefined ? {} : { source }) };
  const { signals } = await store.list(orgId, filter, subject === undefined ? limit : SEARCHED_SIGNALS, undefined);
  return signals
    .map(({ envelope }) => shownOf(JSON.parse(envelope) as Readonly<Record<string, unknown>>))
    .filter((signal) => subject === undefined || signal.subject === subject)
    .slice(0, limit);
}

/** Attributes of a CloudEvent (1.0.2) as neurons see them. */
function shownOf(envelope: Readonly<Record<string, unknown>>): ShownSignal {
  const text = (key: string): string | null => (typeof envelope[key] === 'string' ? envelope[key] : null);
  return { id: text('id') ?? '', source: text('source') ?? '', type: text('type') ?? '', subject: text('subject'), time: text('time'), data: envelope['data'] ?? null };
}

/** What follows from a reply. Only a neuron that answered itself, and says so, passes. */
function findingOf(reply: NeuronReply, judge: RolloutMetric['judge']): Finding {
  if (reply.kind === 'none') return inconclusive(`no verdict: ${reply.reason}`);
  if (reply.instead !== null) return inconclusive(`no verdict but by fallback rules: ${reply.instead}`);
  const read = neuronVerdictSchema.safeParse(reply.value);
  if (!read.success) return inconclusive('the neuron answered neither outcome, score nor reason as they are to be');
  const { outcome, score } = read.data;
  const scored = judge === undefined ? undefined : score === undefined ? inconclusive('the neuron gave no score') : judgeMeasurement(judge, { new: [score] });
  const said = saidOf(read.data);
  const worst = worse(said, scored);
  if (worst === undefined) return inconclusive('the neuron said neither pass nor fail');
  return { outcome: worst.outcome, reason: worst.reason, statistic: { answer: outcome ?? null, score: score ?? null, costUsd: reply.costUsd }, threshold: scored?.threshold ?? { answer: 'pass' } };
}

function saidOf({ outcome, reason }: NeuronVerdict): Finding | undefined {
  return outcome === undefined ? undefined : { outcome, reason: reason === undefined ? `the neuron says ${outcome}` : reason.slice(0, REASON_CHARACTERS), statistic: {}, threshold: {} };
}

function worse(said: Finding | undefined, scored: Finding | undefined): Finding | undefined {
  const order = ['fail', 'inconclusive', 'pass'] as const;
  return order.flatMap((outcome) => [said, scored].filter((finding) => finding?.outcome === outcome)).at(0);
}

function samplesOf(reply: NeuronReply): Verdict['samples'] {
  const read = reply.kind === 'reply' ? neuronVerdictSchema.safeParse(reply.value) : undefined;
  return read?.success === true && read.data.score !== undefined ? { score: [Number.isFinite(read.data.score) ? read.data.score : null] } : {};
}
