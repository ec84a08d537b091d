import { createPrivateKey, createPublicKey, randomBytes, sign, type KeyObject } from 'node:crypto';
import { join } from 'node:path';
import { CompactSign } from 'jose';
import { cosignedMessage, signatureLine, VerifierKey } from '../../schemas/audit/note.ts';
import { ConfigError, type Config } from '../config/config.ts';
import { keyFile } from '../keys/load.ts';

const SEED_BYTES = 32;
/** PKCS #8 (RFC 8410 section 7) up to the seed. */
const PKCS8 = Buffer.from('302e020100300506032b657004220420', 'hex');

/** An Ed25519 key that signs notes under any name. Lives outside PostgreSQL. */
export class NoteSigner {
  readonly #key: KeyObject;
  readonly #publicKey: Buffer;

  /** @param seed 32 random bytes (RFC 8032 section 5.1.5). */
  constructor(seed: Uint8Array) {
    this.#key = createPrivateKey({ key: Buffer.concat([PKCS8, seed]), format: 'der', type: 'pkcs8' });
    this.#publicKey = Buffer.from(createPublicKey(this.#key).export({ format: 'jwk' }).x ?? '', 'base64url');
  }

  /** @throws {ConfigError} when the text is not base64 of 32 bytes; never shows it. */
  static parse(text: string, where: string): NoteSigner {
    const seed = Buffer.from(text.trim(), 'base64');
    if (seed.length !== SEED_BYTES) throw new ConfigError(`${where}: expected base64 of ${SEED_BYTES} bytes`);
    return new NoteSigner(seed);
  }

  /** The key of the file, created on first use. */
  static async fromFile(file: string): Promise<NoteSigner> {
    return NoteSigner.parse(await keyFile(file, () => `${randomBytes(SEED_BYTES).toString('base64')}\n`), file);
  }

  /** The key others check a log's own signature with. */
  logKey(name: string): VerifierKey {
    return new VerifierKey(name, 'ed25519', this.#publicKey);
  }

  /** The key others check a witness's signature with. */
  witnessKey(name: string): VerifierKey {
    return new VerifierKey(name, 'cosignature', this.#publicKey);
  }

  /** A JWS in compact form (RFC 7515, EdDSA of RFC 8037) under the key of {@link logKey}. @param payload JSON. */
  async jws(name: string, type: string, payload: unknown): Promise<string> {
    return new CompactSign(new TextEncoder().encode(JSON.stringify(payload))).setProtectedHeader({ alg: 'EdDSA', typ: type, kid: this.logKey(name).toString() }).sign(this.#key);
  }

  /** A note of one signature. @param text ends with a newline. */
  note(name: string, text: string): string {
    return `${text}\n${signatureLine(this.logKey(name), sign(null, Buffer.from(text), this.#key))}`;
  }

  /** The line a witness adds to a note. @param seconds since the epoch. */
  cosignature(name: string, text: string, seconds: bigint): string {
    const time = Buffer.alloc(8);
    time.writeBigUInt64BE(seconds);
    return signatureLine(this.witnessKey(name), Buffer.concat([time, sign(null, Buffer.from(cosignedMessage(text, seconds)), this.#key)]));
  }
}

/** The key that signs checkpoints: HAL9_AUDIT_SIGNING_KEY, or the file `keys/audit` in the data folder. */
export async function loadAuditSigner(config: Pick<Config, 'HAL9_AUDIT_SIGNING_KEY' | 'HAL9_DATA'>): Promise<NoteSigner> {
  const text = config.HAL9_AUDIT_SIGNING_KEY;
  return text === undefined ? NoteSigner.fromFile(join(config.HAL9_DATA, 'keys', 'audit')) : NoteSigner.parse(text, 'HAL9_AUDIT_SIGNING_KEY');
}
