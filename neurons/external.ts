import type { HttpBehaviour, LlmBehaviour, Neuron } from '../schemas/neurons/definition.ts';
import { ExpressionError } from './expression.ts';
import type { Decision, Emission, NeuronSignal } from './layer.ts';
import type { Outcomes } from './outcome.ts';
import { RuleSet } from './rules.ts';
import { SignalContext } from './signal-context.ts';

/** What an external call came to: an answer, or why there is none (provider down, breaker open, budget used up). */
export type CallAnswer =
  | { readonly fallback: false; readonly answer: unknown }
  | { readonly fallback: true; readonly reason: string };

/** A neuron whose evaluation leaves the process. */
export type ExternalNeuron = Neuron & { readonly behaviour: LlmBehaviour | HttpBehaviour };

/** Whether the neuron is of kind `llm` or `http`. */
export function isExternal(neuron: Neuron): neuron is ExternalNeuron {
  return neuron.behaviour.kind === 'llm' || neuron.behaviour.kind === 'http';
}

/** Compiled rules by neuron; a version's neuron value is immutable, so it is a sound key. */
const compiled = new WeakMap<Neuron, { readonly rules: RuleSet; readonly fallback: RuleSet }>();

/** @throws {ExpressionError} when a rule is wrong. */
export function compileAnswerRules(neuron: ExternalNeuron): { readonly rules: RuleSet; readonly fallback: RuleSet } {
  let found = compiled.get(neuron);
  if (found === undefined) {
    found = {
      rules: new RuleSet(neuron, neuron.behaviour.rules, '/behaviour/rules', { match: 'first', withAnswer: true }),
      fallback: new RuleSet(neuron, neuron.behaviour.fallback, '/behaviour/fallback', { match: 'first', withAnswer: false }),
    };
    compiled.set(neuron, found);
  }
  return found;
}

/**
 * What follows from the answer of a neuron's external call. Decisions made by the fallback rules say so in their reason.
 * @throws {ExpressionError} when a rule fails on this signal or answer, or when more than `fanOut` outcomes follow: the signal is then a dead letter of this neuron.
 */
export function applyAnswer(neuron: ExternalNeuron, signal: NeuronSignal, answer: CallAnswer): { readonly emissions: readonly Emission[]; readonly decisions: readonly Decision[] } {
  const { rules, fallback } = compileAnswerRules(neuron);
  const outcomes: Outcomes = { emissions: [], decisions: [] };
  if (answer.fallback) fallback.apply(new SignalContext(signal, neuron.layer), outcomes, ` (fallback rules: ${answer.reason})`);
  else rules.apply(new SignalContext(signal, neuron.layer, answer.answer ?? null), outcomes);
  checkFanOut(neuron, outcomes.emissions.length + outcomes.decisions.length);
  return outcomes;
}

/** @throws {ExpressionError} `fan_out` when one signal led to more than the neuron's limit. */
export function checkFanOut(neuron: Neuron, count: number): void {
  if (count > neuron.fanOut) throw new ExpressionError('fan_out', `one signal led to ${String(count)} emissions and decisions; the limit is ${String(neuron.fanOut)}`, '/fanOut', null);
}
