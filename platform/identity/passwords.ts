import { argon2, randomBytes, timingSafeEqual, type Argon2Parameters } from 'node:crypto';
import { promisify } from 'node:util';
import { dictionary } from '@zxcvbn-ts/language-common';
import { HalError } from '../../schemas/errors.ts';

/** Argon2id as OWASP's Password Storage Cheat Sheet has it: 19 MiB, two passes, one lane; 16 bytes of salt, 32 of hash. */
const MEMORY_KIB = 19_456;
const PASSES = 2;
const LANES = 1;
const SALT_BYTES = 16;
const HASH_BYTES = 32;
const VERSION = 0x13;

/** Where a second factor is shown besides. */
export const MIN_LENGTH_WITH_FACTOR = 8;
/** Where the password is all there is (NIST SP 800-63B-4, 3.1.1.2). */
export const MIN_LENGTH_ALONE = 15;
/** Characters; longer ones would only cost time. */
export const MAX_LENGTH = 128;

const derive = promisify(argon2);
const PHC = /^\$argon2id\$v=19\$m=(\d{1,7}),t=(\d{1,3}),p=(\d{1,2})\$([A-Za-z0-9+/]{11,64})\$([A-Za-z0-9+/]{22,128})$/;

/** @returns a PHC string of Argon2id (RFC 9106). */
export async function hashPassword(password: string): Promise<string> {
  const salt = randomBytes(SALT_BYTES);
  const hash = await derive('argon2id', parameters(password, salt, HASH_BYTES, MEMORY_KIB, PASSES, LANES));
  return `$argon2id$v=${VERSION}$m=${MEMORY_KIB},t=${PASSES},p=${LANES}$${unpadded(salt)}$${unpadded(hash)}`;
}

/**
 * Whether the password is the one behind the hash. Takes as long when there is no hash to compare with, so that an account that does not
 * exist, or has no password, looks like a wrong password.
 * @param phc what {@link hashPassword} made, with these or other parameters.
 */
export async function verifyPassword(password: string, phc: string | null | undefined): Promise<boolean> {
  const match = PHC.exec(phc ?? NOBODY);
  if (match === null) throw new Error('the stored password hash is not Argon2id in PHC form');
  const [, memory, passes, lanes, salt = '', hash = ''] = match;
  const expected = Buffer.from(hash, 'base64');
  // What is longer than any password costs nothing but is wrong all the same.
  const given = await derive('argon2id', parameters(password.slice(0, 4 * MAX_LENGTH), Buffer.from(salt, 'base64'), expected.length, Number(memory), Number(passes), Number(lanes)));
  return timingSafeEqual(given, expected) && phc != null && password.length <= 4 * MAX_LENGTH;
}

/** Whether a hash was made with weaker parameters than today's, so that the next sign-in should renew it. */
export function isOutdated(phc: string): boolean {
  const match = PHC.exec(phc);
  return match === null || Number(match[1]) < MEMORY_KIB || Number(match[2]) < PASSES;
}

export interface PasswordContext {
  /** Words an attacker would try first: user name, address, names of the organisation. */
  readonly words: readonly (string | null | undefined)[];
  /** Whether the person also shows a second factor. */
  readonly secondFactor: boolean;
  /** JSON pointer of the field, for the error; default `/password`. */
  readonly path?: string;
}

/**
 * The policy (OWASP ASVS 5.0, V6.2): length counts, composition does not; no common password, none that is made of what anybody knows
 * about the person. Never shortened or changed before it is hashed.
 * @throws {HalError} `InvalidInput` saying what to do.
 */
export function assertAcceptable(password: string, { words, secondFactor, path = '/password' }: PasswordContext): void {
  const characters = Array.from(password).length;
  const least = secondFactor ? MIN_LENGTH_WITH_FACTOR : MIN_LENGTH_ALONE;
  const problem =
    characters < least
      ? `at least ${least} characters${secondFactor ? '' : `, or ${MIN_LENGTH_WITH_FACTOR} with a second factor`}`
      : characters > MAX_LENGTH
        ? `at most ${MAX_LENGTH} characters`
        : common().has(password.toLowerCase())
          ? 'this is one of the most used passwords'
          : isMadeOf(password, words)
            ? 'it is made of names that belong to you, your organisation or HAL9'
            : undefined;
  if (problem !== undefined) throw new HalError('InvalidInput', 'the password is not good enough', { errors: [{ path, message: problem }] });
}

let known: ReadonlySet<string> | undefined;

/** Some 18,000 of the most used passwords that are long enough to pass the length check. */
function common(): ReadonlySet<string> {
  known ??= new Set(dictionary['passwords-common'].filter((word) => word.length >= MIN_LENGTH_WITH_FACTOR));
  return known;
}

/** Whether hardly anything is left without the words and without repeating them. */
function isMadeOf(password: string, words: readonly (string | null | undefined)[]): boolean {
  const parts = ['hal9', 'password', ...words.flatMap((word) => (word ?? '').toLowerCase().split(/[^\p{L}\p{N}]+/u))].filter((part) => part.length >= 3);
  let rest = password.toLowerCase();
  for (const part of parts.sort((a, b) => b.length - a.length)) rest = rest.replaceAll(part, '');
  return rest.length < password.length && rest.replaceAll(/[^\p{L}]/gu, '').length < 4;
}

function parameters(password: string, nonce: Buffer, tagLength: number, memory: number, passes: number, parallelism: number): Argon2Parameters {
  return { message: password, nonce, tagLength, memory, passes, parallelism };
}

function unpadded(bytes: Buffer): string {
  return bytes.toString('base64').replaceAll('=', '');
}

/** Of nothing anybody knows: the work for accounts without a password. */
const NOBODY = `$argon2id$v=${VERSION}$m=${MEMORY_KIB},t=${PASSES},p=${LANES}$${unpadded(randomBytes(SALT_BYTES))}$${unpadded(randomBytes(HASH_BYTES))}`;
