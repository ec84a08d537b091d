import { AbiCoder, Interface } from 'ethers';
import type { OpenTransaction } from '../../database/chain-transactions.ts';

/** Data of a transaction of many calls; nodes take 128 KiB with everything else in it. */
const MOST_BATCH_BYTES = 100_000;
/** Selector, place and length of the list. */
const HEAD_BYTES = 68;

/** https://docs.openzeppelin.com/contracts/5.x/api/utils#Multicall: the contract calls itself, so the sender stays the sender; all or none. */
const MULTICALL = new Interface(['function multicall(bytes[] data) returns (bytes[] results)']);
/** What a contract that takes several calls at once answers to none, which one that only swallows what it does not know does not: see {@link NO_RESULTS}. */
export const NO_CALLS = MULTICALL.encodeFunctionData('multicall', [[]]);
export const NO_RESULTS = AbiCoder.defaultAbiCoder().encode(['bytes[]'], [[]]);

/** Submissions that stand one behind the other and may leave together, or one alone. */
export type Group = readonly [OpenTransaction, ...OpenTransaction[]];

type Submission = Pick<OpenTransaction, 'batch' | 'to' | 'maxFee' | 'data'>;

/** Contracts that several of these could leave to in one transaction, if they take several calls. */
export function sharedTargets(queued: readonly Submission[]): string[] {
  const shared = queued.filter((row, place) => [queued[place - 1], queued[place + 1]].some((next) => next !== undefined && areAlike(row, next)));
  return [...new Set(shared.flatMap(({ to }) => (to === null ? [] : [to])))];
}

/**
 * Queued transactions in their order; those that stand one behind the other and may leave together as one.
 * @param able contracts that take several calls. @param most calls of one group.
 */
export function groupsOf(queued: readonly OpenTransaction[], able: ReadonlySet<string>, most: number): Group[] {
  const groups: [OpenTransaction, ...OpenTransaction[]][] = [];
  let bytes = 0;
  for (const row of queued) {
    const last = groups.at(-1);
    const joins = last !== undefined && row.to !== null && able.has(row.to) && last.length < most && areAlike(last[0], row) && bytes + bytesOf(row) <= MOST_BATCH_BYTES;
    if (joins) last.push(row);
    else groups.push([row]);
    bytes = (joins ? bytes : HEAD_BYTES) + bytesOf(row);
  }
  return groups;
}

/** The calls of all as one. */
export function callsOf(members: readonly Pick<OpenTransaction, 'data'>[]): Buffer {
  return Buffer.from(MULTICALL.encodeFunctionData('multicall', [members.map(({ data }) => data)]).slice(2), 'hex');
}

function areAlike(one: Submission, other: Submission): boolean {
  return one.batch && other.batch && one.to === other.to && one.maxFee === other.maxFee;
}

/** What a call adds to the data of all: place, length and words. */
function bytesOf({ data }: Pick<OpenTransaction, 'data'>): number {
  return 64 + 32 * Math.ceil(data.length / 32);
}
