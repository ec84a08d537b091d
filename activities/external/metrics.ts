import { Counter } from 'prom-client';
import type { TokenUse } from './model-call.ts';

/** In prom-client's default registry. No label names an organisation or a neuron: their number has no bound. */
const calls = new Counter({ name: 'hal9_neuron_calls_total', help: 'Calls of llm and http neurons.', labelNames: ['kind', 'outcome'] as const });
const tokens = new Counter({ name: 'hal9_neuron_call_tokens_total', help: 'Tokens that models used.', labelNames: ['direction'] as const });
const cost = new Counter({ name: 'hal9_neuron_call_cost_usd_total', help: 'What models cost, US dollars.' });

export type CallOutcomeLabel = 'answered' | 'failed' | 'refused' | 'breaker-open';

export function countCall(kind: 'llm' | 'http', outcome: CallOutcomeLabel, spent?: { readonly costUsd: string; readonly tokens: TokenUse }): void {
  calls.inc({ kind, outcome });
  if (spent === undefined) return;
  tokens.inc({ direction: 'input' }, spent.tokens.input);
  tokens.inc({ direction: 'output' }, spent.tokens.output);
  cost.inc(Number(spent.costUsd));
}
