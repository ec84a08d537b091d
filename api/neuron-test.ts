import { randomUUID } from 'node:crypto';
import type { z } from 'zod';
import { compileLayer } from '../neurons/compile-layer.ts';
import { ExpressionError } from '../neurons/expression.ts';
import { applyAnswer, isExternal } from '../neurons/external.ts';
import type { Decision, Emission, NeuronFailure, NeuronSignal } from '../neurons/layer.ts';
import type { Neuron, NeuronDraft } from '../schemas/neurons/definition.ts';
import type { NeuronTestResult, storedNeuronTestBody } from '../schemas/rest/neurons.ts';

type Samples = z.output<typeof storedNeuronTestBody>;

/** Evaluates a neuron on sample signals as a batch would, without storing or calling anything. */
export function testNeuron(draft: NeuronDraft, samples: Samples): NeuronTestResult {
  const neuron: Neuron = { ...draft, id: randomUUID(), version: 0, enabled: true };
  const now = Date.now();
  const signals = samples.signals.map((sample, position): NeuronSignal => ({
    ...sample,
    id: sample.id ?? `sample-${String(position)}`,
    ref: String(position),
    timeMs: sample.time === undefined ? now : Date.parse(sample.time),
  }));
  const watermarkMs = Math.max(...signals.map((signal) => signal.timeMs));
  const output = compileLayer(draft.layer, [neuron]).evaluate({ signals, watermarkMs }, { get: () => undefined });
  const emissions = [...output.emissions];
  const decisions = [...output.decisions];
  const failures: NeuronFailure[] = [...output.failures];
  if (isExternal(neuron)) {
    for (const call of output.external) {
      try {
        const answered = applyAnswer(neuron, call.signal, samples.answer === undefined ? { fallback: true, reason: 'a test calls nobody' } : { fallback: false, answer: samples.answer });
        emissions.push(...answered.emissions);
        decisions.push(...answered.decisions);
      } catch (error) {
        if (!(error instanceof ExpressionError)) throw error;
        failures.push({ neuronId: neuron.id, neuronVersion: 0, ref: call.signal.ref, cause: error.message });
      }
    }
  }
  return {
    emissions: emissions.map(emissionView),
    decisions: decisions.map(decisionView),
    failures: failures.map(({ ref, cause }) => ({ signal: position(ref), cause })),
    evaluations: output.evaluations,
    externalCalls: output.external.length,
  };
}

function emissionView({ causes, type, targetLayer, direction, subject, correlationKey, severity, data }: Emission): NeuronTestResult['emissions'][number] {
  return { signal: position(causes.at(-1)), type, targetLayer, direction, subject, correlationKey, severity, data };
}

function decisionView({ causes, summary, reason, severity, key, operation, notify, approval }: Decision): NeuronTestResult['decisions'][number] {
  return { signal: position(causes.at(-1)), summary, reason, severity, key, operation, notify, approval };
}

function position(ref: string | undefined): number | null {
  return ref === undefined ? null : Number(ref);
}
