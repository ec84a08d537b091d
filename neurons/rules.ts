import type { Neuron, Rule } from '../schemas/neurons/definition.ts';
import { Expression } from './expression.ts';
import { DecideTemplate, DelegateTemplate, EmitTemplate, type Outcomes } from './outcome.ts';
import type { SignalContext } from './signal-context.ts';

interface CompiledRule {
  readonly when: Expression;
  readonly emit: EmitTemplate | undefined;
  readonly delegate: DelegateTemplate | undefined;
  readonly decide: DecideTemplate | undefined;
}

/** An ordered list of conditions with what follows from each. */
export class RuleSet {
  readonly #rules: readonly CompiledRule[];
  readonly #firstOnly: boolean;

  /**
   * @param place JSON pointer of the list in the neuron.
   * @param withAnswer whether the variable `answer` exists.
   * @throws {ExpressionError} for the first expression that is wrong.
   */
  constructor(neuron: Neuron, rules: readonly Rule[], place: string, options: { match: 'first' | 'all'; withAnswer: boolean }) {
    const { withAnswer } = options;
    this.#firstOnly = options.match === 'first';
    this.#rules = rules.map((rule, index) => {
      const at = `${place}/${String(index)}`;
      return {
        when: Expression.compile(rule.when, `${at}/when`, 'bool', withAnswer),
        emit: rule.emit === undefined ? undefined : new EmitTemplate(neuron, rule.emit, `${at}/emit`, withAnswer),
        delegate: rule.delegate === undefined ? undefined : new DelegateTemplate(neuron, rule.delegate, `${at}/delegate`, withAnswer),
        decide: rule.decide === undefined ? undefined : new DecideTemplate(neuron, rule.decide, `${at}/decide`, withAnswer),
      };
    });
  }

  /**
   * Adds what follows from the signal to `outcomes`.
   * @throws {ExpressionError} when an expression fails; what it added before is for the caller to take back.
   */
  apply(context: SignalContext, outcomes: Outcomes, note = ''): void {
    for (const rule of this.#rules) {
      if (!context.test(rule.when)) continue;
      if (rule.emit !== undefined) outcomes.emissions.push(rule.emit.emission(context));
      if (rule.delegate !== undefined) outcomes.emissions.push(rule.delegate.emission(context));
      if (rule.decide !== undefined) outcomes.decisions.push(rule.decide.decision(context, note));
      if (this.#firstOnly) return;
    }
  }
}
