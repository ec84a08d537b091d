import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Webhook } from 'standardwebhooks';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { StandardWebhook } from '../../platform/webhooks/standard-webhooks.ts';

const vectorSchema = z.array(
  z.object({
    name: z.string(),
    op: z.enum(['sign', 'verify']),
    secret: z.string(),
    id: z.string().nullable(),
    timestamp: z.string().nullable(),
    payload: z.string(),
    signature: z.string().nullable(),
    now: z.number(),
    toleranceSeconds: z.number(),
    enforceTimestamp: z.boolean(),
    valid: z.boolean(),
  }),
);
type Vector = z.output<typeof vectorSchema>[number];

const data = process.env['HAL9_TEST_DATA'];
const file = data === undefined ? undefined : join(data, 'webhooks', 'vectors.json');
const present = file !== undefined && existsSync(file);
if (!present) console.log('NOT RUN: vectors of Standard Webhooks; set HAL9_TEST_DATA to the folder that holds webhooks/');

const SECRET = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
const OTHER = 'whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD';
const NOW = 1_614_265_330;

function headers(id: string | undefined, at: string | undefined, signature: string | undefined) {
  return { 'webhook-id': id, 'webhook-timestamp': at, 'webhook-signature': signature };
}

function accepted(vector: Vector): boolean {
  try {
    const webhook = new StandardWebhook(vector.secret);
    if (vector.op === 'sign') return webhook.sign(vector.id ?? '', vector.timestamp ?? '', vector.payload) === vector.signature;
    return webhook.verify(vector.payload, headers(vector.id ?? undefined, vector.timestamp ?? undefined, vector.signature ?? undefined), vector).valid;
  } catch (error) {
    expect(error).toMatchObject({ type: 'InvalidInput' });
    return false;
  }
}

describe.skipIf(!present)('published vectors', () => {
  const vectors = present ? vectorSchema.parse(JSON.parse(readFileSync(file, 'utf8'))) : [];
  it('are there', () => expect(vectors).toHaveLength(28));
  it.each(vectors.map((vector) => ({ ...vector, label: `${vector.op}: ${vector.name}` })))('$label', (vector) => {
    expect(accepted(vector)).toBe(vector.valid);
  });
});

describe('Standard Webhooks', () => {
  const webhook = new StandardWebhook(SECRET);

  it('agrees with the reference library in both directions', () => {
    const reference = new Webhook(SECRET);
    const now = Math.floor(Date.now() / 1000);
    const body = '{"straße":"ñ"}';
    expect(webhook.sign('msg_1', now, body)).toBe(reference.sign('msg_1', new Date(now * 1000), body));
    const sent = { 'webhook-id': 'msg_1', 'webhook-timestamp': String(now), 'webhook-signature': webhook.sign('msg_1', now, body) };
    expect(reference.verify(body, sent)).toEqual({ straße: 'ñ' });
    expect(webhook.verify(Buffer.from(body), sent)).toEqual({ valid: true, id: 'msg_1', timestamp: now });
  });

  it('signs bytes as they are, not what they would be as text', () => {
    const bytes = Buffer.from([0xff, 0x00, 0xfe]);
    const signature = webhook.sign('a', NOW, bytes);
    expect(webhook.verify(bytes, headers('a', String(NOW), signature), { now: NOW }).valid).toBe(true);
    expect(webhook.verify(bytes.toString('utf8'), headers('a', String(NOW), signature), { now: NOW }).valid).toBe(false);
  });

  it('verifies with either of two live secrets and signs with both', () => {
    const both = new StandardWebhook([OTHER, SECRET]);
    const old = webhook.sign('a', NOW, '{}');
    expect(both.verify('{}', headers('a', String(NOW), old), { now: NOW }).valid).toBe(true);
    const [first, second] = both.sign('a', NOW, '{}').split(' ');
    expect(second).toBe(old);
    expect(first).toBe(new StandardWebhook(OTHER).sign('a', NOW, '{}'));
    expect(webhook.verify('{}', headers('a', String(NOW), `${first} ${second}`), { now: NOW }).valid).toBe(true);
    expect(webhook.verify('{}', headers('a', String(NOW), first), { now: NOW })).toEqual({ valid: false, reason: 'no-matching-signature' });
  });

  it.each([
    ['2', 'a', String(NOW - 300), undefined],
    ['2', 'a', String(NOW + 300), undefined],
    ['2', 'a', String(NOW - 301), 'timestamp-too-old'],
    ['2', 'a', String(NOW + 301), 'timestamp-too-new'],
    ['2', 'a', '', 'missing-header'],
    ['2', 'a', ' 1614265330', 'bad-timestamp'],
    ['2', 'a', '1614265330abc', 'bad-timestamp'],
    ['2', 'a', '-1', 'bad-timestamp'],
    ['2', 'a', '1e9', 'bad-timestamp'],
    ['2', 'a', '9'.repeat(16), 'bad-timestamp'],
    ['2', '', String(NOW), 'missing-header'],
  ])('payload %s, id %j, timestamp %j: %s', (payload, id, at, reason) => {
    const signature = /^\d{1,15}$/.test(at) ? webhook.sign(id, at, payload) : 'v1,x';
    expect(webhook.verify(payload, headers(id, at, signature), { now: NOW })).toEqual(reason === undefined ? { valid: true, id, timestamp: Number(at) } : { valid: false, reason });
  });

  it('skips entries of other versions and never takes one of them for a v1', () => {
    const signature = webhook.sign('a', NOW, '{}');
    expect(webhook.verify('{}', headers('a', String(NOW), `v1a,${signature.slice(3)}`), { now: NOW }).valid).toBe(false);
    expect(webhook.verify('{}', headers('a', String(NOW), `v1a,zz v2,yy ${signature}`), { now: NOW }).valid).toBe(true);
  });

  it('tells moved boundaries between id, timestamp and payload', () => {
    const signature = webhook.sign('a.1', NOW, '{}');
    expect(webhook.verify('{}', headers('a', String(NOW), signature), { now: NOW }).valid).toBe(false);
  });

  it.each([[''], ['whsec_'], ['whsec_=='], ['not base64!'], ['whsec_A'], ['whsec_AAAAA']])('refuses the secret %j when it is made', (secret) => {
    expect(() => new StandardWebhook(secret)).toThrow(expect.objectContaining({ type: 'InvalidInput' }));
  });

  it('refuses to be without a secret', () => {
    expect(() => new StandardWebhook([])).toThrow(expect.objectContaining({ type: 'InvalidInput' }));
  });

  it.each([[Number.NaN], [1.5], [-1]])('does not sign for the time %s', (at) => {
    expect(() => webhook.sign('a', at, '{}')).toThrow(expect.objectContaining({ type: 'InvalidInput' }));
  });
});
