import { createHash } from 'node:crypto';

/** What a block holds: bytes, or links to blocks in DAG-JSON. Codes of the multicodec table, as varints. */
const CODECS = { 'raw': [0x55], 'dag-json': [0xa9, 0x02] } as const;
export type Codec = keyof typeof CODECS;

/** Content identifier, version 1 with SHA-256 in base32 (https://github.com/multiformats/cid): `b...`. */
export type Cid = string;

export interface Block {
  readonly cid: Cid;
  readonly codec: Codec;
  readonly bytes: Uint8Array;
}

const ALPHABET = 'abcdefghijklmnopqrstuvwxyz234567';

export function blockOf(codec: Codec, bytes: Uint8Array): Block {
  return { cid: cidOf(codec, createHash('sha256').update(bytes).digest()), codec, bytes };
}

/** @param digest SHA-256, 32 bytes. */
export function cidOf(codec: Codec, digest: Uint8Array): Cid {
  return `b${base32([0x01, ...CODECS[codec], 0x12, 0x20, ...digest])}`;
}

/** The block that links to these, in their order: pinning it pins them. DAG-JSON (https://ipld.io/specs/codecs/dag-json/spec/). */
export function rootOf(cids: readonly Cid[]): Block {
  return blockOf('dag-json', Buffer.from(JSON.stringify({ blocks: cids.map((cid) => ({ '/': cid })) }), 'utf8'));
}

/** RFC 4648 in lower case, without padding. */
function base32(bytes: readonly number[]): string {
  let text = '';
  let [held, bits] = [0, 0];
  for (const byte of bytes) {
    held = ((held << 8) | byte) & 0xfff;
    for (bits += 8; bits >= 5; bits -= 5) text += ALPHABET.charAt((held >> (bits - 5)) & 31);
  }
  return bits === 0 ? text : text + ALPHABET.charAt((held << (5 - bits)) & 31);
}
