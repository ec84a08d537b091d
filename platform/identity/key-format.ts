import { hash, randomBytes } from 'node:crypto';

/**
 * `hal9_<prefix>_<secret>`: the prefix is public and finds the key, the secret proves it. Both are base62, so that a
 * double click selects a key whole and secret scanners can match one pattern.
 */
export interface KeyText {
  readonly prefix: string;
  readonly secret: string;
}

const ALPHABET = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const PREFIX_LENGTH = 10;
/** 62^43 > 2^256. */
const SECRET_LENGTH = 43;
const PATTERN = new RegExp(`^hal9_([0-9A-Za-z]{${PREFIX_LENGTH}})_([0-9A-Za-z]{${SECRET_LENGTH}})$`);

/** The parts of a key, or undefined when the text is not one. */
export function parseKey(text: string): KeyText | undefined {
  const match = PATTERN.exec(text);
  if (match === null) return undefined;
  const [, prefix = '', secret = ''] = match;
  return { prefix, secret };
}

export function formatKey(key: KeyText): string {
  return `hal9_${key.prefix}_${key.secret}`;
}

/** A new key with 59 bits of prefix and 256 bits of secret, from the operating system's generator. */
export function generateKey(): KeyText {
  return { prefix: randomBase62(PREFIX_LENGTH), secret: randomBase62(SECRET_LENGTH) };
}

/** SHA-256: with 256 bits of entropy in the secret, a slow hash would add cost and no safety. */
export function hashSecret(secret: string): Buffer {
  // By way of text: a buffer from native code costs five times the hash itself.
  return Buffer.from(hash('sha256', secret, 'hex'), 'hex');
}

function randomBase62(length: number): string {
  let text = '';
  while (text.length < length) {
    for (const byte of randomBytes(2 * length)) {
      // 248 is the largest multiple of 62 in a byte: taking more would favour the first letters.
      if (byte < 248 && text.length < length) text += ALPHABET[byte % 62];
    }
  }
  return text;
}
