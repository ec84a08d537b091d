import type { ChainPolicy } from '../../schemas/rest/chains.ts';

interface Habits {
  readonly confirmations: number;
  /** Milliseconds between two blocks. */
  readonly blockMs: number;
}

/** Of chains HAL9 knows. Sources: the chains' own documentation of block times and of the depth exchanges wait for. */
const HABITS: Readonly<Record<number, Habits>> = {
  1: { confirmations: 12, blockMs: 12_000 },
  137: { confirmations: 64, blockMs: 2_000 },
  42161: { confirmations: 20, blockMs: 250 },
};
const OTHERS: Habits = { confirmations: 2, blockMs: 1_000 };
const LEAST_POLL_MS = 250;
/** Calls of one transaction: beyond, the base gas of 21,000 that they share is next to nothing. */
const MOST_IN_A_BATCH = 100;

/** A policy with everything said. */
export interface EffectivePolicy {
  readonly confirmations: number;
  readonly watchBlocks: number;
  readonly pollMs: number;
  readonly bumpAfterMs: number;
  readonly bumpPercent: number;
  readonly maxFee: bigint;
  readonly priorityFee: bigint;
  readonly maxInFlight: number;
  readonly maxBatch: number;
  readonly quorum: number;
}

export function effectivePolicy(chainId: number, policy: ChainPolicy): EffectivePolicy {
  const habits = HABITS[chainId] ?? OTHERS;
  return {
    confirmations: policy.confirmations ?? habits.confirmations,
    watchBlocks: policy.watchBlocks,
    pollMs: policy.pollMs ?? Math.max(LEAST_POLL_MS, Math.round(habits.blockMs / 3)),
    bumpAfterMs: policy.bumpAfterSeconds === undefined ? Math.max(1_000, 3 * habits.blockMs) : policy.bumpAfterSeconds * 1000,
    bumpPercent: policy.bumpPercent,
    maxFee: BigInt(policy.maxFeePerGas),
    priorityFee: BigInt(policy.priorityFeePerGas),
    maxInFlight: policy.maxInFlight,
    maxBatch: policy.maxBatch ?? MOST_IN_A_BATCH,
    quorum: policy.quorum,
  };
}

/** Wei for a unit of gas (EIP-1559). */
export interface Fees {
  readonly maxFee: bigint;
  readonly priorityFee: bigint;
}

/**
 * Fees of a new transaction: twice the base fee, so that it stays good for six full blocks of rises by an eighth, and the tip.
 * @returns undefined while the chain asks for more than the cap.
 */
export function firstFees(baseFee: bigint, cap: bigint, tip: bigint): Fees | undefined {
  if (baseFee > cap) return undefined;
  const maxFee = min(cap, 2n * baseFee + tip);
  return { maxFee, priorityFee: min(tip, maxFee) };
}

/**
 * Fees that replace others: nodes take a replacement whose two fees are both a tenth higher (geth's `PriceBump`).
 * @returns undefined where the cap leaves no room for that.
 */
export function higherFees(before: Fees, baseFee: bigint, cap: bigint, tip: bigint, percent: number): Fees | undefined {
  const least: Fees = { maxFee: raised(before.maxFee, 10), priorityFee: raised(before.priorityFee, 10) };
  if (least.maxFee > cap) return undefined;
  const maxFee = min(cap, max(raised(before.maxFee, percent), 2n * baseFee + tip));
  return { maxFee, priorityFee: min(maxFee, max(least.priorityFee, raised(before.priorityFee, percent))) };
}

function raised(fee: bigint, percent: number): bigint {
  return (fee * BigInt(100 + percent) + 99n) / 100n + 1n;
}

function min(a: bigint, b: bigint): bigint {
  return a < b ? a : b;
}

function max(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}
