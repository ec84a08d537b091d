import { createHash, createPublicKey, verify, type KeyObject } from 'node:crypto';
import { HASH_BYTES } from './merkle.ts';

/**
 * Signed notes and checkpoints of transparency logs: https://c2sp.org/signed-note, https://c2sp.org/tlog-checkpoint and
 * https://c2sp.org/tlog-cosignature, with Ed25519.
 */

/** Signature types of the C2SP registry: a log's own, and a witness's with its time. */
export const NOTE_TYPES = { ed25519: 1, cosignature: 4 } as const;
export type NoteType = keyof typeof NOTE_TYPES;

const KEY_ID_BYTES = 4;
const TIME_BYTES = 8;

/** A public key that checks notes, `<name>+<key id>+<base64 of type and key>`. */
export class VerifierKey {
  readonly name: string;
  readonly type: NoteType;
  /** 32 bytes of RFC 8032. */
  readonly publicKey: Uint8Array;
  readonly #key: KeyObject;

  constructor(name: string, type: NoteType, publicKey: Uint8Array) {
    if (!/^[^\s+]+$/u.test(name)) throw new TypeError('a key name has neither spaces nor plus signs');
    if (publicKey.length !== HASH_BYTES) throw new TypeError('an Ed25519 public key has 32 bytes');
    this.name = name;
    this.type = type;
    this.publicKey = publicKey;
    this.#key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x: Buffer.from(publicKey).toString('base64url') }, format: 'jwk' });
  }

  /** @throws {TypeError} when the text is no verifier key, or its id is not that of the key. */
  static parse(text: string): VerifierKey {
    const [, name = '', id = '', encoded = ''] = /^([^\s+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/]+=*)$/u.exec(text.trim()) ?? [];
    const bytes = Buffer.from(encoded, 'base64');
    const type = (Object.keys(NOTE_TYPES) as NoteType[]).find((each) => NOTE_TYPES[each] === bytes[0]);
    if (type === undefined) throw new TypeError('not a verifier key of a known type');
    const key = new VerifierKey(name, type, bytes.subarray(1));
    if (key.id.toString('hex') !== id) throw new TypeError('the verifier key does not match its id');
    return key;
  }

  /** First four bytes of SHA-256 over name, newline, type and key. */
  get id(): Buffer {
    return createHash('sha256').update(`${this.name}\n`).update(this.#typed()).digest().subarray(0, KEY_ID_BYTES);
  }

  toString(): string {
    return `${this.name}+${this.id.toString('hex')}+${this.#typed().toString('base64')}`;
  }

  /** Whether the note carries a signature by this key that is right. A witness's says when it saw the note. */
  hasSigned(note: SignedNote): boolean {
    return note.signatures.some((signature) => signature.name === this.name && signature.keyId.equals(this.id) && this.#isRight(note.text, signature.bytes));
  }

  #isRight(text: string, bytes: Buffer): boolean {
    if (this.type === 'ed25519') return verify(null, Buffer.from(text), this.#key, bytes);
    if (bytes.length <= TIME_BYTES) return false;
    return verify(null, Buffer.from(cosignedMessage(text, bytes.readBigUInt64BE(0))), this.#key, bytes.subarray(TIME_BYTES));
  }

  #typed(): Buffer {
    return Buffer.concat([Buffer.of(NOTE_TYPES[this.type]), this.publicKey]);
  }
}

/** What a cosignature signs: the note's text under a header with the time, seconds since the epoch. */
export function cosignedMessage(text: string, seconds: bigint): string {
  return `cosignature/v1\ntime ${String(seconds)}\n${text}`;
}

export interface NoteSignature {
  readonly name: string;
  readonly keyId: Buffer;
  readonly bytes: Buffer;
}

export interface SignedNote {
  /** Ends with a newline. */
  readonly text: string;
  readonly signatures: readonly NoteSignature[];
}

/** @throws {SyntaxError} when it is no signed note. */
export function parseNote(note: string): SignedNote {
  const split = note.lastIndexOf('\n\n');
  if (split < 0 || !note.endsWith('\n')) throw new SyntaxError('not a signed note');
  const lines = note.slice(split + 2, -1).split('\n');
  const signatures = lines.map((line) => {
    const match = /^— ([^\s+]+) ([A-Za-z0-9+/]+={0,2})$/u.exec(line);
    const bytes = Buffer.from(match?.[2] ?? '', 'base64');
    if (match?.[1] === undefined || bytes.length <= KEY_ID_BYTES) throw new SyntaxError('a signature line of the note is malformed');
    return { name: match[1], keyId: bytes.subarray(0, KEY_ID_BYTES), bytes: bytes.subarray(KEY_ID_BYTES) };
  });
  return { text: note.slice(0, split + 1), signatures };
}

/** One signature line, with its newline. */
export function signatureLine(key: Pick<VerifierKey, 'name' | 'id'>, bytes: Uint8Array): string {
  return `— ${key.name} ${Buffer.concat([key.id, bytes]).toString('base64')}\n`;
}

/** A tree as somebody saw it. */
export interface Checkpoint {
  /** Names the log. */
  readonly origin: string;
  readonly size: bigint;
  readonly root: Uint8Array;
}

/** The text of a checkpoint's note. */
export function checkpointText({ origin, size, root }: Checkpoint): string {
  return `${origin}\n${String(size)}\n${Buffer.from(root).toString('base64')}\n`;
}

/** @throws {SyntaxError} when the text is no checkpoint. */
export function parseCheckpoint(text: string): Checkpoint {
  const [origin = '', size = '', encoded = ''] = text.split('\n');
  const root = Buffer.from(encoded, 'base64');
  if (origin === '' || !/^(?:0|[1-9]\d{0,19})$/.test(size) || root.length !== HASH_BYTES || root.toString('base64') !== encoded) throw new SyntaxError('not a checkpoint');
  return { origin, size: BigInt(size), root };
}

/** Origin of an organisation's audit log, which is also the name of the key that signs it. */
export function auditOrigin(orgId: string): string {
  return `hal9-audit/${orgId}`;
}
