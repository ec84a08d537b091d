import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compileLayer } from '../../neurons/compile-layer.ts';
import { MAX_DELEGATIONS } from '../../neurons/outcome.ts';
import { evaluate, neuron, signal } from './neuron.ts';

const rules = (rule: unknown, more: Readonly<Record<string, unknown>> = {}): unknown => ({ kind: 'rules', rules: Array.isArray(rule) ? rule : [rule], ...more });
const HIGH = { when: 'signal.data.value > 90', emit: { type: 'high' } };

describe('rules', () => {
  it('emits to the layer above with its defaults', () => {
    const layer = compileLayer('L2', [neuron('hot', 'L2', ['metric'], rules(HIGH))]);
    expect(layer).toMatchObject({ layer: 'L2', pure: true, stateful: false });
    const output = evaluate(layer, [signal({ data: { value: 91 } }), signal({ ref: 's2', data: { value: 90 } })]);
    expect(output).toMatchObject({ decisions: [], external: [], failures: [], states: [], evaluations: 2, loopsSkipped: 0 });
    expect(output.emissions).toEqual([{
      neuronId: 'hot', neuronVersion: 1, neuronName: 'hot', targetLayer: 'L3', direction: 'up', type: 'high', subject: null, correlationKey: 'host/a',
      timeMs: 1_700_000_000_000, severity: 'info', data: { value: 91 }, causes: ['s1'], path: ['hot'], depth: 0,
    }]);
  });

  it('fills subject, key and data from expressions', () => {
    const emit = { type: 'high', subject: '"disk " + signal.data.disk', correlationKey: 'signal.source', data: '{"layer": signal.layer, "twice": signal.data.value * 2}', severity: 'critical' };
    const layer = compileLayer('L2', [neuron('hot', 'L2', ['metric'], rules({ when: 'true', emit }))]);
    expect(evaluate(layer, [signal({ subject: 'x', data: { value: 2, disk: 'sda' } })]).emissions[0]).toMatchObject({ subject: 'disk sda', correlationKey: 'host/a', data: { layer: 'L2', twice: 4 }, severity: 'critical' });
  });

  it('decides with evidence, operation, notification and approval', () => {
    const decide = {
      summary: '"restart " + signal.subject', reason: '"value " + string(signal.data.value)', severity: 'critical', key: 'signal.subject', cooldownSeconds: 60,
      operation: { type: 'remediate', input: '{"n": 1, "value": signal.data.value}' }, notify: { connection: 'ops', title: '"t"', message: '"m"' }, approval: { required: 2 },
    };
    const layer = compileLayer('L4', [neuron('boss', 'L4', ['incident'], rules({ when: 'true', decide }))]);
    expect(evaluate(layer, [signal({ type: 'incident', subject: 'web', depth: 2 })]).decisions).toEqual([{
      neuronId: 'boss', neuronVersion: 1, neuronName: 'boss', summary: 'restart web', reason: 'value 1', severity: 'critical', key: 'web', cooldownSeconds: 60,
      operation: { type: 'remediate', input: { n: 1, value: 1 } }, notify: { connection: 'ops', title: 't', message: 'm' },
      approval: { permission: 'approvals:write', required: 2, deadlineSeconds: 86_400 }, timeMs: 1_700_000_000_000, causes: ['s1'],
      evidence: { type: 'incident', source: 'host/a', subject: 'web', data: { value: 1 } }, depth: 2,
    }]);
  });

  it('keeps large evidence out of decisions', () => {
    const layer = compileLayer('L4', [neuron('boss', 'L4', ['*'], rules({ when: 'true', decide: { summary: '"s"', reason: '"r"' } }))]);
    const { decisions } = evaluate(layer, [signal({ data: { text: 'x'.repeat(20_000) } })]);
    expect(decisions[0]?.evidence).toEqual({ type: 'metric', source: 'host/a', data: { omittedCharacters: 20_011 } });
  });

  it('stops at the first match unless told otherwise', () => {
    const two = [{ when: 'true', emit: { type: 'one' } }, { when: 'true', emit: { type: 'two' } }];
    const types = (match: string): string[] => evaluate(compileLayer('L2', [neuron('n', 'L2', ['*'], rules(two, { match }))]), [signal()]).emissions.map(({ type }) => type);
    expect(types('first')).toEqual(['one']);
    expect(types('all')).toEqual(['one', 'two']);
  });

  it('delegates down, up to a depth', () => {
    const layer = compileLayer('L4', [neuron('boss', 'L4', ['*'], rules({ when: 'true', delegate: { layer: 'L2', type: 'task', data: '{"what": "look"}' } }))]);
    expect(evaluate(layer, [signal()]).emissions[0]).toMatchObject({ targetLayer: 'L2', direction: 'down', type: 'task', data: { what: 'look' }, depth: 1 });
    const { emissions, failures } = evaluate(layer, [signal({ depth: MAX_DELEGATIONS })]);
    expect(emissions).toEqual([]);
    expect(failures[0]?.cause).toContain('delegated more than');
  });
});

describe('what a neuron sees', () => {
  it('is chosen by layer, enabled, type, source and filter', () => {
    const all = [
      neuron('other-layer', 'L3', ['*'], rules({ when: 'true', emit: { type: 'x' } })),
      neuron('disabled', 'L2', ['*'], rules({ when: 'true', emit: { type: 'x' } }), { enabled: false }),
      neuron('other-source', 'L2', ['*'], rules({ when: 'true', emit: { type: 'x' } }), { subscription: { sources: ['host/b'] } }),
      neuron('filtered', 'L2', ['*'], rules({ when: 'true', emit: { type: 'x' } }), { subscription: { filter: 'signal.data.value > 5' } }),
      neuron('lacking', 'L2', ['*'], rules({ when: 'true', emit: { type: 'x' } }), { subscription: { filter: 'signal.data.absent > 5' } }),
      neuron('sees', 'L2', ['met*', 'metric'], rules({ when: 'true', emit: { type: 'x' } })),
    ];
    const output = evaluate(compileLayer('L2', all), [signal()]);
    expect(output.emissions.map(({ neuronName }) => neuronName)).toEqual(['sees']);
    expect(output.failures).toEqual([]);
  });

  it('never is what it made itself', () => {
    const layer = compileLayer('L2', [neuron('echo', 'L2', ['*'], rules({ when: 'true', emit: { type: 'x' } }))]);
    expect(evaluate(layer, [signal({ path: ['a', 'echo'] }), signal({ ref: 's2', path: ['a'] })])).toMatchObject({ loopsSkipped: 1, evaluations: 1, emissions: [{ causes: ['s2'], path: ['a', 'echo'] }] });
  });
});

describe('isolation', () => {
  const good = neuron('good', 'L2', ['*'], rules({ when: 'true', emit: { type: 'fine' } }));

  it('keeps a failing pair from the others', () => {
    const picky = neuron('picky', 'L2', ['*'], rules(HIGH, { match: 'all' }));
    const output = evaluate(compileLayer('L2', [picky, good]), [signal({ ref: 'bad', data: { value: 'secret' } }), signal({ ref: 'fine', data: { value: 99 } }), signal({ ref: 'none', data: undefined })]);
    expect(output.failures.map(({ neuronId, ref }) => [neuronId, ref])).toEqual([['picky', 'bad'], ['picky', 'none']]);
    expect(output.failures[0]?.cause).toBe('neuron picky: /behaviour/rules/0/when at 1: no such overload: dyn<string> > int');
    expect(JSON.stringify(output.failures)).not.toContain('secret');
    expect(output.emissions.map(({ neuronId, causes }) => [neuronId, causes[0]])).toEqual([['good', 'bad'], ['good', 'fine'], ['picky', 'fine'], ['good', 'none']]);
  });

  it('takes back what a failing neuron emitted before it failed', () => {
    const half = neuron('half', 'L2', ['*'], rules([{ when: 'true', emit: { type: 'one' } }, { when: 'signal.data.missing > 1', emit: { type: 'two' } }], { match: 'all' }));
    const output = evaluate(compileLayer('L2', [half]), [signal()]);
    expect(output).toMatchObject({ emissions: [], failures: [{ neuronId: 'half' }] });
  });

  it('caps the fan-out of one signal', () => {
    const many = neuron('many', 'L2', ['*'], rules(Array.from({ length: 4 }, () => ({ when: 'signal.data.value > 5', emit: { type: 'x' } })), { match: 'all' }), { fanOut: 3 });
    const output = evaluate(compileLayer('L2', [many, good]), [signal({ data: { value: 9 } })]);
    expect(output.emissions.map(({ neuronId }) => neuronId)).toEqual(['good']);
    expect(output.failures[0]?.cause).toContain('the limit is 3');
  });

  it('refuses series with endless names', () => {
    const endless = neuron('endless', 'L2', ['*'], { kind: 'detector', series: 'signal.data.name' });
    const output = evaluate(compileLayer('L2', [endless, good]), [signal({ data: { name: 'x'.repeat(2000), value: 1 } })]);
    expect(output).toMatchObject({ failures: [{ neuronId: 'endless' }], states: [], emissions: [{ neuronId: 'good' }] });
  });

  it('lets a filter fail like any condition, except for what is missing', () => {
    const filtered = neuron('filtered', 'L2', ['*'], rules({ when: 'true', emit: { type: 'x' } }), { subscription: { filter: 'signal.data.value > 5' } });
    expect(evaluate(compileLayer('L2', [filtered]), [signal({ data: { value: 'x' } })]).failures[0]?.cause).toContain('/subscription/filter at 1: no such overload');
    const wrong = neuron('wrong', 'L2', ['*'], rules({ when: 'true', emit: { type: 'x' } }), { subscription: { filter: 'signal.data.value == ' } });
    expect(evaluate(compileLayer('L2', [wrong]), [signal()]).failures[0]?.cause).toContain('/subscription/filter');
  });

  it('lets a neuron that no longer compiles fail alone', () => {
    const broken = neuron('broken', 'L2', ['metric'], rules({ when: 'nosuch > 1', emit: { type: 'x' } }));
    const output = evaluate(compileLayer('L2', [broken, good]), [signal()]);
    expect(output.failures).toEqual([{ neuronId: 'broken', neuronVersion: 1, ref: 's1', cause: 'neuron broken: /behaviour/rules/0/when at 1: Unknown variable: nosuch' }]);
    expect(output.emissions).toHaveLength(1);
  });
});

describe('determinism', () => {
  it('answers the same for the same input, whatever the order of the neurons', () => {
    const neurons = [
      neuron('a', 'L2', ['*'], rules(HIGH)), neuron('b', 'L2', ['metric'], rules({ when: 'signal.data.value < 20', emit: { type: 'low' } })),
      neuron('c', 'L2', ['metric'], { kind: 'detector', warmUp: 2, seasonsSeconds: [], threshold: 0.5 }), neuron('d', 'L2', ['*'], rules({ when: 'signal.data.value > "x"', emit: { type: 'never' } })),
    ];
    const signals = fc.array(fc.record({ value: fc.oneof(fc.integer({ min: 0, max: 100 }), fc.constant('text')), source: fc.constantFrom('s', 't') }), { maxLength: 30 });
    fc.assert(fc.property(signals, fc.shuffledSubarray(neurons, { minLength: neurons.length }), (given, shuffled) => {
      const input = given.map(({ value, source }, index) => signal({ ref: String(index), source, timeMs: index * 1000, data: { value } }));
      const bytesAsText = (output: ReturnType<typeof evaluate>): string => JSON.stringify(output);
      expect(bytesAsText(evaluate(compileLayer('L2', shuffled), input))).toBe(bytesAsText(evaluate(compileLayer('L2', neurons), input)));
    }), { numRuns: 50 });
  });

  it('names every state it will read', () => {
    const layer = compileLayer('L2', [neuron('d', 'L2', ['metric'], { kind: 'detector' }), neuron('r', 'L2', ['*'], rules(HIGH))]);
    const input = { signals: [signal(), signal({ ref: 's2', subject: 'x' }), signal({ ref: 's3' }), signal({ ref: 's4', type: 'other' })], watermarkMs: 0, due: [{ neuronId: 'd', series: 'old' }] };
    const needed = layer.statesNeeded(input);
    expect(needed).toEqual([{ neuronId: 'd', series: 'host/a metric' }, { neuronId: 'd', series: 'host/a metric x' }, { neuronId: 'd', series: 'old' }]);
    const read: string[] = [];
    layer.evaluate(input, { get: (neuronId, series) => { read.push(`${neuronId} ${series}`); return undefined; } });
    expect(read.toSorted()).toEqual(needed.map(({ neuronId, series }) => `${neuronId} ${series}`).toSorted());
    expect(layer).toMatchObject({ pure: true, stateful: true });
  });
});
