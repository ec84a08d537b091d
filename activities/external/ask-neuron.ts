import { createHash } from 'node:crypto';
import { compileLayer } from '../../neurons/compile-layer.ts';
import { ExpressionError } from '../../neurons/expression.ts';
import { applyAnswer, isExternal } from '../../neurons/external.ts';
import type { Emission, NeuronSignal } from '../../neurons/layer.ts';
import type { Neuron } from '../../schemas/neurons/definition.ts';
import { callNeuron, type CallDependencies } from './call-neuron.ts';

interface NeuronQuestion {
  readonly orgId: string;
  readonly neuron: Neuron;
  /** All it sees. */
  readonly signal: NeuronSignal;
  /** What is asked twice under one key is called and paid once. */
  readonly key: string;
}

export type NeuronReply =
  /** @property instead why fallback rules spoke for the model or service; null when it answered itself. */
  | { readonly kind: 'reply'; readonly value: unknown; readonly instead: string | null; readonly costUsd: string; readonly context: string | null }
  | { readonly kind: 'none'; readonly reason: string };

/** Why a neuron cannot be asked a single question; undefined when it can. */
export function unaskable(neuron: Neuron | undefined): string | undefined {
  if (neuron === undefined) return 'the neuron is not there';
  if (!neuron.enabled) return 'the neuron is disabled';
  if (neuron.behaviour.kind === 'detector' || neuron.behaviour.kind === 'correlator') return 'the neuron keeps a state: it would not answer the same question the same way';
  return undefined;
}

/**
 * Asks one neuron one question outside of cascades: its reply is the data of the one thing it emits or delegates. What it decides is not carried out.
 * @throws when `abort` aborts or PostgreSQL or the blob store fail; not for anything the neuron does.
 */
export async function askNeuron(calls: CallDependencies, { orgId, neuron, signal, key }: NeuronQuestion, abort: AbortSignal): Promise<NeuronReply> {
  const reason = unaskable(neuron);
  if (reason !== undefined) return { kind: 'none', reason };
  try {
    const output = compileLayer(neuron.layer, [neuron]).evaluate({ signals: [signal], watermarkMs: signal.timeMs }, { get: () => undefined });
    const [failure] = output.failures;
    if (failure !== undefined) return { kind: 'none', reason: failure.cause };
    if (output.external.length === 0 || !isExternal(neuron)) return only(output.emissions, { instead: null, costUsd: '0', context: null });
    const { outcome, costUsd, context } = await callNeuron(calls, { orgId, batchId: uuidOf(key), neuron, signal }, abort);
    return only(applyAnswer(neuron, signal, outcome).emissions, { instead: outcome.fallback ? outcome.reason : null, costUsd, context });
  } catch (error) {
    if (error instanceof ExpressionError) return { kind: 'none', reason: error.message };
    throw error;
  }
}

function only(emissions: readonly Emission[], about: { readonly instead: string | null; readonly costUsd: string; readonly context: string | null }): NeuronReply {
  const [emission] = emissions;
  if (emission === undefined) return { kind: 'none', reason: about.instead ?? 'the neuron emitted nothing: does it subscribe to the type of the question?' };
  if (emissions.length > 1) return { kind: 'none', reason: `the neuron emitted ${String(emissions.length)} things: a result is one` };
  return { kind: 'reply', value: emission.data, ...about };
}

/** A UUID of its own for each text (RFC 9562, version 8). */
function uuidOf(text: string): string {
  const bytes = createHash('sha256').update(text).digest().subarray(0, 16);
  bytes.writeUInt8((bytes.readUInt8(6) & 0x0f) | 0x80, 6);
  bytes.writeUInt8((bytes.readUInt8(8) & 0x3f) | 0x80, 8);
  const hex = bytes.toString('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
