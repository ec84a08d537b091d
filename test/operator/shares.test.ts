import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { podsByRegion, sharesOf } from '../../deploy/operator/shares.ts';

const REGIONS = [{ name: 'us-west', pods: 12 }, { name: 'eu-central', pods: 10 }, { name: 'ap-south', pods: 8 }];

describe('shares of pods', () => {
  it('spreads 30 pods over three regions so that every region has every layer', () => {
    const shares = podsByRegion(REGIONS, [['L4', 3], ['L3', 7], ['L2', 20]]);
    for (const { name, pods } of REGIONS) {
      const own = [...(shares.get(name) ?? new Map<string, number>()).values()];
      expect(own).toHaveLength(3);
      expect(own.reduce((sum, one) => sum + one, 0)).toBe(pods);
    }
  });

  it('gives regions and layers exactly what they have, however many', () => {
    const layers = fc.tuple(fc.integer({ min: 1, max: 100 }), fc.integer({ min: 1, max: 100 }), fc.integer({ min: 1, max: 100 }));
    fc.assert(
      fc.property(layers, fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1, maxLength: 5 }), ([l4, l3, l2], cuts) => {
        const total = l4 + l3 + l2;
        const pods = cuts.reduce<number[]>((taken, cut) => (taken.reduce((a, b) => a + b, 0) + cut < total ? [...taken, cut] : taken), []);
        pods.push(total - pods.reduce((a, b) => a + b, 0));
        const shares = podsByRegion(pods.map((count, index) => ({ name: String(index), pods: count })), [['L4', l4], ['L3', l3], ['L2', l2]]);
        const sum = (layer: 'L4' | 'L3' | 'L2'): number => [...shares.values()].reduce((all, own) => all + (own.get(layer) ?? 0), 0);
        expect([sum('L4'), sum('L3'), sum('L2')]).toEqual([l4, l3, l2]);
        expect([...shares.values()].map((own) => [...own.values()].reduce((a, b) => a + b, 0))).toEqual(pods);
      }),
    );
  });

  it('adds up for weights that are not whole', () => {
    const shares = sharesOf([['a', 12], ['b', 10], ['c', 8]], 20);
    expect([...shares]).toEqual([['a', 8], ['b', 7], ['c', 5]]);
  });
});
