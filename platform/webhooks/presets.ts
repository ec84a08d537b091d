import { createHash, createHmac, createSecretKey, timingSafeEqual, type KeyObject } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { isRecord } from '../../schemas/signals/is-signal.ts';
import type { PresetName, WebhookSettings } from '../../schemas/rest/webhooks.ts';
import { StandardWebhook, standardKey, timestampRefusal } from './standard-webhooks.ts';

/** A delivery as it came: headers in lower case, the bytes of the body untouched. */
export interface Incoming {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

export type Proof = { readonly valid: true } | { readonly valid: false; readonly reason: string };

/** What a verified delivery says: an event, or a question that is answered at once. */
export type Message =
  | { readonly kind: 'event'; readonly id: string; readonly type: string; readonly subject?: string | undefined; readonly data: unknown }
  | { readonly kind: 'alerts'; readonly payload: Readonly<Record<string, unknown>> }
  | { readonly kind: 'challenge'; readonly answer: string };

const VALID: Proof = { valid: true };
const NO_MATCH: Proof = { valid: false, reason: 'the signature does not match' };
/** Of an address that does not exist. */
const NOBODYS = createSecretKey('no such hook', 'utf8');
const MISSING: Proof = { valid: false, reason: 'a header that proves the sender is missing' };

/** Headers that prove a sender, which the delivery log must not keep. */
const PROVING = /signature|authorization|cookie|token|secret|api-key/;

/** Headers worth keeping for people who read the log. */
export function tellableHeaders(headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers)
      .filter(([name]) => !PROVING.test(name))
      .slice(0, 50)
      .map(([name, value]) => [name, value.slice(0, 200)]),
  );
}

export function flatHeaders(headers: IncomingHttpHeaders): Record<string, string> {
  const flat: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers)) {
    if (value !== undefined) flat[name] = Array.isArray(value) ? value.join(', ') : value;
  }
  return flat;
}

/**
 * What deliveries of a preset are proved with. Made once for as long as a webhook is remembered: an HMAC with raw bytes or a text makes a
 * key object of them each time.
 * @throws {HalError} `InvalidInput` for a secret that the preset cannot use.
 */
export function provingKey(preset: PresetName, secret: string): KeyObject {
  return isStandard(preset) ? standardKey(secret) : createSecretKey(secret, 'utf8');
}

/**
 * Whether one of the live secrets made this delivery, about now. Every secret is tried and compared in constant time.
 * @param secrets of {@link provingKey}.
 * @param now Unix seconds.
 */
export function prove(settings: WebhookSettings, secrets: readonly KeyObject[], incoming: Incoming, now: number): Proof {
  const { headers, body } = incoming;
  switch (settings.preset) {
    case 'standard': {
      const verdict = new StandardWebhook(secrets).verify(body, { 'webhook-id': headers['webhook-id'], 'webhook-timestamp': headers['webhook-timestamp'], 'webhook-signature': headers['webhook-signature'] }, { now });
      return verdict.valid ? VALID : { valid: false, reason: verdict.reason.replaceAll('-', ' ') };
    }
    case 'github':
    case 'meta': return signed(secrets, headers['x-hub-signature-256'], { prefix: 'sha256=', algorithm: 'sha256', encoding: 'hex' }, [body]);
    case 'dropbox': return signed(secrets, headers['x-dropbox-signature'], { prefix: '', algorithm: 'sha256', encoding: 'hex' }, [body]);
    case 'slack': {
      const at = headers['x-slack-request-timestamp'];
      if (at === undefined) return MISSING;
      return late(at, now) ?? signed(secrets, headers['x-slack-signature'], { prefix: 'v0=', algorithm: 'sha256', encoding: 'hex' }, [`v0:${at}:`, body]);
    }
    case 'stripe': return stripe(secrets, headers['stripe-signature'], body, now);
    case 'hmac': {
      const form = { prefix: settings.prefix, algorithm: settings.algorithm, encoding: settings.encoding };
      if (settings.timestampHeader === undefined) return signed(secrets, headers[settings.header], form, [body]);
      const at = headers[settings.timestampHeader];
      if (at === undefined) return MISSING;
      return late(at, now) ?? signed(secrets, headers[settings.header], form, [`${at}.`, body]);
    }
    case 'alertmanager': return authorized(secrets, headers['authorization']);
  }
}

/**
 * Does the work of {@link prove} for an address that does not exist, so that neither the answer nor its time tells.
 */
export function proveNothing(incoming: Incoming): void {
  signed([NOBODYS], 'sha256=0', { prefix: 'sha256=', algorithm: 'sha256', encoding: 'hex' }, [incoming.body]);
}

/** What a verified delivery says. @returns undefined when its body cannot be read as the preset's. */
export function read(settings: WebhookSettings, incoming: Incoming): Message | undefined {
  const { headers } = incoming;
  const data = parsed(incoming);
  const fields = isRecord(data) ? data : {};
  const text = (value: unknown): string | undefined => (typeof value === 'string' && value !== '' ? value.slice(0, 200) : undefined);
  switch (settings.preset) {
    case 'standard': return { kind: 'event', id: headers['webhook-id'] ?? '', type: text(fields['type']) ?? 'webhook.received', data };
    case 'github': {
      const action = text(fields['action']);
      const event = text(headers['x-github-event']) ?? 'event';
      const repository = isRecord(fields['repository']) ? text(fields['repository']['full_name']) : undefined;
      return { kind: 'event', id: headers['x-github-delivery'] ?? fingerprint(incoming), type: `github.${event}${action === undefined ? '' : `.${action}`}`, subject: repository, data };
    }
    case 'stripe': return isRecord(data) ? { kind: 'event', id: text(fields['id']) ?? fingerprint(incoming), type: `stripe.${text(fields['type']) ?? 'event'}`, data } : undefined;
    case 'slack': {
      if (fields['type'] === 'url_verification' && typeof fields['challenge'] === 'string') return { kind: 'challenge', answer: fields['challenge'].slice(0, 1000) };
      const inner = isRecord(fields['event']) ? text(fields['event']['type']) : undefined;
      // Slack signs a retry anew; only events carry an id that stays.
      return { kind: 'event', id: text(fields['event_id']) ?? fingerprint(incoming, headers['x-slack-request-timestamp']), type: `slack.${inner ?? text(fields['type']) ?? 'request'}`, subject: text(fields['team_id']), data };
    }
    case 'meta': return { kind: 'event', id: fingerprint(incoming), type: `meta.${text(fields['object']) ?? 'event'}`, data };
    case 'dropbox': return { kind: 'event', id: fingerprint(incoming), type: 'dropbox.changed', data };
    case 'hmac': {
      const { idHeader, typeHeader, timestampHeader } = settings;
      const id = idHeader === undefined ? undefined : text(headers[idHeader]);
      const at = timestampHeader === undefined ? undefined : headers[timestampHeader];
      return { kind: 'event', id: id ?? fingerprint(incoming, at), type: (typeHeader === undefined ? undefined : text(headers[typeHeader])) ?? settings.type, data };
    }
    case 'alertmanager': return isRecord(data) && Array.isArray(data['alerts']) ? { kind: 'alerts', payload: data } : undefined;
  }
}

/**
 * Answers the GET by which some senders ask whether an address is theirs.
 * @returns the text to answer; undefined when the preset asks nothing, or not like this.
 */
export function handshake(settings: WebhookSettings, query: Readonly<Record<string, unknown>>): string | undefined {
  switch (settings.preset) {
    case 'meta': {
      const { 'hub.mode': mode, 'hub.verify_token': token, 'hub.challenge': challenge } = query;
      if (mode !== 'subscribe' || typeof token !== 'string' || typeof challenge !== 'string') return undefined;
      return sameText(token, settings.verifyToken) ? challenge.slice(0, 1000) : undefined;
    }
    case 'dropbox': return typeof query['challenge'] === 'string' ? query['challenge'].slice(0, 1000) : undefined;
    case 'standard':
    case 'github':
    case 'stripe':
    case 'slack':
    case 'hmac':
    case 'alertmanager': return undefined;
  }
}

/** Presets whose secrets are base64 with `whsec_`. */
export function isStandard(preset: PresetName): boolean {
  return preset === 'standard';
}

interface SignatureForm {
  readonly prefix: string;
  readonly algorithm: string;
  readonly encoding: 'hex' | 'base64';
}

function signed(secrets: readonly KeyObject[], header: string | undefined, { prefix, algorithm, encoding }: SignatureForm, parts: readonly (string | Buffer)[]): Proof {
  if (header === undefined || header === '') return MISSING;
  if (!header.startsWith(prefix)) return NO_MATCH;
  const given = Buffer.from(header.slice(prefix.length), encoding);
  return matches(secrets, given, algorithm, parts) ? VALID : NO_MATCH;
}

function matches(secrets: readonly KeyObject[], given: Buffer, algorithm: string, parts: readonly (string | Buffer)[]): boolean {
  let found = false;
  for (const secret of secrets) {
    const hmac = createHmac(algorithm, secret);
    for (const part of parts) hmac.update(part);
    const expected = hmac.digest();
    if (given.length === expected.length && timingSafeEqual(given, expected)) found = true;
  }
  return found;
}

function stripe(secrets: readonly KeyObject[], header: string | undefined, body: Buffer, now: number): Proof {
  if (header === undefined) return MISSING;
  const entries = header.split(',').map((entry) => entry.trim().split('=', 2));
  const at = entries.find(([name]) => name === 't')?.[1];
  if (at === undefined) return MISSING;
  const refusal = late(at, now);
  if (refusal !== undefined) return refusal;
  // While a secret is rotated Stripe sends a signature of each.
  const given = entries.flatMap(([name, value]) => (name === 'v1' && value !== undefined ? [Buffer.from(value, 'hex')] : []));
  return given.some((signature) => matches(secrets, signature, 'sha256', [`${at}.`, body])) ? VALID : NO_MATCH;
}

/** Alertmanager's `http_config.authorization` or `basic_auth`; the secret is the token or the password. */
function authorized(secrets: readonly KeyObject[], header: string | undefined): Proof {
  if (header === undefined) return MISSING;
  const [, scheme = '', value = ''] = /^(Bearer|Basic) +(\S+)$/i.exec(header) ?? [];
  const given = scheme.toLowerCase() === 'basic' ? Buffer.from(value, 'base64').toString('utf8').replace(/^[^:]*:/, '') : value;
  let found = false;
  for (const secret of secrets) if (sameText(given, secret.export())) found = true;
  return found && scheme !== '' ? VALID : NO_MATCH;
}

/** Compares digests, so that neither content nor length can be timed. */
function sameText(given: string, expected: string | Buffer): boolean {
  const digest = (text: string | Buffer): Buffer => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(given), digest(expected));
}

function late(at: string, now: number): Proof | undefined {
  const refusal = timestampRefusal(at, { now });
  return refusal === undefined ? undefined : { valid: false, reason: refusal.replaceAll('-', ' ') };
}

/** An id for a delivery whose sender gives none: the same content is the same delivery. */
function fingerprint({ body }: Incoming, at = ''): string {
  return createHash('sha256').update(`${at}.`).update(body).digest('hex');
}

/** JSON, the fields of a form (with Slack's `payload` read as JSON), or text. */
function parsed({ headers, body }: Incoming): unknown {
  const media = (headers['content-type'] ?? '').split(';', 1)[0]?.trim().toLowerCase() ?? '';
  const text = body.toString('utf8');
  if (media === 'application/x-www-form-urlencoded') {
    const fields = Object.fromEntries(new URLSearchParams(text));
    return fields['payload'] === undefined ? fields : (json(fields['payload']) ?? fields);
  }
  return json(text) ?? { text };
}

function json(text: string): unknown {
  try {
    const value: unknown = JSON.parse(text);
    return value;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
