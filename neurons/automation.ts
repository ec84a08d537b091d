import { AUTOMATION_SOURCE, BROKER_SOURCE, HOOK_SOURCE, SCHEDULE_SOURCE, type AutomationDefinition, type MappedEffect, type Trigger } from '../schemas/automations/definition.ts';
import type { FieldError } from '../schemas/errors.ts';
import { Expression, ExpressionError } from './expression.ts';
import type { NeuronSignal } from './layer.ts';
import { type Route, RoutingIndex } from './routing-index.ts';
import { SignalContext } from './signal-context.ts';

/** What a trigger looks at: every kind comes down to this. */
export interface TriggerSubscription {
  readonly types: readonly string[];
  /** Exact sources, or prefixes ending in `*`; undefined is all. */
  readonly sources: readonly string[] | undefined;
  readonly filter: string | undefined;
}

export function subscriptionOf(trigger: Trigger): TriggerSubscription {
  switch (trigger.kind) {
    case 'signal': return { types: trigger.types, sources: trigger.sources, filter: trigger.filter };
    case 'webhook': return { types: trigger.types, sources: [`${HOOK_SOURCE}${trigger.hookId}`], filter: trigger.filter };
    case 'schedule': return { types: ['*'], sources: [`${SCHEDULE_SOURCE}${trigger.scheduleId}`], filter: trigger.filter };
    case 'source': return { types: trigger.types, sources: [`${BROKER_SOURCE}${trigger.sourceId}`, `${BROKER_SOURCE}${trigger.sourceId}/*`], filter: trigger.filter };
  }
}

/** What an automation makes of one signal. */
export type AutomationVerdict =
  /** The trigger does not look at it. */
  | { readonly kind: 'unmatched' }
  /** The trigger matched, the condition did not hold. */
  | { readonly kind: 'skip'; readonly reason: string }
  /** An expression failed; the cause carries no data of the signal. */
  | { readonly kind: 'fail'; readonly reason: string }
  | { readonly kind: 'fire'; readonly effect: MappedEffect };

/** A verdict other than `unmatched`, with whose it is. */
export interface AutomationOutcome {
  readonly automation: AutomationDefinition;
  readonly signal: NeuronSignal;
  readonly verdict: Exclude<AutomationVerdict, { kind: 'unmatched' }>;
}

type Mapping = readonly (readonly [field: string, expression: Expression])[];

type CompiledEffect =
  | { readonly kind: 'operation'; readonly operation: string; readonly input: Mapping }
  | { readonly kind: 'signal'; readonly type: string; readonly subject: Expression | undefined; readonly data: Mapping };

const UNMATCHED: AutomationVerdict = { kind: 'unmatched' };

/** One automation, compiled: match, condition, mapping, effect. */
export class CompiledAutomation {
  readonly definition: AutomationDefinition;
  readonly #index: RoutingIndex;
  readonly #filter: Expression | undefined;
  readonly #condition: Expression | undefined;
  readonly #effect: CompiledEffect;

  /** @throws {ExpressionError} for the first expression that is wrong. */
  constructor(definition: AutomationDefinition) {
    this.definition = definition;
    const { filter } = subscriptionOf(definition.trigger);
    this.#filter = filter === undefined ? undefined : Expression.compile(filter, '/trigger/filter', 'bool');
    this.#condition = definition.condition === undefined ? undefined : Expression.compile(definition.condition, '/condition', 'bool');
    this.#effect = compileEffect(definition);
    this.#index = new RoutingIndex([this.route]);
  }

  /** What the routing index needs to know. */
  get route(): Route {
    const { types, sources } = subscriptionOf(this.definition.trigger);
    return { types, sources, required: this.#filter?.required ?? [] };
  }

  /** For one signal alone: tests and dry runs. */
  judge(signal: NeuronSignal): AutomationVerdict {
    return this.#index.find(signal).length === 0 ? UNMATCHED : this.act(new SignalContext(signal, 'L2'));
  }

  /** For a signal that the routing index has found. */
  act(context: SignalContext): AutomationVerdict {
    try {
      if (this.#filter !== undefined && !holds(this.#filter, context)) return UNMATCHED;
      if (this.#condition !== undefined && !holds(this.#condition, context)) return { kind: 'skip', reason: 'the condition does not hold' };
      return { kind: 'fire', effect: mapped(this.#effect, context) };
    } catch (error) {
      if (error instanceof ExpressionError) return { kind: 'fail', reason: error.message };
      throw error;
    }
  }
}

/** An automation of an older build that this one cannot compile: what it would look at fails and says why. */
interface Broken {
  readonly definition: AutomationDefinition;
  readonly cause: ExpressionError;
}

/** The automations of an organisation, behind one routing index: a signal that none looks at costs one look-up, and nothing where there are none. */
export class AutomationSet {
  readonly #members: readonly (CompiledAutomation | Broken)[];
  readonly #index: RoutingIndex;

  constructor(definitions: readonly AutomationDefinition[]) {
    this.#members = definitions.map(compile);
    this.#index = new RoutingIndex(this.#members.map((member) => (member instanceof CompiledAutomation ? member.route : brokenRoute(member))));
  }

  /** What the automations make of these signals, in the order of the signals. */
  evaluate(signals: readonly NeuronSignal[]): AutomationOutcome[] {
    const outcomes: AutomationOutcome[] = [];
    const [first] = signals;
    if (this.#members.length === 0 || first === undefined) return outcomes;
    const context = new SignalContext(first, 'L2');
    for (const signal of signals) {
      const positions = this.#index.find(signal);
      // A delegation is a task between neurons, not something that happened.
      if (positions.length === 0 || signal.depth !== undefined) continue;
      context.use(signal);
      for (const position of positions) {
        const member = this.#members[position];
        if (member === undefined) continue;
        const verdict: AutomationVerdict = member instanceof CompiledAutomation ? member.act(context) : { kind: 'fail', reason: member.cause.message };
        if (verdict.kind !== 'unmatched') outcomes.push({ automation: member.definition, signal, verdict });
      }
    }
    return outcomes;
  }
}

/** Checks every expression. @returns problems by JSON pointer; empty when the automation may be stored. */
export function validateAutomation(definition: AutomationDefinition): FieldError[] {
  const errors: FieldError[] = [];
  for (const [index, type] of subscriptionOf(definition.trigger).types.entries()) {
    if (type.slice(0, -1).includes('*') || (type.endsWith('*') && type !== '*' && !type.endsWith('.*'))) {
      errors.push({ path: `/trigger/types/${String(index)}`, message: 'use an exact type, a prefix that ends in ".*", or "*"' });
    }
  }
  try {
    new CompiledAutomation(definition);
  } catch (error) {
    if (!(error instanceof ExpressionError)) throw error;
    errors.push({ path: error.place, message: error.message });
  }
  return errors;
}

/**
 * Ways in which `from` would set itself off again: its signal matches the trigger of an automation whose signal ... matches its own.
 * @returns the names along each way, `from` first and last; at most ten.
 */
export function loopsOf(from: AutomationDefinition, others: readonly AutomationDefinition[]): string[][] {
  const all = [from, ...others.filter((other) => other.id !== from.id)];
  const loops: string[][] = [];
  const walk = (at: AutomationDefinition, path: readonly AutomationDefinition[]): void => {
    for (const next of all) {
      if (loops.length >= 10 || !feeds(at, next)) continue;
      if (next.id === from.id) loops.push([...path, next].map(({ name }) => name));
      else if (!path.includes(next) && path.length < 10) walk(next, [...path, next]);
    }
  };
  walk(from, [from]);
  return loops;
}

/** Whether the signal one automation sends is one that the other looks at, as far as type and source tell. */
function feeds(from: AutomationDefinition, to: AutomationDefinition): boolean {
  if (from.effect.kind !== 'signal') return false;
  const { types, sources } = subscriptionOf(to.trigger);
  const index = new RoutingIndex([{ types, sources, required: [] }]);
  return index.find({ ref: '', id: '', source: `${AUTOMATION_SOURCE}${from.id}`, type: from.effect.type, timeMs: 0 }).length > 0;
}

/** The partition key of a signal: what its order is kept by. */
export function partitionKeyOf(signal: NeuronSignal): string {
  const key = signal['partitionkey'];
  return typeof key === 'string' ? key : signal.source;
}

function compile(definition: AutomationDefinition): CompiledAutomation | Broken {
  try {
    return new CompiledAutomation(definition);
  } catch (error) {
    if (error instanceof ExpressionError) return { definition, cause: error };
    throw error;
  }
}

function brokenRoute({ definition }: Broken): Route {
  const { types, sources } = subscriptionOf(definition.trigger);
  return { types, sources, required: [] };
}

function compileEffect({ effect }: AutomationDefinition): CompiledEffect {
  switch (effect.kind) {
    case 'operation': return { kind: 'operation', operation: effect.operation, input: compileMapping(effect.input, '/effect/input') };
    case 'signal':
      return {
        kind: 'signal',
        type: effect.type,
        subject: effect.subject === undefined ? undefined : Expression.compile(effect.subject, '/effect/subject', 'string'),
        data: compileMapping(effect.data, '/effect/data'),
      };
  }
}

function compileMapping(fields: Readonly<Record<string, string>>, under: string): Mapping {
  return Object.entries(fields).map(([field, source]) => [field, Expression.compile(source, `${under}/${field.replaceAll('~', '~0').replaceAll('/', '~1')}`, 'json')]);
}

function mapped(effect: CompiledEffect, context: SignalContext): MappedEffect {
  const values = (mapping: Mapping): Record<string, unknown> => Object.fromEntries(mapping.map(([field, expression]) => [field, context.json(expression)]));
  switch (effect.kind) {
    case 'operation': return { kind: 'operation', operation: effect.operation, input: values(effect.input) };
    case 'signal':
      return {
        kind: 'signal',
        type: effect.type,
        subject: effect.subject === undefined ? (context.signal.subject ?? null) : context.text(effect.subject),
        data: values(effect.data),
        partitionKey: partitionKeyOf(context.signal),
      };
  }
}

/** A condition chooses: a signal that lacks the field it asks for is not chosen. */
function holds(expression: Expression, context: SignalContext): boolean {
  try {
    return context.test(expression);
  } catch (error) {
    if (error instanceof ExpressionError && error.code === 'no_such_key') return false;
    throw error;
  }
}
