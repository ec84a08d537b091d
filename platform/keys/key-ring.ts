import { createCipheriv, createDecipheriv, createHmac, createSecretKey, hkdfSync, randomFillSync, timingSafeEqual, type KeyObject } from 'node:crypto';

/**
 * HAL9's keys. Master keys are 32 random bytes under an id; every other key is derived from one of them by
 * HKDF-SHA256 (RFC 5869), so a purpose or an organisation never shares a key with another.
 */
export interface MasterKey {
  /** Up to 32 letters, digits, dashes. Travels with everything the key encrypted. */
  readonly id: string;
  /** 32 bytes. */
  readonly key: Uint8Array;
}

/** The data cannot be opened: unknown key, other organisation or purpose, or changed bytes. */
export class KeyError extends Error {
  override readonly name = 'KeyError';
}

/** Reserved organisation of data that belongs to the installation itself. */
export const INSTALLATION = 'installation';

const IV_BYTES = 12;
const TAG_BYTES = 16;
const KEY_BYTES = 32;
/** Derived keys kept in memory, as key objects: Node wraps raw bytes anew for each cipher, which costs ten times the sealing. */
const CACHE_LIMIT = 10_000;

export class KeyRing {
  readonly #masters: readonly MasterKey[];
  readonly #derived = new Map<string, KeyObject>();

  /**
   * @param masters the first encrypts, all decrypt; the last one keys HMACs, so that ids stay what they are when a
   *   new key is put in front.
   * @throws {KeyError} for no key, a key that is not 32 bytes, or an id given twice.
   */
  constructor(masters: readonly MasterKey[]) {
    if (masters.length === 0) throw new KeyError('the key ring is empty');
    for (const master of masters) {
      if (!/^[A-Za-z0-9-]{1,32}$/.test(master.id)) throw new KeyError('a key id has 1 to 32 letters, digits or dashes');
      if (master.key.length !== KEY_BYTES) throw new KeyError(`master key "${master.id}" is not ${KEY_BYTES} bytes`);
    }
    if (new Set(masters.map((master) => master.id)).size !== masters.length) throw new KeyError('a key id appears twice');
    this.#masters = masters;
  }

  /**
   * Reads `id:base64[,id:base64...]`, the format of HAL9_MASTER_KEYS.
   * @throws {KeyError} that never shows the key itself.
   */
  static parse(text: string): KeyRing {
    return new KeyRing(
      text.split(',').map((entry) => {
        const [id = '', encoded = ''] = entry.trim().split(':', 2);
        return { id, key: Buffer.from(encoded, 'base64') };
      }),
    );
  }

  /** Id of the key that encrypts now. */
  get currentId(): string {
    return this.#newest().id;
  }

  /** Ids of all keys, the encrypting one first. */
  get ids(): readonly string[] {
    return this.#masters.map((master) => master.id);
  }

  /**
   * Encrypts with AES-256-GCM under the organisation's key for the purpose.
   * @param orgId the organisation, or {@link INSTALLATION}.
   * @param purpose what the data is, e.g. `connections`; another purpose cannot open it.
   * @param bound further text the sealed bytes only open with, e.g. a row's id; default none.
   * @returns `keyIdLength (1) | keyId | iv (12) | tag (16) | ciphertext`.
   */
  seal(orgId: string, purpose: string, plaintext: Uint8Array | string, bound = ''): Buffer {
    const master = this.#newest();
    const iv = freshIv();
    const cipher = createCipheriv('aes-256-gcm', this.#key(master, orgId, purpose), iv);
    cipher.setAAD(aad(master.id, orgId, purpose, bound));
    const body = Buffer.concat([typeof plaintext === 'string' ? cipher.update(plaintext, 'utf8') : cipher.update(plaintext), cipher.final()]);
    return Buffer.concat([Buffer.from([master.id.length]), Buffer.from(master.id, 'latin1'), iv, cipher.getAuthTag(), body]);
  }

  /**
   * Opens what {@link seal} made with the same organisation, purpose and bound text.
   * @throws {KeyError} otherwise.
   */
  open(orgId: string, purpose: string, sealed: Uint8Array, bound = ''): Buffer {
    const bytes = Buffer.from(sealed.buffer, sealed.byteOffset, sealed.byteLength);
    const idEnd = 1 + (bytes[0] ?? 0);
    const bodyStart = idEnd + IV_BYTES + TAG_BYTES;
    if (bytes.length < bodyStart) throw new KeyError('the sealed data is too short');
    const master = this.#find(bytes.toString('latin1', 1, idEnd));
    const decipher = createDecipheriv('aes-256-gcm', this.#key(master, orgId, purpose), bytes.subarray(idEnd, idEnd + IV_BYTES));
    decipher.setAAD(aad(master.id, orgId, purpose, bound));
    decipher.setAuthTag(bytes.subarray(idEnd + IV_BYTES, bodyStart));
    try {
      return Buffer.concat([decipher.update(bytes.subarray(bodyStart)), decipher.final()]);
    } catch (error) {
      throw new KeyError('the sealed data does not open with this organisation and purpose, or was changed', { cause: error });
    }
  }

  /** Id of the master key that sealed these bytes, so that a rotation finds what it must seal again. */
  sealedWith(sealed: Uint8Array): string {
    return Buffer.from(sealed.buffer, sealed.byteOffset, sealed.byteLength).toString('latin1', 1, 1 + (sealed[0] ?? 0));
  }

  /** HMAC-SHA256, 32 bytes: equal texts can be found again without being stored. */
  hmac(orgId: string, purpose: string, text: string | Uint8Array): Buffer {
    return createHmac('sha256', this.#key(this.#oldest(), orgId, `hmac/${purpose}`)).update(text).digest();
  }

  /** First 16 bytes of {@link hmac} in the shape of a UUID (version 8, RFC 9562). */
  hmacUuid(orgId: string, purpose: string, text: string): string {
    const bytes = this.hmac(orgId, purpose, text).subarray(0, 16);
    bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x80;
    bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
    const hex = bytes.toString('hex');
    return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
  }

  /**
   * Signs a small JSON value for a link: anyone may read it, nobody can change it.
   * @returns URL-safe text `<payload>.<key id>.<signature>`.
   */
  sign(purpose: string, payload: unknown, expiresAt: Date): string {
    const body = Buffer.from(JSON.stringify({ payload, expires: expiresAt.getTime() })).toString('base64url');
    const master = this.#newest();
    return `${body}.${master.id}.${this.#signature(master, purpose, body).toString('base64url')}`;
  }

  /**
   * Reads what {@link sign} made.
   * @param now clock, for tests.
   * @returns the payload; the caller validates its shape.
   * @throws {KeyError} when it was changed, signed for another purpose, or has expired.
   */
  verify(purpose: string, token: string, now: Date = new Date()): unknown {
    const [body = '', id = '', signature = ''] = token.split('.');
    const expected = this.#signature(this.#find(id), purpose, body);
    const given = Buffer.from(signature, 'base64url');
    if (given.length !== expected.length || !timingSafeEqual(given, expected)) throw new KeyError('the signature does not match');
    const content: unknown = JSON.parse(Buffer.from(body, 'base64url').toString('utf8'));
    if (typeof content !== 'object' || content === null || !('expires' in content) || typeof content.expires !== 'number' || !('payload' in content)) {
      throw new KeyError('the token has no expiry');
    }
    if (content.expires <= now.getTime()) throw new KeyError('the token has expired');
    return content.payload;
  }

  #signature(master: MasterKey, purpose: string, body: string): Buffer {
    return createHmac('sha256', this.#key(master, INSTALLATION, `sign/${purpose}`)).update(body).digest();
  }

  #newest(): MasterKey {
    const [master] = this.#masters;
    if (master === undefined) throw new KeyError('the key ring is empty');
    return master;
  }

  #oldest(): MasterKey {
    return this.#masters.at(-1) ?? this.#newest();
  }

  #find(id: string): MasterKey {
    const master = this.#masters.find((candidate) => candidate.id === id);
    if (master === undefined) throw new KeyError(`no master key "${/^[A-Za-z0-9-]{1,32}$/.test(id) ? id : '?'}" in the ring`);
    return master;
  }

  #key(master: MasterKey, orgId: string, purpose: string): KeyObject {
    const name = `${master.id}\n${orgId}\n${purpose}`;
    const known = this.#derived.get(name);
    if (known !== undefined) return known;
    const key = createSecretKey(Buffer.from(hkdfSync('sha256', master.key, Buffer.alloc(0), Buffer.from(`hal9\n${orgId}\n${purpose}`), KEY_BYTES)));
    if (this.#derived.size >= CACHE_LIMIT) this.#derived.clear();
    this.#derived.set(name, key);
    return key;
  }
}

/** Random bytes drawn for many IVs at once: a call to the generator costs as much as sealing a small payload. */
const IV_POOL = Buffer.alloc(IV_BYTES * 256);
let drawn = IV_POOL.length;

/** Twelve random bytes that were never given out before; the pool forgets them. */
function freshIv(): Buffer {
  if (drawn === IV_POOL.length) {
    randomFillSync(IV_POOL);
    drawn = 0;
  }
  const iv = Buffer.from(IV_POOL.subarray(drawn, drawn + IV_BYTES));
  drawn += IV_BYTES;
  return iv;
}

function aad(...parts: string[]): Buffer {
  return Buffer.from(JSON.stringify(parts));
}
