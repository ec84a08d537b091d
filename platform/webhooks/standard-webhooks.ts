import { createHmac, createSecretKey, timingSafeEqual, type KeyObject } from 'node:crypto';
import { HalError } from '../../schemas/errors.ts';

/** The three headers of Standard Webhooks; undefined where the request has none. */
export interface StandardWebhookHeaders {
  readonly 'webhook-id': string | undefined;
  readonly 'webhook-timestamp': string | undefined;
  readonly 'webhook-signature': string | undefined;
}

export interface VerifyOptions {
  /** Unix time in seconds; default: the clock of this machine. */
  readonly now?: number;
  /** How far the timestamp may lie from `now` on either side, seconds; default 300. */
  readonly toleranceSeconds?: number;
  /** False to accept a timestamp of any age; it must still be a whole number and signed. Default true. */
  readonly enforceTimestamp?: boolean;
}

export type SignatureRefusal = 'missing-header' | 'bad-timestamp' | 'timestamp-too-old' | 'timestamp-too-new' | 'no-matching-signature';

export type SignatureVerdict = { readonly valid: true; readonly id: string | undefined; readonly timestamp: number | undefined } | { readonly valid: false; readonly reason: SignatureRefusal };

/** Five minutes, as the specification advises against replays. */
export const TOLERANCE_SECONDS = 300;
const PREFIX = 'whsec_';
const WHOLE_NUMBER = /^\d{1,15}$/;

/**
 * Signs and verifies messages of Standard Webhooks 1.0
 * (https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md): HMAC-SHA256 over
 * `id.timestamp.payload`, byte for byte.
 */
export class StandardWebhook {
  readonly #keys: readonly KeyObject[];

  /**
   * @param secrets base64 with or without `whsec_` and padding, or what {@link standardKey} made of it. The first signs first; any of them
   *   verifies: that is how a secret is rotated.
   * @throws {HalError} `InvalidInput` when one is empty or not base64, or there is none.
   */
  constructor(secrets: string | readonly (string | KeyObject)[]) {
    this.#keys = (typeof secrets === 'string' ? [secrets] : secrets).map((secret) => (typeof secret === 'string' ? standardKey(secret) : secret));
    if (this.#keys.length === 0) throw new HalError('InvalidInput', 'a webhook needs a secret');
  }

  /**
   * The value of `webhook-signature`: an entry for each secret, separated by spaces.
   * @param timestamp Unix time in whole seconds.
   * @throws {HalError} `InvalidInput` when the timestamp is not a whole number.
   */
  sign(id: string, timestamp: number | string, payload: string | Uint8Array): string {
    const at = String(timestamp);
    if (!WHOLE_NUMBER.test(at)) throw new HalError('InvalidInput', 'the timestamp of a webhook is a whole number of seconds');
    return this.#keys.map((key) => `v1,${digest(key, id, at, payload)}`).join(' ');
  }

  /** Whether one `v1` entry was made with one of the secrets, at about this time. Compares in constant time. */
  verify(payload: string | Uint8Array, headers: StandardWebhookHeaders, options: VerifyOptions = {}): SignatureVerdict {
    const id = headers['webhook-id'];
    const at = headers['webhook-timestamp'];
    const signature = headers['webhook-signature'];
    if (!id || !at || !signature) return { valid: false, reason: 'missing-header' };
    const late = options.enforceTimestamp === false ? wholeNumber(at) : timestampRefusal(at, options);
    if (late !== undefined) return { valid: false, reason: late };
    const sent = signature.split(' ').flatMap((entry) => (entry.startsWith('v1,') ? [Buffer.from(entry.slice(3))] : []));
    const matches = this.#keys.map((key) => Buffer.from(digest(key, id, at, payload))).some((expected) => sent.some((given) => sameBytes(given, expected)));
    return matches ? { valid: true, id, timestamp: Number(at) } : { valid: false, reason: 'no-matching-signature' };
  }
}

/** Why a timestamp as sent is refused at this time; undefined when it is fine. */
export function timestampRefusal(text: string, { now = Date.now() / 1000, toleranceSeconds = TOLERANCE_SECONDS }: Pick<VerifyOptions, 'now' | 'toleranceSeconds'>): SignatureRefusal | undefined {
  const malformed = wholeNumber(text);
  if (malformed !== undefined) return malformed;
  const seconds = Math.floor(now);
  if (Number(text) < seconds - toleranceSeconds) return 'timestamp-too-old';
  return Number(text) > seconds + toleranceSeconds ? 'timestamp-too-new' : undefined;
}

/** Constant time for values of the same length; the length of a signature is no secret. */
export function sameBytes(given: Uint8Array, expected: Uint8Array): boolean {
  return given.length === expected.length && timingSafeEqual(given, expected);
}

function wholeNumber(text: string): SignatureRefusal | undefined {
  return WHOLE_NUMBER.test(text) ? undefined : 'bad-timestamp';
}

function digest(key: KeyObject, id: string, at: string, payload: string | Uint8Array): string {
  return createHmac('sha256', key).update(`${id}.${at}.`).update(payload).digest('base64');
}

/**
 * The key of a secret, to be kept where many messages are verified: of raw bytes Node makes a key object anew for each HMAC, which costs more than
 * the HMAC of a small message.
 * @throws {HalError} `InvalidInput` when the secret is empty or not base64.
 */
export function standardKey(secret: string): KeyObject {
  const text = secret.startsWith(PREFIX) ? secret.slice(PREFIX.length) : secret;
  if (text === '') throw new HalError('InvalidInput', 'the secret of a webhook is empty');
  const bare = text.replace(/={1,2}$/, '');
  if (!/^[A-Za-z0-9+/]+$/.test(bare) || bare.length % 4 === 1) throw new HalError('InvalidInput', 'the secret of a webhook is base64, with or without whsec_');
  return createSecretKey(bare, 'base64');
}
