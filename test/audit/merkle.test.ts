import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { EMPTY_ROOT, hashLeaf, hashNode, verifyConsistency, verifyInclusion, verifySubtreeConsistency, verifySubtreeInclusion } from '../../schemas/audit/merkle.ts';
import { consistencyRanges, foldPerfect, GrowingTree, inclusionRanges, perfectRanges, type LeafRange } from '../../schemas/audit/tree.ts';

/** MTH of RFC 6962 section 2.1, word for word. */
function naiveRoot(leaves: readonly Uint8Array[]): Uint8Array {
  if (leaves.length === 0) return EMPTY_ROOT;
  const [first] = leaves;
  if (leaves.length === 1 && first !== undefined) return first;
  let k = 1;
  while (k * 2 < leaves.length) k *= 2;
  return hashNode(naiveRoot(leaves.slice(0, k)), naiveRoot(leaves.slice(k)));
}

const leavesOf = (count: number) => Array.from({ length: count }, (_, index) => hashLeaf(Buffer.from(`leaf ${index}`)));
const roots = (leaves: readonly Uint8Array[], ranges: readonly LeafRange[]) => ranges.map(({ start, end }) => naiveRoot(leaves.slice(Number(start), Number(end))));
const flipped = (hash: Uint8Array) => Buffer.from(hash).fill((hash[7] ?? 0) ^ 1, 7, 8);
const MOST = 70;

describe('tree', () => {
  it('grows to the root of the definition and names the subtrees it completes', () => {
    const leaves = leavesOf(MOST);
    const tree = new GrowingTree();
    expect(tree.root).toEqual(EMPTY_ROOT);
    for (const [index, leaf] of leaves.entries()) {
      for (const node of tree.append(leaf)) {
        const [start, end] = [Number(node.index) << node.level, (Number(node.index) + 1) << node.level];
        expect(end).toBe(index + 1);
        expect(node.hash).toEqual(naiveRoot(leaves.slice(start, end)));
      }
      const grown = leaves.slice(0, index + 1);
      expect(tree.root).toEqual(naiveRoot(grown));
      expect(tree.roots).toEqual(roots(grown, perfectRanges(tree.size)));
      expect(new GrowingTree(tree.size, tree.roots).root).toEqual(tree.root);
    }
    expect(foldPerfect([])).toEqual(EMPTY_ROOT);
    expect(() => new GrowingTree(3n, [leaves[0] ?? EMPTY_ROOT])).toThrow(RangeError);
  });
});

describe('proofs against a naive tree', () => {
  it('include every leaf, and no other leaf, index, size or root', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: MOST }), fc.nat(), fc.nat(), (size, pick, harm) => {
        const leaves = leavesOf(size);
        const index = pick % size;
        const claim = { leafIndex: BigInt(index), treeSize: BigInt(size), root: naiveRoot(leaves), leafHash: leaves[index] ?? EMPTY_ROOT, proof: roots(leaves, inclusionRanges(BigInt(index), BigInt(size))) };
        expect(verifyInclusion(claim)).toBe(true);
        expect(verifyInclusion({ ...claim, leafHash: flipped(claim.leafHash) })).toBe(false);
        expect(verifyInclusion({ ...claim, root: flipped(claim.root) })).toBe(false);
        expect(verifyInclusion({ ...claim, leafIndex: claim.treeSize })).toBe(false);
        expect(verifyInclusion({ ...claim, proof: [...claim.proof, EMPTY_ROOT] })).toBe(false);
        if (size > 1) {
          expect(verifyInclusion({ ...claim, leafIndex: BigInt((index + 1) % size) })).toBe(false);
          expect(verifyInclusion({ ...claim, proof: claim.proof.slice(1) })).toBe(false);
          expect(verifyInclusion({ ...claim, proof: claim.proof.map((hash, at) => (at === harm % claim.proof.length ? flipped(hash) : hash)) })).toBe(false);
          expect(verifyInclusion({ ...claim, proof: claim.proof.map((hash, at) => (at === harm % claim.proof.length ? hash.subarray(1) : hash)) })).toBe(false);
        }
      }),
    );
  });

  it('show each earlier tree, and each of its subtrees, as a part of the later one', () => {
    for (let size = 1; size <= 33; size++) {
      const leaves = leavesOf(size);
      const root2 = naiveRoot(leaves);
      for (let start = 0; start < size; start++) {
        for (let end = start + 1; end <= size; end++) {
          let holding = 1;
          while (holding < end - start) holding *= 2;
          const part = { start: BigInt(start), end: BigInt(end) };
          const root1 = naiveRoot(leaves.slice(start, end));
          if (start % holding !== 0) {
            expect(verifySubtreeConsistency({ ...part, size: BigInt(size), root1, root2, proof: [] })).toBe(false);
            continue;
          }
          const proof = roots(leaves, consistencyRanges(part, BigInt(size)));
          const claim = { ...part, size: BigInt(size), root1, root2, proof };
          expect(verifySubtreeConsistency(claim)).toBe(true);
          expect(verifySubtreeConsistency({ ...claim, root1: flipped(root1) })).toBe(false);
          expect(verifySubtreeConsistency({ ...claim, root2: flipped(root2) })).toBe(false);
          expect(verifySubtreeConsistency({ ...claim, proof: [...proof, EMPTY_ROOT] })).toBe(false);
          for (const at of proof.keys()) expect(verifySubtreeConsistency({ ...claim, proof: proof.map((hash, other) => (other === at ? flipped(hash) : hash)) })).toBe(false);
          if (start === 0) expect(verifyConsistency({ size1: part.end, size2: BigInt(size), root1, root2, proof })).toBe(true);
          for (let leaf = start; leaf < end; leaf++) {
            const inside = roots(leaves.slice(start, end), inclusionRanges(BigInt(leaf - start), BigInt(end - start)));
            expect(verifySubtreeInclusion({ ...part, leafIndex: BigInt(leaf), root: root1, leafHash: leaves[leaf] ?? EMPTY_ROOT, proof: inside })).toBe(true);
          }
        }
      }
    }
  });

  it('refuse sizes past 64 bits and below zero', () => {
    const [leaf] = leavesOf(1);
    const hash = leaf ?? EMPTY_ROOT;
    expect(verifyInclusion({ leafIndex: 0n, treeSize: 1n, root: hash, leafHash: hash, proof: [] })).toBe(true);
    expect(verifyInclusion({ leafIndex: -1n, treeSize: 1n, root: hash, leafHash: hash, proof: [] })).toBe(false);
    expect(verifyInclusion({ leafIndex: 0n, treeSize: 1n << 64n, root: hash, leafHash: hash, proof: [] })).toBe(false);
    expect(verifyConsistency({ size1: 0n, size2: 1n, root1: EMPTY_ROOT, root2: hash, proof: [] })).toBe(false);
    expect(() => inclusionRanges(1n, 1n)).toThrow(RangeError);
    expect(() => consistencyRanges({ start: 0n, end: 2n }, 1n)).toThrow(RangeError);
  });
});

/** Numbers past 2^53 stay whole: the parser hands over their text. */
const whole = z.bigint();
const hash = z.base64().transform((text) => Buffer.from(text, 'base64'));
const proof = z.array(hash).nullish().transform((list) => list ?? []);
const expectation = { desc: z.string(), wantErr: z.boolean() };
const VECTORS = {
  inclusion: z.object({ leafIdx: whole, treeSize: whole, root: hash, leafHash: hash, proof, ...expectation }).transform((v) => ({ ...v, verdict: verifyInclusion({ ...v, leafIndex: v.leafIdx }) })),
  consistency: z.object({ size1: whole, size2: whole, root1: hash, root2: hash, proof, ...expectation }).transform((v) => ({ ...v, verdict: verifyConsistency(v) })),
  subtreeinclusion: z.object({ leafIdx: whole, start: whole, end: whole, root: hash, leafHash: hash, proof, ...expectation }).transform((v) => ({ ...v, verdict: verifySubtreeInclusion({ ...v, leafIndex: v.leafIdx }) })),
  subtreeconsistency: z.object({ start: whole, end: whole, size: whole, root1: hash, root2: hash, proof, ...expectation }).transform((v) => ({ ...v, verdict: verifySubtreeConsistency(v) })),
} as const;

const data = process.env['HAL9_TEST_DATA'];
if (data === undefined) console.log('NOT RUN: vectors of Merkle proofs; set HAL9_TEST_DATA to the folder that holds merkle/');

describe.skipIf(data === undefined)('vectors', () => {
  const folder = path.join(data ?? '', 'merkle');
  it.each(Object.entries(VECTORS))('%s: all right', (kind, vector) => {
    const files = readdirSync(path.join(folder, kind), { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.json'));
    expect(files.length).toBeGreaterThan(60);
    const wrong = files.filter((name) => {
      const parsed = vector.parse(parseWhole(readFileSync(path.join(folder, kind, name), 'utf8')));
      return parsed.verdict === parsed.wantErr;
    });
    expect(wrong).toEqual([]);
  });
});

function parseWhole(text: string): unknown {
  return JSON.parse(text, function (this: unknown, _key: string, value: unknown, context?: { source?: string }) {
    return typeof value === 'number' && context?.source !== undefined ? BigInt(context.source) : value;
  });
}
