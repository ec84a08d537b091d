import { describe, expect, it } from 'vitest';
import { parseNeuron, validateNeuron } from '../../neurons/validate-neuron.ts';
import { neuron } from './neuron.ts';

const EMIT = { type: 'x' };

describe('validation when a neuron is saved', () => {
  it('accepts what is right', () => {
    expect(validateNeuron(neuron('n', 'L2', ['a.*', 'b', '*'], { kind: 'rules', rules: [{ when: 'true', emit: EMIT }] }))).toEqual([]);
    expect(validateNeuron(neuron('n', 'L3', ['a'], { kind: 'http', url: 'https://example.test/', recall: { topic: 'a', subject: '"host:" + signal.subject' }, body: '{"m": memory.items}', rules: [{ when: 'true', emit: EMIT }] }))).toEqual([]);
    expect(parseNeuron({ name: 'n', layer: 'L2', subscription: { types: ['a'] }, behaviour: { kind: 'detector' } })).toMatchObject({ draft: { name: 'n', fanOut: 10 } });
  });

  it.each<[string, 'L2' | 'L3' | 'L4', unknown, Readonly<Record<string, unknown>>, string, string]>([
    ['filter', 'L2', { kind: 'rules', rules: [{ when: 'true', emit: EMIT }] }, { subscription: { filter: 'signal.' } }, '/subscription/filter', 'Expected'],
    ['condition', 'L2', { kind: 'rules', rules: [{ when: 'true', emit: EMIT }, { when: '1', emit: EMIT }] }, {}, '/behaviour/rules/1/when', 'must answer a bool'],
    ['data', 'L2', { kind: 'rules', rules: [{ when: 'true', emit: { type: 'x', data: '"text"' } }] }, {}, '/behaviour/rules/0/emit/data', 'must answer a map'],
    ['emission from the top', 'L4', { kind: 'rules', rules: [{ when: 'true', emit: EMIT }] }, {}, '/behaviour/rules/0/emit', 'top layer'],
    ['delegation that is not down', 'L3', { kind: 'rules', rules: [{ when: 'true', delegate: { layer: 'L3', type: 'x' } }] }, {}, '/behaviour/rules/0/delegate/layer', 'not below'],
    ['detector value', 'L2', { kind: 'detector', value: '"text"' }, {}, '/behaviour/value', 'must answer a number'],
    ['correlator cause', 'L3', { kind: 'correlator', causes: [{ cause: 'c', when: 'nosuch' }] }, {}, '/behaviour/causes/0/when', 'Unknown variable'],
    ['fallback without an answer', 'L3', { kind: 'http', url: 'https://example.test/', rules: [{ when: 'answer.ok', emit: EMIT }], fallback: [{ when: 'answer.ok', emit: EMIT }] }, {}, '/behaviour/fallback/0/when', 'Unknown variable: answer'],
    ['request body', 'L3', { kind: 'http', url: 'https://example.test/', body: '[1]', rules: [{ when: 'true', emit: EMIT }] }, {}, '/behaviour/body', 'must answer a map'],
    ['prompt', 'L3', { kind: 'llm', connection: 'c', model: 'm', system: 's', prompt: 'signal.data +', answer: {}, price: { input: 1, output: 1 }, rules: [{ when: 'answer.ok', emit: EMIT }] }, {}, '/behaviour/prompt', 'EOF'],
    ['recalled subject', 'L3', { kind: 'http', url: 'https://example.test/', recall: { topic: 'a', subject: '1' }, rules: [{ when: 'true', emit: EMIT }] }, {}, '/behaviour/recall/subject', 'must answer a string'],
    ['memory that is not recalled', 'L3', { kind: 'http', url: 'https://example.test/', body: '{"m": memory.items}', rules: [{ when: 'true', emit: EMIT }] }, {}, '/behaviour/body', 'Unknown variable: memory'],
    ['schema of the answer', 'L3', { kind: 'llm', connection: 'c', model: 'm', system: 's', prompt: 'signal.id', answer: { type: 'object', if: { required: ['a'] } }, price: { input: 1, output: 1 }, rules: [{ when: 'answer.ok', emit: EMIT }] }, {}, '/behaviour/answer', 'cannot be used to check answers'],
  ])('names the place of a wrong %s', (_, layer, behaviour, more, path, message) => {
    const errors = validateNeuron(neuron('n', layer, ['a'], behaviour, more));
    expect(errors).toHaveLength(1);
    expect(errors[0]?.path).toBe(path);
    expect(errors[0]?.message).toContain(message);
  });

  it('refuses patterns that would never match', () => {
    expect(validateNeuron(neuron('n', 'L2', ['a*', 'a.*.b', '*.b'], { kind: 'detector' })).map(({ path }) => path)).toEqual(['/subscription/types/0', '/subscription/types/1', '/subscription/types/2']);
  });

  it('reports the schema first', () => {
    expect(parseNeuron({ name: 'N', layer: 'L9' })).toMatchObject({ errors: expect.arrayContaining([expect.objectContaining({ path: '/name' }), expect.objectContaining({ path: '/layer' })]) });
    expect(parseNeuron({ name: 'n', layer: 'L2', subscription: { types: ['a'] }, behaviour: { kind: 'detector', value: 'x >' } })).toMatchObject({ errors: [{ path: '/behaviour/value' }] });
  });
});
