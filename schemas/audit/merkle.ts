import { createHash } from 'node:crypto';

/**
 * The Merkle tree of RFC 6962 section 2.1 (RFC 9162 section 2.1): hashing, and proofs verified by walking the tree as the RFC
 * defines it, from the top down. Subtrees and their proofs are those of draft-ietf-plants-merkle-tree-certs section 4.
 * Sizes and indices are unsigned 64-bit numbers. Verifiers answer false for anything that is not a proof; they never throw.
 */

/** Bytes of a hash. */
export const HASH_BYTES = 32;
const LIMIT = 1n << 64n;
const LEAF = Buffer.of(0);
const NODE = Buffer.of(1);

/** Root of the tree without leaves. */
export const EMPTY_ROOT: Uint8Array = createHash('sha256').digest();

export function hashLeaf(data: Uint8Array): Buffer {
  return createHash('sha256').update(LEAF).update(data).digest();
}

export function hashNode(left: Uint8Array, right: Uint8Array): Buffer {
  return createHash('sha256').update(NODE).update(left).update(right).digest();
}

export interface InclusionClaim {
  readonly leafIndex: bigint;
  readonly treeSize: bigint;
  readonly root: Uint8Array;
  readonly leafHash: Uint8Array;
  /** From the leaf's sibling upwards. */
  readonly proof: readonly Uint8Array[];
}

/** Whether the leaf is at the index in the tree of this size and root. */
export function verifyInclusion({ leafIndex, treeSize, root, leafHash, proof }: InclusionClaim): boolean {
  if (!isCount(leafIndex) || !isCount(treeSize) || leafIndex >= treeSize || !areHashes([root, leafHash, ...proof])) return false;
  const rest = new Proof(proof);
  const computed = rootAbove(leafIndex, treeSize, leafHash, rest);
  return computed !== undefined && rest.isUsedUp && same(computed, root);
}

export interface ConsistencyClaim {
  readonly size1: bigint;
  readonly size2: bigint;
  readonly root1: Uint8Array;
  readonly root2: Uint8Array;
  readonly proof: readonly Uint8Array[];
}

/** Whether the second tree has the first one's leaves, in their order, before all others. The first must not be empty. */
export function verifyConsistency({ size1, size2, root1, root2, proof }: ConsistencyClaim): boolean {
  return size1 !== 0n && verifySubtreeConsistency({ start: 0n, end: size1, size: size2, root1, root2, proof });
}

export interface SubtreeInclusionClaim extends Omit<InclusionClaim, 'treeSize'> {
  readonly start: bigint;
  /** Exclusive. */
  readonly end: bigint;
}

/** Whether the leaf, by its index in the whole tree, is in the subtree `[start, end)` with this root. */
export function verifySubtreeInclusion({ leafIndex, start, end, ...claim }: SubtreeInclusionClaim): boolean {
  if (!isSubtree(start, end) || !isCount(leafIndex) || leafIndex < start) return false;
  return verifyInclusion({ ...claim, leafIndex: leafIndex - start, treeSize: end - start });
}

export interface SubtreeConsistencyClaim extends Omit<ConsistencyClaim, 'size1' | 'size2'> {
  readonly start: bigint;
  /** Exclusive. */
  readonly end: bigint;
  readonly size: bigint;
}

/** Whether the subtree `[start, end)` with root `root1` is part of the tree (size, root2). An empty one is part of every tree, whatever its root. */
export function verifySubtreeConsistency({ start, end, size, root1, root2, proof }: SubtreeConsistencyClaim): boolean {
  if (!isSubtree(start, end) || !isCount(size) || end > size) return false;
  if (start === end) return proof.length === 0 && same(root1, EMPTY_ROOT);
  if (!areHashes([root1, root2, ...proof])) return false;
  const rest = new Proof(proof);
  const computed = rootsAbove(start, end, size, root1, rest);
  return computed !== undefined && rest.isUsedUp && same(computed.part, root1) && same(computed.whole, root2);
}

/** Largest power of two below `size`, which is at least 2: where a tree divides. */
export function splitOf(size: bigint): bigint {
  return 1n << BigInt((size - 1n).toString(2).length - 1);
}

/** Proofs list their hashes from the bottom up, so a walk that descends first takes them in their order. */
class Proof {
  readonly #hashes: readonly Uint8Array[];
  #next = 0;

  constructor(hashes: readonly Uint8Array[]) {
    this.#hashes = hashes;
  }

  take(): Uint8Array | undefined {
    return this.#hashes[this.#next++];
  }

  get isUsedUp(): boolean {
    return this.#next === this.#hashes.length;
  }
}

function rootAbove(index: bigint, size: bigint, leafHash: Uint8Array, proof: Proof): Uint8Array | undefined {
  if (size === 1n) return leafHash;
  const split = splitOf(size);
  const isLeft = index < split;
  const inner = isLeft ? rootAbove(index, split, leafHash, proof) : rootAbove(index - split, size - split, leafHash, proof);
  const sibling = proof.take();
  if (inner === undefined || sibling === undefined) return undefined;
  return isLeft ? hashNode(inner, sibling) : hashNode(sibling, inner);
}

interface Roots {
  readonly part: Uint8Array;
  readonly whole: Uint8Array;
}

/** @param known root of the part while the part is one whole node; undefined below a node where the part ends ragged. */
function rootsAbove(start: bigint, end: bigint, size: bigint, known: Uint8Array | undefined, proof: Proof): Roots | undefined {
  if (start === 0n && end === size) {
    const root = known ?? proof.take();
    return root === undefined ? undefined : { part: root, whole: root };
  }
  const split = splitOf(size);
  if (end <= split) {
    const inner = rootsAbove(start, end, split, known, proof);
    const right = proof.take();
    return inner === undefined || right === undefined ? undefined : { part: inner.part, whole: hashNode(inner.whole, right) };
  }
  // A valid subtree that reaches over the split begins at 0.
  const inner = start >= split ? rootsAbove(start - split, end - split, size - split, known, proof) : rootsAbove(0n, end - split, size - split, undefined, proof);
  const left = proof.take();
  if (inner === undefined || left === undefined) return undefined;
  return { part: start >= split ? inner.part : hashNode(left, inner.part), whole: hashNode(left, inner.whole) };
}

/** `start` is a multiple of the smallest power of two that holds the subtree. */
function isSubtree(start: bigint, end: bigint): boolean {
  if (!isCount(start) || !isCount(end) || start > end) return false;
  const width = end - start;
  const holding = width <= 1n ? 1n : splitOf(width) * 2n;
  return start % holding === 0n;
}

function isCount(value: bigint): boolean {
  return value >= 0n && value < LIMIT;
}

function areHashes(values: readonly Uint8Array[]): boolean {
  return values.every((value) => value.length === HASH_BYTES);
}

function same(left: Uint8Array, right: Uint8Array): boolean {
  return Buffer.compare(left, right) === 0;
}
