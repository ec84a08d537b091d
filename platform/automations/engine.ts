import type { SignalSelection } from '../../database/automations.ts';
import type { AutomationVerdict } from '../../neurons/automation.ts';
import type { NeuronSignal } from '../../neurons/layer.ts';
import type { AutomationDefinition } from '../../schemas/automations/definition.ts';
import type { FieldError } from '../../schemas/errors.ts';

/** What the service needs of the engine in `neurons/automation.ts`; whoever assembles the process brings the two together. */
export interface AutomationEngine {
  /** Problems by JSON pointer; empty when the automation may be stored. */
  validate(definition: AutomationDefinition): FieldError[];
  /** Types and sources of the signals it looks at. */
  selection(definition: AutomationDefinition): SignalSelection;
  /** What a valid automation makes of each signal, alone. */
  judge(definition: AutomationDefinition, signals: readonly NeuronSignal[]): AutomationVerdict[];
  /** Ways in which it would set itself off again: names, the automation first and last. */
  loops(definition: AutomationDefinition, others: readonly AutomationDefinition[]): string[][];
}
