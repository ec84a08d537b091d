import { describe, expect, it } from 'vitest';
import { compileLayer } from '../../neurons/compile-layer.ts';
import { applyAnswer, type ExternalNeuron, isExternal } from '../../neurons/external.ts';
import { evaluate, neuron, signal } from './neuron.ts';

function external(more: Readonly<Record<string, unknown>> = {}): ExternalNeuron {
  const made = neuron('ask', 'L3', ['*'], {
    kind: 'http', url: 'https://example.test/ask',
    rules: [{ when: 'answer.status == 200 && answer.body.score > 0.5', emit: { type: 'scored', data: '{"score": answer.body.score, "value": signal.data.value}' } }],
    fallback: [{ when: 'signal.data.value > 0', decide: { summary: '"look yourself"', reason: '"no answer"' } }],
  }, more);
  if (!isExternal(made)) throw new Error('it is external');
  return made;
}

describe('neurons whose evaluation leaves the process', () => {
  it('ask for a call, and say the layer is not pure', () => {
    const layer = compileLayer('L3', [external()]);
    expect(layer.pure).toBe(false);
    expect(evaluate(layer, [signal()])).toMatchObject({ external: [{ neuronId: 'ask', neuronVersion: 1, signal: { ref: 's1' } }], emissions: [], evaluations: 1 });
  });

  it('apply their rules to the answer', () => {
    const { emissions, decisions } = applyAnswer(external(), signal(), { fallback: false, answer: { status: 200, body: { score: 0.7 } } });
    expect(emissions).toMatchObject([{ type: 'scored', data: { score: 0.7, value: 1 }, targetLayer: 'L4', path: ['ask'] }]);
    expect(decisions).toEqual([]);
    expect(applyAnswer(external(), signal(), { fallback: false, answer: { status: 500, body: null } }).emissions).toEqual([]);
  });

  it('fall back to their fallback rules, and say so', () => {
    const { decisions } = applyAnswer(external(), signal(), { fallback: true, reason: 'the provider does not answer' });
    expect(decisions).toMatchObject([{ summary: 'look yourself', reason: 'no answer (fallback rules: the provider does not answer)' }]);
  });

  it('fail on an answer their rules cannot read, and beyond their fan-out', () => {
    expect(() => applyAnswer(external(), signal(), { fallback: false, answer: 'text' })).toThrow('/behaviour/rules/0/when');
    expect(() => applyAnswer(external(), signal(), { fallback: false, answer: null })).toThrow('/behaviour/rules/0/when');
    const greedy = neuron('greedy', 'L3', ['*'], { kind: 'http', url: 'https://example.test/', rules: [{ when: 'true', emit: { type: 'a' }, decide: { summary: '"s"', reason: '"r"' } }] }, { fanOut: 1 });
    if (!isExternal(greedy)) throw new Error('it is external');
    expect(() => applyAnswer(greedy, signal(), { fallback: false, answer: {} })).toThrow('the limit is 1');
  });
});
