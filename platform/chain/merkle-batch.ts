import { StandardMerkleTree } from '@openzeppelin/merkle-tree';

/** Most hashes of one batch: `MAX_LEAVES` of `contracts/MemoryAnchor.sol`. */
export const MOST_LEAVES = 10_000;

/** Hashes that are anchored together under one root: OpenZeppelin's `StandardMerkleTree` over `bytes32`. */
export class MerkleBatch {
  readonly #tree: StandardMerkleTree<[string]>;
  /** `0x` and 64 hexadecimal digits. */
  readonly root: string;
  readonly size: number;

  /**
   * @param hashes each `0x` and 64 hexadecimal digits; their order does not matter.
   * @throws {RangeError} for none, or more than {@link MOST_LEAVES}.
   */
  constructor(hashes: readonly string[]) {
    if (hashes.length === 0 || hashes.length > MOST_LEAVES) throw new RangeError(`a batch has 1 to ${String(MOST_LEAVES)} hashes, not ${String(hashes.length)}`);
    this.#tree = StandardMerkleTree.of(hashes.map((hash): [string] => [hash]), ['bytes32']);
    this.root = this.#tree.root;
    this.size = hashes.length;
  }

  /** Siblings from the leaf up. @throws {Error} when the hash is not in the batch. */
  proofOf(hash: string): string[] {
    return this.#tree.getProof([hash]);
  }
}

/** Whether a hash is under a root; the same answer as `MemoryAnchor.verify`. */
export function verifyInclusion(root: string, hash: string, proof: readonly string[]): boolean {
  return StandardMerkleTree.verify(root, ['bytes32'], [hash], [...proof]);
}
