import { createHash } from 'node:crypto';
import type { NeuronStore } from '../../database/neurons.ts';
import { compileLayer } from '../../neurons/compile-layer.ts';
import { ExpressionError } from '../../neurons/expression.ts';
import { applyAnswer, isExternal } from '../../neurons/external.ts';
import type { Emission, NeuronSignal } from '../../neurons/layer.ts';
import type { Neuron } from '../../schemas/neurons/definition.ts';
import type { ConsensusInput } from '../../schemas/operations/consensus.ts';
import { callNeuron, type CallDependencies } from '../external/call-neuron.ts';

export interface ComputeDependencies {
  readonly neurons: NeuronStore;
  readonly calls: CallDependencies;
}

export interface Question {
  readonly orgId: string;
  readonly consensusId: string;
  readonly round: number;
  readonly signerId: string;
  readonly neuronId: string;
  readonly question: ConsensusInput['question'];
}

/** What one neuron finds: the data of the one thing it emits. Otherwise why it does not vote. */
export async function computeResult({ neurons, calls }: ComputeDependencies, asked: Question, signal: AbortSignal): Promise<{ readonly value: unknown } | { readonly reason: string }> {
  const stored = await neurons.find(asked.orgId, asked.neuronId);
  if (stored === undefined) return { reason: 'the neuron is not there' };
  const neuron: Neuron = { ...stored.draft, id: stored.id, version: stored.version };
  if (!neuron.enabled) return { reason: 'the neuron is disabled' };
  if (neuron.behaviour.kind === 'detector' || neuron.behaviour.kind === 'correlator') return { reason: 'the neuron keeps a state: it would not answer the same question the same way' };
  const { type, subject, data } = asked.question;
  // The same for every voter of the question; when it was asked is no part of it.
  const seen: NeuronSignal = { ref: '0', id: asked.consensusId, source: 'hal9/consensus', type, timeMs: 0, data: data ?? null, ...(subject === undefined ? {} : { subject }) };
  try {
    const output = compileLayer(neuron.layer, [neuron]).evaluate({ signals: [seen], watermarkMs: 0 }, { get: () => undefined });
    const [failure] = output.failures;
    if (failure !== undefined) return { reason: failure.cause };
    const called = output.external.length === 0 ? [] : await answered(calls, asked, neuron, seen, signal);
    return only([...output.emissions, ...called]);
  } catch (error) {
    if (error instanceof ExpressionError) return { reason: error.message };
    throw error;
  }
}

async function answered(calls: CallDependencies, { orgId, consensusId, round, signerId }: Question, neuron: Neuron, seen: NeuronSignal, signal: AbortSignal): Promise<readonly Emission[]> {
  if (!isExternal(neuron)) return [];
  // Calls are remembered by batch: two voters with the same neuron must not share one.
  const batchId = uuidOf(`${consensusId} ${String(round)} ${signerId}`);
  const { outcome } = await callNeuron(calls, { orgId, batchId, neuron, signal: seen }, signal);
  return applyAnswer(neuron, seen, outcome).emissions;
}

function only(emissions: readonly Emission[]): { readonly value: unknown } | { readonly reason: string } {
  const [emission] = emissions;
  if (emission === undefined) return { reason: 'the neuron emitted nothing: does it subscribe to the type of the question?' };
  if (emissions.length > 1) return { reason: `the neuron emitted ${String(emissions.length)} things: a result is one` };
  return { value: emission.data };
}

/** A UUID of its own for each text (RFC 9562, version 8). */
function uuidOf(text: string): string {
  const bytes = createHash('sha256').update(text).digest().subarray(0, 16);
  bytes.writeUInt8((bytes.readUInt8(6) & 0x0f) | 0x80, 6);
  bytes.writeUInt8((bytes.readUInt8(8) & 0x3f) | 0x80, 8);
  const hex = bytes.toString('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
