import { ZeroHash, type Interface } from 'ethers';
import { z } from 'zod';
import type { Verdict } from '../../../database/consensus.ts';
import { computationMarket } from '../contracts/computation-market.ts';
import { interfaceOf, readViews, structOf } from '../reading.ts';
import { hex, quantity, resultOf, type ChainRpc } from '../rpc.ts';

export const MARKET: Interface = interfaceOf(computationMarket);
/** Blocks that are searched for the settlement of a request; many nodes refuse more. */
const SEARCHED_BLOCKS = 2_000n;

/** `State` of the contract. */
const STATES = ['none', 'open', 'tallied', 'settled', 'refunded'] as const;
export type RequestState = (typeof STATES)[number];

export interface RoundView {
  readonly round: number;
  /** Seconds since 1970. */
  readonly commitEnds: number;
  readonly revealEnds: number;
  /** 0 until the tally. */
  readonly challengeEnds: number;
  readonly minNeurons: number;
  readonly commits: number;
  readonly reveals: number;
  /** Undefined: none. */
  readonly outcome: string | undefined;
  readonly votes: readonly VoteView[];
}

export interface VoteView {
  readonly voter: string;
  readonly committed: boolean;
  readonly result: string | undefined;
}

/** A request as one block has it. */
export interface RequestView {
  /** Decimal. */
  readonly requestIdText: string;
  readonly head: bigint;
  /** What the next block will say the time is, seconds since 1970. */
  readonly now: number;
  readonly state: RequestState;
  readonly offChain: boolean;
  readonly round: number;
  readonly result: string | undefined;
  readonly rounds: readonly RoundView[];
}

/** Where and how a request ended. */
export interface SettlementView {
  readonly blockNumber: number;
  readonly blockHash: string;
  readonly paid: bigint;
  readonly slashed: bigint;
}

const blockSchema = z.object({ number: quantity.nullable(), timestamp: quantity });
const logSchema = z.object({ blockNumber: quantity, blockHash: z.string(), topics: z.array(z.string()), data: z.string() });
const requestSchema = z.object({ terms: z.object({ offChain: z.boolean() }), state: z.bigint(), round: z.bigint(), result: z.string() });
const roundSchema = z.object({ commitEnds: z.bigint(), revealEnds: z.bigint(), challengeEnds: z.bigint(), minNeurons: z.bigint(), commits: z.bigint(), reveals: z.bigint(), outcome: z.string() });
const voteSchema = z.object({ commitment: z.string(), result: z.string() });

/** Reads a request and all its votes. @throws {HalError} as {@link readViews}. */
export async function readRequest(rpc: ChainRpc, market: string, requestId: bigint): Promise<RequestView> {
  const [latest, pending] = await rpc.batch([
    { method: 'eth_getBlockByNumber', params: ['latest', false] },
    { method: 'eth_getBlockByNumber', params: ['pending', false] },
  ]);
  const block = blockSchema.parse(resultOf(latest));
  const next = pending === undefined || 'error' in pending ? undefined : blockSchema.nullable().parse(pending.result);
  const head = block.number ?? 0n;
  const view = (name: string, ...args: readonly unknown[]) => ({ to: market, abi: MARKET, name, args: [requestId, ...args] });
  const [raw] = await readViews(rpc, [view('requestOf')], head);
  const request = requestSchema.parse(structOf(raw));
  const numbers = Array.from({ length: Number(request.round) + 1 }, (_, round) => round);
  const answers = await readViews(rpc, numbers.flatMap((round) => [view('roundOf', round), view('votersOf', round)]), head);
  const voters = numbers.map((round) => z.array(z.string()).parse([...(answers[2 * round + 1] as Iterable<unknown>)]));
  const asked = voters.flatMap((list, round) => list.map((voter) => view('voteOf', round, voter)));
  const votes = asked.length === 0 ? [] : (await readViews(rpc, asked, head)).map((vote) => voteSchema.parse(structOf(vote)));
  const rounds = numbers.map((round): RoundView => {
    const { outcome, ...rest } = roundSchema.parse(structOf(answers[2 * round]));
    const counted = Object.fromEntries(Object.entries(rest).map(([key, value]) => [key, Number(value)])) as Record<keyof typeof rest, number>;
    return { round, ...counted, outcome: given(outcome), votes: (voters[round] ?? []).map((voter) => voteView(voter, votes.shift())) };
  });
  const now = Math.max(Number(block.timestamp), Number(next?.timestamp ?? 0n));
  return { requestIdText: String(requestId), head, now, state: STATES[Number(request.state)] ?? 'none', offChain: request.terms.offChain, round: Number(request.round), result: given(request.result), rounds };
}

/** Undefined while no block near the head settles it. */
export async function readSettlement(rpc: ChainRpc, market: string, requestId: bigint, head: bigint): Promise<SettlementView | undefined> {
  const endings = ['SettledWith', 'RefundedWith'].map((name) => MARKET.getEvent(name)?.topicHash ?? '');
  const from = head > SEARCHED_BLOCKS ? head - SEARCHED_BLOCKS : 0n;
  const logs = z.array(logSchema).parse(await rpc.call('eth_getLogs', [{ address: market, fromBlock: hex(from), toBlock: hex(head), topics: [endings, `0x${requestId.toString(16).padStart(64, '0')}`] }]));
  const last = logs.at(-1);
  const event = last === undefined ? null : MARKET.parseLog(last);
  if (last === undefined || event === null) return undefined;
  const { paid = 0n, slashed } = z.object({ paid: z.bigint().optional(), slashed: z.bigint() }).parse(event.args.toObject());
  return { blockNumber: Number(last.blockNumber), blockHash: last.blockHash, paid, slashed };
}

/** Id that a transaction opened a request under; undefined when it did not. */
export function requestIdOf(market: string, logs: readonly { readonly address: string; readonly topics: readonly string[]; readonly data: string }[]): bigint | undefined {
  for (const log of logs) {
    if (log.address.toLowerCase() !== market.toLowerCase()) continue;
    const event = MARKET.parseLog(log);
    if (event?.name === 'Requested') return z.bigint().parse(event.args['request']);
  }
  return undefined;
}

/** How a vote turned out, once the request has ended. */
export function verdictOf(state: RequestState, final: string | undefined, result: string | undefined): Verdict | null {
  if (state !== 'settled' && state !== 'refunded') return null;
  if (result === undefined) return 'silent';
  if (final === undefined) return null;
  return result === final ? 'right' : 'wrong';
}

function voteView(voter: string, vote: z.output<typeof voteSchema> | undefined): VoteView {
  return { voter, committed: vote !== undefined && given(vote.commitment) !== undefined, result: given(vote?.result ?? ZeroHash) };
}

function given(hash: string): string | undefined {
  return hash === ZeroHash ? undefined : hash;
}
