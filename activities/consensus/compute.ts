import type { NeuronStore } from '../../database/neurons.ts';
import type { NeuronSignal } from '../../neurons/layer.ts';
import type { ConsensusInput } from '../../schemas/operations/consensus.ts';
import { askNeuron } from '../external/ask-neuron.ts';
import type { CallDependencies } from '../external/call-neuron.ts';

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
  const { orgId, consensusId, round, signerId, neuronId } = asked;
  const stored = await neurons.find(orgId, neuronId);
  if (stored === undefined) return { reason: 'the neuron is not there' };
  const { type, subject, data } = asked.question;
  // The same for every voter of the question; when it was asked is no part of it.
  const seen: NeuronSignal = { ref: '0', id: consensusId, source: 'hal9/consensus', type, timeMs: 0, data: data ?? null, ...(subject === undefined ? {} : { subject }) };
  // Calls are remembered by key: two voters with the same neuron must not share one.
  const key = `${consensusId} ${String(round)} ${signerId}`;
  const reply = await askNeuron(calls, { orgId, neuron: { ...stored.draft, id: stored.id, version: stored.version }, signal: seen, key }, signal);
  return reply.kind === 'reply' ? { value: reply.value } : { reason: reply.reason };
}
