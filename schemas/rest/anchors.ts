import { z } from 'zod';
import { pageQuery } from './page.ts';

/** Of one request; a batch has as many at most. */
const MOST_HASHES = 10_000;
const hash = z.string().regex(/^0x[0-9a-f]{64}$/, '0x and 64 hexadecimal digits in lower case');

const SOURCES = ['hashes', 'audit', 'memory'] as const;

export const anchorStreamDraft = z.strictObject({
  name: z.string().trim().min(1).max(200),
  network: z.uuid(),
  signer: z.uuid().describe('Writes the log; its address and the stream name it on the chain.'),
  source: z.enum(SOURCES).default('hashes').describe('What each run of the operation `anchor` takes besides hashes that were put in. `audit`: the newest checkpoint of the audit log, as the SHA-256 of its signed note. `memory`: digests of what was remembered since.'),
});
export type AnchorStreamDraft = z.output<typeof anchorStreamDraft>;

export const anchorStreamParams = z.object({ id: z.uuid() });
export const anchorProofParams = anchorStreamParams.extend({ hash });
export const anchorBatchQuery = pageQuery;

export const anchorStreamView = z
  .object({ id: z.uuid(), name: z.string(), network: z.uuid(), signer: z.uuid(), source: z.enum(SOURCES), stream: z.string(), createdAt: z.iso.datetime() })
  .meta({ id: 'AnchorStream' });

export const anchorHashes = z.strictObject({ hashes: z.array(hash).min(1).max(MOST_HASHES) });
export const anchorReceipt = z.object({ added: z.int().describe('Those that were not in the stream before.'), runId: z.string().describe('Of the run that anchors them.') }).meta({ id: 'AnchorReceipt' });

const STATES = ['waiting', 'sending', 'mined', 'confirmed'] as const;

export const anchorBatchView = z
  .object({ position: z.int(), root: z.string(), count: z.int(), state: z.enum(STATES), transaction: z.string().nullable(), blockNumber: z.int().nullable(), gasUsed: z.int().nullable(), createdAt: z.iso.datetime() })
  .meta({ id: 'AnchorBatch' });

/** What somebody needs to check that a hash is on a chain, without HAL9: `hal9 anchor verify`. */
export const anchorProof = z
  .object({
    hash: z.string(),
    proof: z.array(z.string()).describe('Siblings from the leaf up, as OpenZeppelin\'s `MerkleProof` takes them.'),
    root: z.string(),
    count: z.int(),
    chainId: z.int(),
    contract: z.string().describe('MemoryAnchor.'),
    writer: z.string(),
    stream: z.string(),
    position: z.int(),
    state: z.enum(STATES),
    transaction: z.string().nullable(),
    blockNumber: z.int().nullable(),
  })
  .meta({ id: 'AnchorProof' });
export type AnchorProof = z.output<typeof anchorProof>;
