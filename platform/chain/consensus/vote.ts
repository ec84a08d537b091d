import { TypedDataEncoder, keccak256, toUtf8Bytes } from 'ethers';
import { encodeWords } from '../deployed.ts';
import type { SignerKey } from '../signing-key.ts';

/** Which vote of whom it is. */
export interface Ballot {
  /** EIP-155. */
  readonly chainId: number;
  readonly market: string;
  readonly requestId: bigint;
  readonly round: number;
  readonly voter: string;
}

/** JSON with sorted keys and no spaces (as RFC 8785 for what HAL9's neurons answer): equal values have equal text. */
export function canonicalText(value: unknown): string {
  return JSON.stringify(value, (_key, member: unknown) =>
    typeof member === 'object' && member !== null && !Array.isArray(member) ? Object.fromEntries(Object.entries(member).sort(([a], [b]) => (a < b ? -1 : 1))) : member,
  );
}

/** Keccak-256 over the canonical text. */
export function hashOf(value: unknown): string {
  return keccak256(toUtf8Bytes(canonicalText(value ?? null)));
}

/** What hides a vote until it is revealed: derived from the key and the ballot, so that it is kept nowhere and is there after any crash. */
export async function saltOf(key: SignerKey, { chainId, market, requestId, round }: Ballot): Promise<string> {
  return key.derive(`hal9 consensus salt ${String(chainId)} ${market.toLowerCase()} ${String(requestId)} ${String(round)}`);
}

/** `commitmentOf` of `contracts/ComputationMarket.sol`. */
export function commitmentOf({ chainId, market, requestId, round, voter }: Ballot, result: string, salt: string): string {
  return keccak256(encodeWords(['uint256', 'address', 'uint256', 'uint8', 'address', 'bytes32', 'bytes32'], [chainId, market, requestId, round, voter, result, salt]));
}

/** A signed result for a report: `Vote` of EIP-712. */
export async function signVote(key: SignerKey, { chainId, market, requestId, round }: Ballot, result: string): Promise<string> {
  const domain = { name: 'HAL9 ComputationMarket', version: '1', chainId, verifyingContract: market };
  const types = { Vote: [{ name: 'request', type: 'uint256' }, { name: 'round', type: 'uint8' }, { name: 'result', type: 'bytes32' }] };
  return (await key.sign(TypedDataEncoder.hash(domain, types, { request: requestId, round, result }))).serialized;
}
