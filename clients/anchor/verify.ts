import { StandardMerkleTree } from '@openzeppelin/merkle-tree';
import { Interface } from 'ethers';
import { z } from 'zod';
import { anchorProof, type AnchorProof } from '../../schemas/rest/anchors.ts';

/** The file is no proof; nothing is said about the hash. */
export class BadProof extends Error {
  override readonly name = 'BadProof';
}

export interface AnchorVerdict {
  /** Whether the hash is under the root that the proof names. */
  readonly included: boolean;
  /** Whether the chain has that root at that place; undefined when it was not asked. */
  readonly anchored: boolean | undefined;
  readonly detail: string;
}

const VERIFY = new Interface(['function verify(address writer, bytes32 stream, uint256 position, bytes32 hash, bytes32[] proof) view returns (bool)']);
const answerSchema = z.object({ result: z.string().optional(), error: z.object({ message: z.string() }).optional() });
const ANSWER_MS = 20_000;

/** @throws {BadProof} for text that is no proof. */
export function parseProof(text: string): AnchorProof {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw new BadProof('the file is not JSON');
  }
  const parsed = anchorProof.safeParse(json);
  if (!parsed.success) throw new BadProof(`the file is no proof: ${z.prettifyError(parsed.error)}`);
  return parsed.data;
}

/**
 * Checks a proof without HAL9: the hash against the root, and with a node of the chain the root against the contract.
 * @param rpc a node's address, of one's own choice.
 * @throws {Error} when the node does not answer.
 */
export async function verifyProof({ hash, proof, root, chainId, contract, writer, stream, position }: AnchorProof, rpc?: string): Promise<AnchorVerdict> {
  const included = isIncluded(root, hash, proof);
  if (!included) return { included, anchored: undefined, detail: 'the hash is not under the root' };
  if (rpc === undefined) return { included, anchored: undefined, detail: `the hash is under the root ${root}; whether the chain has that root was not asked (--rpc)` };
  const said = Number(await ask(rpc, 'eth_chainId', []));
  if (said !== chainId) return { included, anchored: false, detail: `the node is of chain ${String(said)}, the proof of chain ${String(chainId)}` };
  const data = VERIFY.encodeFunctionData('verify', [writer, stream, position, hash, proof]);
  const answer = await ask(rpc, 'eth_call', [{ to: contract, data }, 'latest']);
  const anchored = answer !== '0x' && VERIFY.decodeFunctionResult('verify', answer)[0] === true;
  return { included, anchored, detail: anchored ? `chain ${String(chainId)} has the hash in batch ${String(position)} of ${writer}` : 'the chain has no such batch' };
}

function isIncluded(root: string, hash: string, proof: readonly string[]): boolean {
  try {
    return StandardMerkleTree.verify(root, ['bytes32'], [hash], [...proof]);
  } catch {
    // Values that are no 32 bytes are under no root.
    return false;
  }
}

async function ask(rpc: string, method: string, params: readonly unknown[]): Promise<string> {
  const response = await fetch(rpc, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ jsonrpc: '2.0', id: 1, method, params }), signal: AbortSignal.timeout(ANSWER_MS) });
  const { result, error } = answerSchema.parse(await response.json());
  if (result === undefined) throw new Error(`the node says: ${error?.message ?? 'nothing'}`);
  return result;
}
