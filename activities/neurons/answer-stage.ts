import type pg from 'pg';
import { type BatchHeader, readLayerResult } from '../../database/cascade-inputs.ts';
import { readCalls, type StoredCall } from '../../database/external-calls.ts';
import { ExpressionError } from '../../neurons/expression.ts';
import { applyAnswer, type CallAnswer } from '../../neurons/external.ts';
import type { Decision, Emission, NeuronFailure } from '../../neurons/layer.ts';
import type { Layer } from '../../schemas/names/layers.ts';
import type { CompiledNeurons } from './compiled-neurons.ts';
import { outcomeOf, type StageOutcome } from './stage-evaluation.ts';
import { stageSummarySchema } from './stage-summary.ts';

/** Emissions and decisions of answers are numbered after the layer's own. */
const FIRST_ORDINAL = 1_000_000_000;

/**
 * What follows from the answers that a layer's external neurons got. A call without an answer counts as failed, a neuron that was
 * changed or switched off meanwhile as one that cannot use it.
 */
export async function answerStage(client: pg.ClientBase, neurons: CompiledNeurons, batch: BatchHeader, layer: Layer): Promise<StageOutcome> {
  const evaluated = stageSummarySchema.parse(await readLayerResult(client, batch.id, layer));
  const calls = await readCalls(client, batch.id, layer);
  const emissions: Emission[] = [];
  const decisions: { decision: Decision; costUsd: string }[] = [];
  const failures: NeuronFailure[] = [];
  let nanoUsd = 0n;
  for (const call of calls) {
    nanoUsd += nanoOf(call.outcome?.costUsd ?? '0');
    const { neuronId, neuronVersion, signal } = call;
    const neuron = neurons.external.get(neuronId);
    if (neuron === undefined) {
      failures.push({ neuronId, neuronVersion, ref: signal.ref, cause: 'the neuron was changed or switched off before its answer came' });
      continue;
    }
    try {
      const followed = applyAnswer(neuron, signal, answerOf(call));
      emissions.push(...followed.emissions);
      decisions.push(...followed.decisions.map((decision) => ({ decision, costUsd: call.outcome?.costUsd ?? '0' })));
    } catch (error) {
      if (!(error instanceof ExpressionError)) throw error;
      failures.push({ neuronId, neuronVersion, ref: signal.ref, cause: `neuron ${neuron.name}: ${error.message}` });
    }
  }
  return outcomeOf(batch, `${layer}-answers`, {
    layer,
    watermarkMs: evaluated.watermarkMs,
    read: calls.length,
    evaluations: calls.length,
    loopsSkipped: 0,
    emissions,
    decisions,
    external: [],
    failures,
    poison: [],
    states: [],
    waiting: new Set(evaluated.next === null ? [] : [evaluated.next]),
    firstOrdinal: FIRST_ORDINAL,
    costUsd: textOf(nanoUsd),
  });
}

function answerOf({ outcome }: StoredCall): CallAnswer {
  if (outcome === undefined) return { fallback: true, reason: 'the call did not end' };
  return outcome.fallback ? { fallback: true, reason: outcome.reason } : { fallback: false, answer: outcome.answer };
}

/** Money adds up in billionths of a dollar, exactly as PostgreSQL keeps it. */
function nanoOf(usd: string): bigint {
  const [whole = '0', fraction = ''] = usd.split('.');
  return BigInt(whole) * 1_000_000_000n + BigInt(fraction.padEnd(9, '0').slice(0, 9));
}

function textOf(nanoUsd: bigint): string {
  return `${String(nanoUsd / 1_000_000_000n)}.${String(nanoUsd % 1_000_000_000n).padStart(9, '0')}`;
}
