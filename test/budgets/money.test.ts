import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fromNanoUsd, tokenCost, toNanoUsd, usdText } from '../../platform/budgets/money.ts';

describe('money', () => {
  it('keeps billionths exactly', () => {
    fc.assert(fc.property(fc.bigInt({ min: 0n, max: 10n ** 18n - 1n }), (nano) => toNanoUsd(fromNanoUsd(nano)) === nano));
    expect(toNanoUsd('0.1')).toBe(100_000_000n);
    expect(() => toNanoUsd('1e3')).toThrow(RangeError);
    expect(usdText(0.1 + 0.2)).toBe('0.300000000');
  });

  it('prices tokens to the billionth, rounded up', () => {
    expect(tokenCost({ input: 3, output: 15 }, 1000, 200)).toBe('0.006000000');
    expect(tokenCost({ input: 0.15, output: 0.6 }, 1, 1)).toBe('0.000000750');
    expect(tokenCost({ input: 0.0375, output: 0 }, 1, 0)).toBe('0.000000038');
    expect(tokenCost({ input: 0, output: 0 }, 1e6, 1e6)).toBe('0.000000000');
  });
});
