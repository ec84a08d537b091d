import { randomBytes, randomUUID } from 'node:crypto';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { KeyError, KeyRing } from '../../platform/keys/key-ring.ts';
import { loadKeyRing } from '../../platform/keys/load.ts';

const master = (id: string) => ({ id, key: randomBytes(32) });
const org = randomUUID();

describe('key ring', () => {
  it('opens what it sealed, whatever it is', () => {
    const ring = new KeyRing([master('a')]);
    fc.assert(
      fc.property(fc.uint8Array(), fc.string(), fc.string(), (bytes, purpose, bound) => {
        expect(ring.open(org, purpose, ring.seal(org, purpose, bytes, bound), bound)).toEqual(Buffer.from(bytes));
      }),
    );
  });

  it('refuses another organisation, purpose, bound text, or ring', () => {
    const ring = new KeyRing([master('a')]);
    const sealed = ring.seal(org, 'connections', 'secret', 'row 1');
    expect(() => ring.open(randomUUID(), 'connections', sealed, 'row 1')).toThrow(KeyError);
    expect(() => ring.open(org, 'blobs', sealed, 'row 1')).toThrow(KeyError);
    expect(() => ring.open(org, 'connections', sealed, 'row 2')).toThrow(KeyError);
    expect(() => new KeyRing([master('a')]).open(org, 'connections', sealed, 'row 1')).toThrow(KeyError);
    expect(() => new KeyRing([master('b')]).open(org, 'connections', sealed, 'row 1')).toThrow('no master key "a"');
  });

  it('notices every changed byte', () => {
    const ring = new KeyRing([master('a')]);
    const sealed = ring.seal(org, 'x', 'some text');
    for (let at = 0; at < sealed.length; at += 1) {
      const changed = Buffer.from(sealed);
      changed[at] = (changed[at] ?? 0) ^ 1;
      expect(() => ring.open(org, 'x', changed), `byte ${at}`).toThrow(KeyError);
    }
    for (const length of [0, 1, 10, sealed.length - 1]) expect(() => ring.open(org, 'x', sealed.subarray(0, length))).toThrow(KeyError);
  });

  it('rotates: old data opens, new data uses the new key, ids stay', () => {
    const [old, fresh] = [master('old'), master('new')];
    const before = new KeyRing([old]);
    const after = new KeyRing([fresh, old]);
    const sealed = before.seal(org, 'x', 'text');
    expect(after.open(org, 'x', sealed).toString()).toBe('text');
    expect(after.sealedWith(after.seal(org, 'x', 'text'))).toBe('new');
    expect(before.sealedWith(sealed)).toBe('old');
    expect(after.hmac(org, 'id', 'key')).toEqual(before.hmac(org, 'id', 'key'));
    expect(() => new KeyRing([fresh]).open(org, 'x', sealed)).toThrow(KeyError);
  });

  it('makes ids that look like UUIDs and differ by organisation, purpose and text', () => {
    const ring = new KeyRing([master('a')]);
    const id = ring.hmacUuid(org, 'id', 'x');
    expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(new Set([id, ring.hmacUuid(randomUUID(), 'id', 'x'), ring.hmacUuid(org, 'other', 'x'), ring.hmacUuid(org, 'id', 'y'), ring.hmacUuid(org, 'id', 'x')]).size).toBe(4);
  });

  it('signs links that expire and cannot be changed', () => {
    const ring = new KeyRing([master('a')]);
    const token = ring.sign('approval', { runId: 'r', step: 1 }, new Date(Date.now() + 60_000));
    expect(token).toMatch(/^[A-Za-z0-9_.-]+$/);
    expect(ring.verify('approval', token)).toEqual({ runId: 'r', step: 1 });
    expect(() => ring.verify('sign-in', token)).toThrow(KeyError);
    expect(() => ring.verify('approval', token, new Date(Date.now() + 61_000))).toThrow('expired');
    const [body = '', id, signature] = token.split('.');
    const forged = Buffer.from(Buffer.from(body, 'base64url').toString().replace('"step":1', '"step":2')).toString('base64url');
    expect(() => ring.verify('approval', `${forged}.${id}.${signature}`)).toThrow('signature');
    for (const rubbish of ['', '.', '..', 'a.b.c', `${body}.a.`]) expect(() => ring.verify('approval', rubbish)).toThrow(KeyError);
  });

  it('refuses rings that are wrong, without showing a key', () => {
    const short = randomBytes(16).toString('base64');
    expect(() => KeyRing.parse(`a:${short}`)).toThrow('master key "a" is not 32 bytes');
    expect(() => KeyRing.parse(short)).toThrow(KeyError);
    expect(() => KeyRing.parse('')).toThrow(KeyError);
    const key = randomBytes(32).toString('base64');
    expect(() => KeyRing.parse(`a:${key},a:${key}`)).toThrow('twice');
    expect(KeyRing.parse(`b:${key}, a:${randomBytes(32).toString('base64')}`).ids).toEqual(['b', 'a']);
  });
});

describe('key file', () => {
  it('is made once, however many processes start, and readable by its owner only', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'hal9-keys-'));
    try {
      const config = { HAL9_DATA: folder, HAL9_MASTER_KEYS: undefined };
      const rings = await Promise.all(Array.from({ length: 8 }, () => loadKeyRing(config)));
      const hashes = rings.map((ring) => ring.hmac(org, 'x', 'y').toString('hex'));
      expect(new Set(hashes).size).toBe(1);
      expect((await stat(join(folder, 'keys', 'master'))).mode & 0o777).toBe(0o600);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});
