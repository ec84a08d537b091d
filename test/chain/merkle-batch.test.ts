import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { id } from 'ethers';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { MerkleBatch, verifyInclusion } from '../../platform/chain/merkle-batch.ts';

const vectors = z
  .object({ trees: z.array(z.object({ size: z.int(), root: z.string(), proofs: z.array(z.object({ item: z.int(), hash: z.string(), proof: z.array(z.string()) })) })) })
  .parse(JSON.parse(readFileSync(join(import.meta.dirname, '../contracts/merkle-vectors.json'), 'utf8')));

/** The same vectors as `test/contracts/MemoryAnchor.t.sol`. */
describe('a batch of hashes', () => {
  it.each(vectors.trees)('of $size has the root and the proofs that Solidity verifies', ({ size, root, proofs }) => {
    const batch = new MerkleBatch(Array.from({ length: size }, (_, n) => id(`item ${String(n)}`)));
    expect(batch.root).toBe(root);
    for (const { item, hash, proof } of proofs) {
      expect(id(`item ${String(item)}`)).toBe(hash);
      expect(batch.proofOf(hash)).toEqual(proof);
      expect(verifyInclusion(root, hash, proof)).toBe(true);
      expect(verifyInclusion(root, id('another'), proof)).toBe(false);
    }
  });

  it('has at least one hash, and ten thousand at most', () => {
    expect(() => new MerkleBatch([])).toThrow(RangeError);
    expect(() => new MerkleBatch(Array.from({ length: 10_001 }, () => id('x')))).toThrow(RangeError);
    expect(() => new MerkleBatch([id('a')]).proofOf(id('b'))).toThrow('Leaf is not in tree');
  });
});
