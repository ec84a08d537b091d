import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { NeuronSignal } from '../../neurons/layer.ts';
import { type Route, RoutingIndex } from '../../neurons/routing-index.ts';
import { signal } from './neuron.ts';

const route = (types: string[], sources?: string[], required: Route['required'] = []): Route => ({ types, sources, required });

/** What the index must answer, looked up the slow way. */
function matches({ types, sources, required }: Route, { type, source, data }: NeuronSignal): boolean {
  const typeFits = types.some((pattern) => pattern === '*' || pattern === type || (pattern.endsWith('.*') && type.startsWith(pattern.slice(0, -1))));
  const sourceFits = sources === undefined || sources.some((pattern) => (pattern.endsWith('*') ? source.startsWith(pattern.slice(0, -1)) : pattern === source));
  const host: unknown = typeof data === 'object' && data !== null ? Reflect.get(data, 'host') : undefined;
  return typeFits && sourceFits && required.every(({ path, value }) => (path[0] === 'source' ? source : path[0] === 'type' ? type : host) === value);
}

describe('routing', () => {
  const index = new RoutingIndex([
    route(['a.b']), route(['a.*']), route(['*']), route(['a.b'], ['host/1']), route(['a.b'], ['host/*']), route(['c'], ['x', 'host/1']),
    route(['a.b'], undefined, [{ path: ['data', 'host'], value: 'h1' }]), route(['*'], undefined, [{ path: ['type'], value: 'a.b' }]),
    route(['a.b', 'a.*', '*']),
  ]);

  it('matches types exactly, by prefix, and all', () => {
    expect(index.find(signal({ type: 'a.b', source: 'y' }))).toEqual([0, 1, 2, 7, 8]);
    expect(index.find(signal({ type: 'a.b.c', source: 'y' }))).toEqual([1, 2, 8]);
    expect(index.find(signal({ type: 'a', source: 'y' }))).toEqual([2, 8]);
  });

  it('matches sources exactly and by prefix, and values that a filter demands', () => {
    expect(index.find(signal({ type: 'a.b', source: 'host/1' }))).toEqual([0, 1, 2, 3, 4, 7, 8]);
    expect(index.find(signal({ type: 'a.b', source: 'host/22', data: { host: 'h1' } }))).toEqual([0, 1, 2, 4, 6, 7, 8]);
    expect(index.find(signal({ type: 'c', source: 'x' }))).toEqual([2, 5, 8]);
  });

  it('answers what a full scan answers', () => {
    const names = fc.constantFrom('a', 'a.b', 'a.b.c', 'b', 'b.c');
    const sources = fc.constantFrom('s', 's/1', 's/2', 't');
    const routes = fc.array(fc.record({
      types: fc.array(fc.oneof(names, names.map((name) => `${name}.*`), fc.constant('*')), { minLength: 1, maxLength: 3 }),
      sources: fc.option(fc.array(fc.oneof(sources, sources.map((source) => `${source}*`), fc.constant('*')), { minLength: 1, maxLength: 3 }), { nil: undefined }),
      required: fc.array(fc.oneof(
        fc.constantFrom('h1', 'h2').map((value) => ({ path: ['data', 'host'], value })),
        sources.map((value) => ({ path: ['source'], value })),
        names.map((value) => ({ path: ['type'], value })),
      ), { maxLength: 2 }),
    }), { maxLength: 12 });
    const signals = fc.array(fc.record({ type: names, source: sources, data: fc.constantFrom({ host: 'h1' }, { host: 'h2' }, {}) }), { maxLength: 10 });
    fc.assert(fc.property(routes, signals, (given, parts) => {
      const built = new RoutingIndex(given);
      for (const part of parts) {
        const one = signal(part);
        const found = built.find(one);
        const wanted = given.flatMap((candidate, position) => (matches(candidate, one) ? [position] : []));
        // The index may offer a neuron whose other demands fail: the filter decides. It may not miss one, nor answer out of order.
        expect(found).toEqual(expect.arrayContaining(wanted));
        expect(found).toEqual([...new Set(found)].toSorted((a, b) => a - b));
        for (const position of found) expect(matches({ ...given[position]!, required: [] }, one)).toBe(true);
      }
    }), { numRuns: 300 });
  });

  it.each<[string, (n: string) => Route, (n: string) => NeuronSignal]>([
    ['types', (n) => route([`type.${n}`]), (n) => signal({ type: `type.${n}` })],
    ['sources of one type', (n) => route(['t'], [`host/${n}`]), (n) => signal({ type: 't', source: `host/${n}` })],
    ['a filter on one type', (n) => route(['t'], undefined, [{ path: ['data', 'host'], value: n }]), (n) => signal({ type: 't', data: { host: n } })],
    ['prefixes', (n) => route([`a.${n}.*`]), (n) => signal({ type: `a.${n}.b` })],
  ])('finds the one neuron among 100,000 told apart by %s', { timeout: 60_000 }, (_, makeRoute, makeSignal) => {
    const many = new RoutingIndex(Array.from({ length: 100_000 }, (__, n) => makeRoute(String(n))));
    for (let n = 0; n < 100_000; n += 997) expect(many.find(makeSignal(String(n)))).toEqual([n]);
  });
});
