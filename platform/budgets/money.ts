/** Money is counted in billionths of a dollar, as PostgreSQL keeps it (numeric(18, 9)); on the way as decimal text. */

const NANO = 1_000_000_000n;

/** @param usd decimal text, e.g. `12.345`; further places than nine are cut. */
export function toNanoUsd(usd: string): bigint {
  const match = /^(\d+)(?:\.(\d+))?$/.exec(usd);
  if (match === null) throw new RangeError('not an amount of money');
  return BigInt(match[1] ?? '0') * NANO + BigInt((match[2] ?? '').padEnd(9, '0').slice(0, 9));
}

export function fromNanoUsd(nano: bigint): string {
  return `${nano / NANO}.${String(nano % NANO).padStart(9, '0')}`;
}

/** A limit given as a JSON number, to the nearest billionth. */
export function usdText(usd: number): string {
  return usd.toFixed(9);
}

/** US dollars per million tokens. */
export interface TokenPrice {
  readonly input: number;
  readonly output: number;
}

/**
 * What tokens cost, decimal text. Prices count to the millionth of a dollar per million tokens; what is left below a billionth is
 * rounded up, so that a sum of costs is never less than what they come to.
 */
export function tokenCost(price: TokenPrice, inputTokens: number, outputTokens: number): string {
  // A price of 1e-6 USD per million tokens is 1e-12 USD a token: all sums are whole numbers of it.
  const pico = BigInt(Math.round(price.input * 1e6)) * BigInt(inputTokens) + BigInt(Math.round(price.output * 1e6)) * BigInt(outputTokens);
  return fromNanoUsd((pico + 999n) / 1000n);
}
