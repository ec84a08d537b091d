import { randomBytes, randomUUID } from 'node:crypto';
import { defaultPayloadConverter, type SerializationContext } from '@temporalio/common';
import { describe, expect, it } from 'vitest';
import { EncryptionCodec } from '../../platform/codec/payload-codec.ts';
import { KeyError, KeyRing } from '../../platform/keys/key-ring.ts';

const org = randomUUID();
const of = (orgId: string): SerializationContext => ({ type: 'workflow', namespace: 'default', workflowId: `${orgId}/greet/${randomUUID()}` });
const payload = (value: unknown) => defaultPayloadConverter.toPayload(value);
const ring = new KeyRing([{ id: 'k1', key: randomBytes(32) }]);

describe('encryption codec', () => {
  it.each([
    ['small', { name: 'Ada' }],
    ['large', { text: 'Ada '.repeat(10_000) }],
    ['incompressible', { text: randomBytes(3000).toString('base64') }],
    ['bytes', new Uint8Array(2000).fill(7)],
    ['nothing', undefined],
  ])('returns what it was given: %s', async (_name, value) => {
    const codec = new EncryptionCodec(ring);
    const encoded = await codec.encode([payload(value)], of(org));
    const decoded = await codec.decode(encoded, of(org));
    expect(decoded.map((one) => defaultPayloadConverter.fromPayload(one))).toEqual([value]);
  });

  it('leaves nothing readable, and names key and organisation', async () => {
    const [encoded] = await new EncryptionCodec(ring).encode([payload({ canary: 'Ada Lovelace' })], of(org));
    const text = Buffer.from(encoded?.data ?? []).toString('latin1');
    expect(text).not.toContain('Ada');
    expect(text).not.toContain('json');
    const metadata = Object.fromEntries(Object.entries(encoded?.metadata ?? {}).map(([key, bytes]) => [key, Buffer.from(bytes).toString()]));
    expect(metadata).toEqual({ encoding: 'binary/encrypted', 'encryption-key-id': 'k1', 'encryption-scope': org, 'encryption-compression': 'none' });
  });

  it('shrinks large payloads', async () => {
    const large = payload({ text: 'Ada '.repeat(10_000) });
    const [encoded] = await new EncryptionCodec(ring).encode([large], of(org));
    expect(encoded?.data?.length).toBeLessThan(2000);
  });

  it('refuses the payload of another organisation, also when its scope is forged', async () => {
    const codec = new EncryptionCodec(ring);
    const [encoded] = await codec.encode([payload('secret')], of(org));
    const other = randomUUID();
    await expect(codec.decode([encoded ?? {}], of(other))).rejects.toThrow('another organisation');
    const forged = { ...encoded, metadata: { ...encoded?.metadata, 'encryption-scope': Buffer.from(other) } };
    await expect(codec.decode([forged], of(other))).rejects.toThrow(KeyError);
  });

  it('refuses changed bytes and an unknown key', async () => {
    const codec = new EncryptionCodec(ring);
    const [encoded] = await codec.encode([payload('secret')], of(org));
    const data = Buffer.from(encoded?.data ?? []);
    data[data.length - 1] = (data.at(-1) ?? 0) ^ 1;
    await expect(codec.decode([{ ...encoded, data }], of(org))).rejects.toThrow(KeyError);
    await expect(new EncryptionCodec(new KeyRing([{ id: 'k2', key: randomBytes(32) }])).decode([encoded ?? {}], of(org))).rejects.toThrow('no master key "k1"');
    const swapped = { ...encoded, metadata: { ...encoded?.metadata, 'encryption-compression': Buffer.from('gzip') } };
    await expect(codec.decode([swapped], of(org))).rejects.toThrow(KeyError);
  });

  it('decodes without a context, as the codec endpoint does, and passes what is not encrypted', async () => {
    const codec = new EncryptionCodec(ring);
    const encoded = await codec.encode([payload('a')], of(org));
    const decoded = await codec.decode([...encoded, payload('b')]);
    expect(decoded.map((one) => defaultPayloadConverter.fromPayload(one))).toEqual(['a', 'b']);
  });

  it('still reads after a rotation', async () => {
    const old = { id: 'k1', key: randomBytes(32) };
    const encoded = await new EncryptionCodec(new KeyRing([old])).encode([payload('a')], of(org));
    const rotated = new EncryptionCodec(new KeyRing([{ id: 'k2', key: randomBytes(32) }, old]));
    expect((await rotated.decode(encoded, of(org))).map((one) => defaultPayloadConverter.fromPayload(one))).toEqual(['a']);
  });
});
