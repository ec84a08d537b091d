import type pg from 'pg';
import { insertFirings, type NewFiring } from '../../database/automation-firings.ts';
import { commitStages, type DeadLetterRecord, type DecisionRecord, type EmissionRecord, type StageCommit, type StateRecord } from '../../database/cascade-commit.ts';
import { type BatchHeader, lockStates, readBatchSignals, readDueNeurons, readDueStates, readEmissionsFor, readLayerResult, type StateKey } from '../../database/cascade-inputs.ts';
import { settleCooldowns } from '../../database/decision-cooldown.ts';
import { signalOfEmission } from '../../neurons/emission-signal.ts';
import type { Decision, Emission, ExternalCall, NeuronFailure, NeuronSignal, NeuronState, PhaseListener, StateReader } from '../../neurons/layer.ts';
import type { Layer } from '../../schemas/names/layers.ts';
import { firingsOf } from './automation-firings.ts';
import { type CompiledNeurons, layersAbove } from './compiled-neurons.ts';
import { admitSignal, delegatedEnvelope } from './neuron-signals.ts';
import { OutcomeIds } from './outcome-ids.ts';
import type { Stage, StageSummary } from './stage-summary.ts';

/** A signal that no neuron of a layer may see: it cannot be read, or it kills the thread. */
export interface Poison {
  readonly ref: string;
  readonly cause: string;
}

/** What a layer starts from. */
export interface StageInput {
  readonly layer: Layer;
  readonly signals: readonly NeuronSignal[];
  readonly unreadable: readonly Poison[];
  readonly watermarkMs: number;
  readonly due: readonly StateKey[];
  /** Layers above that have work whatever this one does: delegations addressed to them, windows that are due. */
  readonly waiting: ReadonlySet<Layer>;
  /** See `LayerInput`. */
  readonly onPhase?: PhaseListener | undefined;
}

/** What a stage came to, before it is stored. */
export interface StageOutcome {
  readonly stage: Stage;
  readonly layer: Layer;
  readonly watermarkMs: number;
  readonly read: number;
  readonly evaluations: number;
  readonly loopsSkipped: number;
  readonly emissions: readonly EmissionRecord[];
  readonly decisions: readonly DecisionRecord[];
  readonly delegations: StageCommit['delegations'];
  readonly externalCalls: StageCommit['externalCalls'];
  readonly deadLetters: readonly DeadLetterRecord[];
  readonly states: readonly StateRecord[];
  /** What automations made of the signals; only where signals come in. */
  readonly firings: readonly NewFiring[];
  readonly costUsd: string;
  readonly next: Layer | null;
}

/** The signals of a batch, as its lowest layer reads them. */
export async function signalsInput(client: pg.ClientBase, neurons: CompiledNeurons, batch: BatchHeader): Promise<StageInput> {
  const signals: NeuronSignal[] = [];
  const unreadable: Poison[] = [];
  const waiting = new Set<Layer>();
  let latest = 0;
  for (const stored of await readBatchSignals(client, batch)) {
    const admitted = admitSignal(stored);
    if ('cause' in admitted) unreadable.push(admitted);
    else {
      if (admitted.layer === 'L2') signals.push(admitted.signal);
      else waiting.add(admitted.layer);
      if (admitted.signal.timeMs > latest) latest = admitted.signal.timeMs;
    }
  }
  // A sender whose clock runs ahead must not close everybody's windows.
  const eventMs = Math.min(latest, Date.now());
  const found = batch.mode === 'interactive' ? undefined : await readDueNeurons(client, batch.mode === 'clock' ? 'now' : { watermarkMs: eventMs });
  const watermarkMs = batch.mode === 'clock' ? found?.latestMs ?? 0 : eventMs;
  for (const id of found?.neuronIds ?? []) {
    const layer = neurons.layerOf.get(id);
    if (layer !== undefined && layer !== 'L2') waiting.add(layer);
  }
  const due = found === undefined ? [] : await dueIn('L2', client, neurons, batch, found.neuronIds, watermarkMs);
  return { layer: 'L2', signals, unreadable, watermarkMs, due, waiting };
}

/** What a higher layer reads: the emissions made for it, delegations addressed to it, and its windows that are due. */
export async function upperInput(client: pg.ClientBase, neurons: CompiledNeurons, batch: BatchHeader, layer: Layer): Promise<StageInput> {
  const signals = (await readEmissionsFor(client, batch.id, layer)).map((emission) => signalOfEmission(emission, emission.id));
  if (batch.depth > 0) {
    for (const stored of await readBatchSignals(client, batch)) {
      const admitted = admitSignal(stored);
      if ('signal' in admitted && admitted.layer === layer) signals.push(admitted.signal);
    }
  }
  const watermarkMs = watermarkOf(await readLayerResult(client, batch.id, 'L2'));
  const waiting = new Set<Layer>();
  if (batch.mode === 'interactive') return { layer, signals, unreadable: [], watermarkMs, due: [], waiting };
  const found = await readDueNeurons(client, { watermarkMs });
  for (const id of found.neuronIds) {
    const owner = neurons.layerOf.get(id);
    if (owner !== undefined && layersAbove(layer).includes(owner)) waiting.add(owner);
  }
  return { layer, signals, unreadable: [], watermarkMs, due: await dueIn(layer, client, neurons, batch, found.neuronIds, watermarkMs), waiting };
}

async function dueIn(layer: Layer, client: pg.ClientBase, neurons: CompiledNeurons, batch: BatchHeader, neuronIds: readonly string[], watermarkMs: number): Promise<StateKey[]> {
  const own = neuronIds.filter((id) => neurons.layerOf.get(id) === layer);
  return own.length === 0 ? [] : readDueStates(client, own, watermarkMs, batch.mode === 'clock');
}

function watermarkOf(summary: unknown): number {
  return typeof summary === 'object' && summary !== null && 'watermarkMs' in summary && typeof summary.watermarkMs === 'number' ? summary.watermarkMs : 0;
}

/** Owns the states the input needs until the transaction ends, and evaluates. */
export async function evaluateStage(client: pg.ClientBase, neurons: CompiledNeurons, batch: BatchHeader, input: StageInput, poison: readonly Poison[] = []): Promise<StageOutcome> {
  const evaluator = neurons.layers[input.layer];
  const poisoned = new Set(poison.map((one) => one.ref));
  const signals = poisoned.size === 0 ? input.signals : input.signals.filter((signal) => !poisoned.has(signal.ref));
  const evaluated = { signals, watermarkMs: input.watermarkMs, due: input.due, onPhase: input.onPhase };
  const needed = evaluator.statesNeeded(evaluated);
  const output = evaluator.evaluate(evaluated, needed.length === 0 ? NO_STATES : stateReader(await lockStates(client, needed)));
  return outcomeOf(batch, input.layer, {
    layer: input.layer,
    watermarkMs: input.watermarkMs,
    read: input.signals.length + input.unreadable.length,
    evaluations: output.evaluations,
    loopsSkipped: output.loopsSkipped,
    emissions: output.emissions,
    decisions: output.decisions.map((decision) => ({ decision, costUsd: '0' })),
    external: output.external,
    failures: output.failures,
    poison: [...input.unreadable, ...poison],
    states: output.states,
    waiting: input.waiting,
    firstOrdinal: 0,
    firings: input.layer === 'L2' ? firingsOf(batch.id, neurons.automations.evaluate(signals)) : NO_FIRINGS,
  });
}

const NO_FIRINGS: readonly NewFiring[] = [];

const NO_STATES: StateReader = { get: () => undefined };

function stateReader(states: ReadonlyMap<string, ReadonlyMap<string, Uint8Array>>): StateReader {
  return { get: (neuronId, series) => states.get(neuronId)?.get(series) };
}

/** What neurons said, of a layer or of the answers to it. */
export interface StageMaterial {
  readonly layer: Layer;
  readonly watermarkMs: number;
  readonly read: number;
  readonly evaluations: number;
  readonly loopsSkipped: number;
  readonly emissions: readonly Emission[];
  readonly decisions: readonly { readonly decision: Decision; readonly costUsd: string }[];
  readonly external: readonly ExternalCall[];
  readonly failures: readonly NeuronFailure[];
  readonly poison: readonly Poison[];
  readonly states: readonly NeuronState[];
  readonly waiting: ReadonlySet<Layer>;
  /** Where the numbering of this stage begins, so that a layer's and its answers' outcomes keep one order. */
  readonly firstOrdinal: number;
  /** Default: none. */
  readonly firings?: readonly NewFiring[];
  /** US dollars, decimal text. Default: nothing. */
  readonly costUsd?: string;
}

/** Gives everything its id. */
export function outcomeOf(batch: BatchHeader, stage: Stage, material: StageMaterial): StageOutcome {
  const { layer, firstOrdinal } = material;
  const emissionIds = new OutcomeIds(batch.id, stage, 'emission');
  const emissions = material.emissions.map((emission, index) => ({ ...emission, id: emissionIds.at(index), ordinal: firstOrdinal + index }));
  const decisionIds = new OutcomeIds(batch.id, stage, 'decision');
  const callIds = new OutcomeIds(batch.id, stage, 'call');
  const reached = new Set(material.waiting);
  for (const emission of emissions) if (emission.direction === 'up') reached.add(emission.targetLayer);
  return {
    stage,
    layer,
    watermarkMs: material.watermarkMs,
    read: material.read,
    evaluations: material.evaluations,
    loopsSkipped: material.loopsSkipped,
    emissions,
    decisions: material.decisions.map(({ decision, costUsd }, index) => decisionRecord(decision, costUsd, decisionIds.at(index), firstOrdinal + index)),
    delegations: emissions
      .filter((emission) => emission.direction === 'down')
      .map((emission) => ({ emissionId: emission.id, source: `neuron/${emission.neuronName}`, type: emission.type, timeMs: emission.timeMs, envelope: delegatedEnvelope(emission, emission.id) })),
    externalCalls: material.external.map(({ neuronId, neuronVersion, signal }, ordinal) => ({ id: callIds.at(ordinal), ordinal, neuronId, neuronVersion, signal })),
    deadLetters: deadLetters(batch, stage, material),
    states: material.states,
    firings: material.firings ?? NO_FIRINGS,
    costUsd: material.costUsd ?? '0',
    next: layersAbove(layer).find((above) => reached.has(above)) ?? null,
  };
}

function decisionRecord(decision: Decision, costUsd: string, id: string, ordinal: number): DecisionRecord {
  const { operation, notify, approval, depth: _depth, ...rest } = decision;
  return { ...rest, id, ordinal, costUsd, effect: operation === null && notify === null ? null : { operation, notify, approval } };
}

function deadLetters(batch: BatchHeader, stage: Stage, { poison, failures }: StageMaterial): DeadLetterRecord[] {
  const ids = new OutcomeIds(batch.id, stage, 'dead-letter');
  const whole = poison.map(({ ref, cause }, index) => ({ id: ids.at(index), ref, neuronId: null, neuronVersion: null, failure: 'PoisonSignal', cause }));
  const single = failures.map(({ neuronId, neuronVersion, ref, cause }, index) => ({ id: ids.at(poison.length + index), ref, neuronId, neuronVersion, failure: 'PoisonSignal', cause }));
  return [...whole, ...single];
}

/** Another attempt at the same stage was quicker; what it stored counts. */
export class FenceLost extends Error {
  override readonly name = 'FenceLost';
}

/**
 * Stores stages of one batch in the caller's transaction, in order.
 * @throws {FenceLost} when one of them is stored already: the transaction must not commit.
 */
export async function storeStages(client: pg.ClientBase, batch: BatchHeader, outcomes: readonly StageOutcome[]): Promise<StageSummary[]> {
  const settled = await settleCooldowns(client, outcomes.flatMap((outcome) => outcome.decisions));
  const kept = new Map(settled.kept.map((decision) => [decision.id, decision]));
  const commits = outcomes.map((outcome, position) => {
    const decisions = outcome.decisions.flatMap((decision) => kept.get(decision.id) ?? []);
    const last = position === outcomes.length - 1;
    const closed = last && outcome.next === null && outcome.externalCalls.length === 0;
    const summary: StageSummary = {
      stage: outcome.stage,
      signals: outcome.read,
      evaluations: outcome.evaluations,
      emissions: outcome.emissions.length,
      decisions: decisions.length,
      joined: outcome.decisions.length - decisions.length,
      deadLetters: outcome.deadLetters.length,
      loopsSkipped: outcome.loopsSkipped,
      external: outcome.externalCalls.length,
      watermarkMs: outcome.watermarkMs,
      next: outcome.next,
      closed,
    };
    return { ...outcome, decisions, joins: last ? settled.joins : [], summary, close: closed };
  });
  if (!(await commitStages(client, batch, commits))) throw new FenceLost();
  await insertFirings(client, outcomes.flatMap((outcome) => outcome.firings));
  return commits.map((commit) => commit.summary);
}
