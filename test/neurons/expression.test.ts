import { describe, expect, it } from 'vitest';
import { Expression, type Expected, ExpressionError, signalView } from '../../neurons/expression.ts';
import { signal } from './neuron.ts';

const SIGNAL = signal({ subject: 'eth0', data: { value: 91, name: 'Ab', list: [1, 2, { a: 3 }], nothing: null, nested: { host: 'h1' } } });
const scope = { signal: SIGNAL };
const compile = (source: string, expected: Expected = 'bool'): Expression => Expression.compile(source, '/when', expected);

function failure(run: () => unknown): ExpressionError {
  try {
    run();
  } catch (error) {
    if (error instanceof ExpressionError) return error;
    throw error;
  }
  throw new Error('it did not fail');
}

describe('numbers', () => {
  it.each([
    ['signal.data.value > 90', true],
    ['signal.data.value == 91', true],
    ['signal.data.value * 2 > 181', true],
    ['signal.data.value / 2 == 45.5', true],
    ['1 + signal.data.value == 92.0', true],
    ['signal.data.value % 10 == 1', true],
    ['-signal.data.value < 0', true],
    ['abs(signal.data.value - 100) == 9.0', true],
    ['number("12.5") == 12.5', true],
    ['max(signal.data.value, 100) == 100.0', true],
    ['min(1, 2) == 1.0', true],
    ['floor(1.9) == 1.0', true],
    ['round(1.239, 2) == 1.24', true],
    ['signal.timeMs + 1000 > signal.timeMs', true],
    ['2 in signal.data.list', true],
    ['7 / 2 == 3', true],
  ])('%s', (source, answer) => {
    expect(compile(source).test(scope)).toBe(answer);
  });
});

describe('text, lists and missing fields', () => {
  it.each([
    ['lower(signal.data.name) == "ab" && upper(signal.data.name) == "AB"', true],
    ['has(signal.subject)', true],
    ['has(signal.data.missing)', false],
    ['signal.data.?missing.orValue(3) > 2', true],
    ['signal.data.missing > 3 || signal.data.value > 3', true],
    ['signal.data.missing > 3 && false', false],
    ['signal.data.list.exists(x, x == 2)', true],
    ['signal.data.nothing == null', true],
    ['signal.data.name.matches("^A")', true],
    ['signal["type"] == "metric"', true],
  ])('%s', (source, answer) => {
    expect(compile(source).test(scope)).toBe(answer);
  });

  it('offers computed fields and hides its own', () => {
    const view = { signal: signalView({ ...SIGNAL, path: ['a'], depth: 1 }, 'L3') };
    const layered = compile('signal.layer == "L3" && signal.time == "2023-11-14T22:13:20.000Z" && !has(signal.ref) && !has(signal.path)');
    expect(layered.needsView).toBe(true);
    expect(layered.test(view)).toBe(true);
    expect(compile('signal.data.value > 1 && signal.type == "x"').needsView).toBe(false);
  });

  it('answers JSON', () => {
    const map = compile('{"a": 1, "b": signal.data.value, "c": [1, 2.5], "d": {"e": timestamp("2024-01-01T00:00:00Z")}, "f": signal.data.nothing}', 'map');
    expect(map.map(scope)).toEqual({ a: 1, b: 91, c: [1, 2.5], d: { e: '2024-01-01T00:00:00.000Z' }, f: null });
    expect(compile('signal.data', 'map').map(scope)).toEqual(SIGNAL.data);
  });

  it('cannot be stalled by a pattern', () => {
    const evil = { signal: signal({ data: { text: `${'a'.repeat(50_000)}!` } }) };
    const started = performance.now();
    expect(compile('signal.data.text.matches("^(a+)+$")').test(evil)).toBe(false);
    expect(performance.now() - started).toBeLessThan(2000);
  });

  it('cannot be stalled by nested macros over a long list', () => {
    const nested = compile('signal.data.list.all(a, signal.data.list.exists(b, a == b))');
    expect(nested.test({ signal: signal({ data: { list: [1, 2], more: [undefined, null, 3] } }) })).toBe(true);
    expect(failure(() => nested.test({ signal: signal({ data: { deep: [{ list: Array.from({ length: 2000 }, (_, n) => n) }], list: [] } }) })).code).toBe('long_list');
  });

  it('does not reach into prototypes', () => {
    expect(failure(() => compile('signal.data.constructor == 1').test(scope)).code).toBe('no_such_key');
    expect(failure(() => compile('signal.data.__proto__ == 1').test(scope)).code).toBe('no_such_key');
  });
});

describe('errors name place and position', () => {
  it.each<[string, Expected, string, number | null]>([
    ['signal.data.value >', 'bool', 'unexpected_token', 19],
    ['nosuch > 1', 'bool', 'unknown_variable', 0],
    ['answer.x == 1', 'bool', 'unknown_variable', 0],
    ['1 + "a" == 2', 'bool', 'no_such_overload', 0],
    ['"text"', 'bool', 'wrong_type', null],
    ['true', 'map', 'wrong_type', null],
    ['nofunction(1)', 'bool', 'no_matching_overload', 0],
    ['[1].all(a, [1].all(b, [1].all(c, a == c)))', 'bool', 'macro_depth', null],
  ])('%s', (source, expected, code, position) => {
    const error = failure(() => compile(source, expected));
    expect(error).toMatchObject({ code, position, place: '/when' });
    expect(error.message.startsWith('/when')).toBe(true);
  });

  it('refuses expressions beyond the size limit', () => {
    expect(failure(() => compile(`${'1 + '.repeat(1200)}1 == 2`)).message).toMatch(/1000|nodes|depth/i);
  });

  it('fails clearly on a signal, without its data', () => {
    expect(failure(() => compile('signal.data.missing > 3').test(scope))).toMatchObject({ code: 'no_such_key', message: '/when at 13: the signal has no field "missing"' });
    expect(failure(() => compile('signal.data[signal.data.name] == 1').test(scope)).message).not.toContain('Ab');
    expect(failure(() => compile('signal.data.name > 3').test(scope)).message).toContain('dyn<string> > int');
    expect(failure(() => compile('number(signal.data.name) > 3').test(scope)).message).not.toContain('Ab');
    expect(failure(() => compile('int(signal.data.name) > 3').test(scope)).message).not.toContain('Ab');
    expect(failure(() => compile('signal.data.value').test(scope)).message).toBe('/when: must answer a bool, but answered a number');
    expect(failure(() => compile('signal.data.value', 'string').text(scope)).message).toContain('must answer a string');
    expect(failure(() => compile('signal.data.name', 'number').number(scope)).message).toContain('finite number');
    expect(failure(() => compile('signal.data.list', 'map').map(scope)).message).toContain('answered a list');
  });
});

describe('what the routing index may rely on', () => {
  it('finds the equalities that must hold', () => {
    expect(compile('signal.source == "a" && "b" == signal.data.host && signal.data.value > 1').required).toEqual([{ path: ['source'], value: 'a' }, { path: ['data', 'host'], value: 'b' }]);
    expect(compile('signal.source == "a" || signal.data.host == "b"').required).toEqual([]);
    expect(compile('!(signal.source == "a")').required).toEqual([]);
    expect(compile('signal.layer == "L2"').required).toEqual([]);
  });
});
