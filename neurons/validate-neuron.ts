import { z } from 'zod';
import { type Neuron, type NeuronDraft, neuronDraftSchema } from '../schemas/neurons/definition.ts';
import type { FieldError } from '../schemas/errors.ts';
import { compileWork } from './compile-layer.ts';
import { Expression, ExpressionError } from './expression.ts';

/**
 * Checks a draft beyond its schema: every expression compiles and answers the right type, emissions and delegations have a layer to go to.
 * Reports the first wrong expression of the filter and of the behaviour each.
 * @returns problems by JSON pointer; empty when the neuron may be stored.
 */
export function validateNeuron(draft: NeuronDraft): FieldError[] {
  const neuron: Neuron = { ...draft, id: 'draft', version: 0 };
  const errors: FieldError[] = [];
  const attempt = (check: () => unknown): void => {
    try {
      check();
    } catch (error) {
      if (!(error instanceof ExpressionError)) throw error;
      errors.push({ path: error.place, message: error.message });
    }
  };
  const { filter, types } = draft.subscription;
  if (filter !== undefined) attempt(() => Expression.compile(filter, '/subscription/filter', 'bool'));
  for (const [index, type] of types.entries()) {
    if (type.slice(0, -1).includes('*') || (type.endsWith('*') && type !== '*' && !type.endsWith('.*'))) {
      errors.push({ path: `/subscription/types/${String(index)}`, message: 'use an exact type, a prefix that ends in ".*", or "*"' });
    }
  }
  attempt(() => compileWork(neuron));
  const { behaviour } = draft;
  const recall = behaviour.kind === 'llm' || behaviour.kind === 'http' ? behaviour.recall : undefined;
  const { subject } = recall ?? {};
  if (subject !== undefined) attempt(() => Expression.compile(subject, '/behaviour/recall/subject', 'string'));
  const sees = recall === undefined ? false : 'memory';
  if (behaviour.kind === 'llm') {
    attempt(() => Expression.compile(behaviour.prompt, '/behaviour/prompt', 'string', sees));
    const refusal = schemaRefusal(behaviour.answer);
    if (refusal !== undefined) errors.push({ path: '/behaviour/answer', message: refusal });
  }
  const body = behaviour.kind === 'http' ? behaviour.body : undefined;
  if (body !== undefined) attempt(() => Expression.compile(body, '/behaviour/body', 'map', sees));
  return errors;
}

/** Why answers could not be checked by this JSON Schema: each call would fail, after a model was chosen and before one was asked. */
function schemaRefusal(schema: Readonly<Record<string, unknown>>): string | undefined {
  try {
    z.fromJSONSchema({ ...schema });
    return undefined;
  } catch (error) {
    return `this JSON Schema cannot be used to check answers: ${error instanceof Error ? error.message : 'it is not supported'}`;
  }
}

/**
 * Parses what someone sent as a neuron and checks it wholly.
 * @returns the draft with its defaults, or what is wrong with it.
 */
export function parseNeuron(value: unknown): { readonly draft: NeuronDraft } | { readonly errors: readonly FieldError[] } {
  const parsed = neuronDraftSchema.safeParse(value);
  if (!parsed.success) return { errors: parsed.error.issues.map(({ path, message }) => ({ path: `/${path.map(String).join('/')}`, message })) };
  const errors = validateNeuron(parsed.data);
  return errors.length === 0 ? { draft: parsed.data } : { errors };
}
