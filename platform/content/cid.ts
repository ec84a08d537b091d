import { createHash } from 'node:crypto';
import * as dagJson from '@ipld/dag-json';
import { CID } from 'multiformats/cid';
import * as raw from 'multiformats/codecs/raw';
import { create as digestOf } from 'multiformats/hashes/digest';
import { sha256 } from 'multiformats/hashes/sha2';
import { z } from 'zod';

/** What a block holds: bytes, or links to blocks in DAG-JSON (https://ipld.io/specs/codecs/dag-json/spec/). */
const CODECS = { 'raw': raw.code, 'dag-json': dagJson.code } as const;
export type Codec = keyof typeof CODECS;

/** Of SHA-256. */
export const DIGEST_BYTES = 32;

/** Content identifier, version 1 with SHA-256 in base32 (https://github.com/multiformats/cid): `b...`. */
export type Cid = string;

export interface Block {
  readonly cid: Cid;
  readonly codec: Codec;
  readonly bytes: Uint8Array;
}

const rootSchema = z.object({ blocks: z.array(z.instanceof(CID)) });

export function blockOf(codec: Codec, bytes: Uint8Array): Block {
  return { cid: cidOf(codec, createHash('sha256').update(bytes).digest()), codec, bytes };
}

/** @param digest SHA-256, 32 bytes. */
export function cidOf(codec: Codec, digest: Uint8Array): Cid {
  return CID.createV1(CODECS[codec], digestOf(sha256.code, digest)).toString();
}

/** Of the blocks of a content. @param digests SHA-256 of each, one after the other. */
export function cidsOf(digests: Buffer): Cid[] {
  return Array.from({ length: digests.length / DIGEST_BYTES }, (_, n) => cidOf('raw', digests.subarray(n * DIGEST_BYTES, (n + 1) * DIGEST_BYTES)));
}

/** The block that links to these, in their order: pinning it pins them. */
export function rootOf(cids: readonly Cid[]): Block {
  return blockOf('dag-json', dagJson.encode({ blocks: cids.map((cid) => CID.parse(cid)) }));
}

/** What {@link rootOf} links to. @throws {Error} when the bytes are no such block. */
export function linksOf(root: Uint8Array): Cid[] {
  return rootSchema.parse(dagJson.decode(root)).blocks.map(String);
}

/** Whether the bytes are those of the identifier. */
export function isOf(cid: Cid, bytes: Uint8Array): boolean {
  const { digest } = CID.parse(cid).multihash;
  return createHash('sha256').update(bytes).digest().equals(digest);
}
