import { EMPTY_ROOT, hashNode, splitOf } from './merkle.ts';

/** Leaves `[start, end)` of a tree. */
export interface LeafRange {
  readonly start: bigint;
  readonly end: bigint;
}

/** Ranges whose roots are the inclusion proof of a leaf, in the proof's order (RFC 9162 section 2.1.3.1). */
export function inclusionRanges(leafIndex: bigint, treeSize: bigint): LeafRange[] {
  if (leafIndex < 0n || leafIndex >= treeSize) throw new RangeError('leaf outside the tree');
  const ranges: LeafRange[] = [];
  let [start, end] = [0n, treeSize];
  while (end - start > 1n) {
    const split = start + splitOf(end - start);
    if (leafIndex < split) {
      ranges.push({ start: split, end });
      end = split;
    } else {
      ranges.push({ start, end: split });
      start = split;
    }
  }
  return ranges.reverse();
}

/** Ranges whose roots are the proof that the subtree `[start, end)` is part of the tree; with `start` 0 the consistency proof of RFC 9162 section 2.1.4.1. */
export function consistencyRanges(part: LeafRange, treeSize: bigint): LeafRange[] {
  if (part.start < 0n || part.start >= part.end || part.end > treeSize) throw new RangeError('subtree outside the tree');
  const ranges: LeafRange[] = [];
  let tree = { start: 0n, end: treeSize };
  let rest = part;
  let isWhole = true;
  while (rest.start !== tree.start || rest.end !== tree.end) {
    const split = tree.start + splitOf(tree.end - tree.start);
    const [left, right] = [{ start: tree.start, end: split }, { start: split, end: tree.end }];
    if (rest.end <= split) {
      ranges.push(right);
      tree = left;
    } else {
      ranges.push(left);
      tree = right;
      if (rest.start < split) {
        isWhole = false;
        rest = { start: split, end: rest.end };
      }
    }
  }
  if (!isWhole) ranges.push(rest);
  return ranges.reverse();
}

/** Perfect subtrees, largest first, that make up `[0, size)`: one for each bit of the size. */
export function perfectRanges(size: bigint): LeafRange[] {
  const ranges: LeafRange[] = [];
  let start = 0n;
  for (let width = size === 0n ? 0n : 1n << BigInt(size.toString(2).length - 1); width > 0n; width /= 2n) {
    if ((size & width) === 0n) continue;
    ranges.push({ start, end: start + width });
    start += width;
  }
  return ranges;
}

/** Root of a tree from the roots of its {@link perfectRanges}. */
export function foldPerfect(roots: readonly Uint8Array[]): Uint8Array {
  return roots.reduceRight<Uint8Array | undefined>((right, left) => (right === undefined ? left : hashNode(left, right)), undefined) ?? EMPTY_ROOT;
}

/** A perfect subtree that an append completed. */
export interface CompletedNode {
  /** The subtree has `2 ** level` leaves. */
  readonly level: number;
  /** Its place among those of its level. */
  readonly index: bigint;
  readonly hash: Uint8Array;
}

/** A tree that only grows, by what is needed to grow it: one hash for each bit of its size. */
export class GrowingTree {
  #size: bigint;
  readonly #roots: Uint8Array[];

  /**
   * @param size leaves so far.
   * @param roots roots of the {@link perfectRanges} of the size.
   * @throws {RangeError} when there are more or fewer roots than the size has bits.
   */
  constructor(size = 0n, roots: readonly Uint8Array[] = []) {
    if (perfectRanges(size).length !== roots.length) throw new RangeError(`a tree of ${size} leaves has not ${roots.length} perfect subtrees`);
    this.#size = size;
    this.#roots = [...roots];
  }

  get size(): bigint {
    return this.#size;
  }

  get roots(): readonly Uint8Array[] {
    return this.#roots;
  }

  get root(): Uint8Array {
    return foldPerfect(this.#roots);
  }

  /** @returns the perfect subtrees of two leaves and more that the leaf completed, smallest first. */
  append(leafHash: Uint8Array): CompletedNode[] {
    const completed: CompletedNode[] = [];
    let hash = leafHash;
    let index = this.#size;
    for (let level = 1; index % 2n === 1n; level++) {
      const left = this.#roots.pop();
      if (left === undefined) throw new Error('roots do not match the size');
      hash = hashNode(left, hash);
      index /= 2n;
      completed.push({ level, index, hash });
    }
    this.#roots.push(hash);
    this.#size++;
    return completed;
  }
}
