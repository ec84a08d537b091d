import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CompactSign, exportJWK, generateKeyPair, generateSecret, type JWK } from 'jose';
import { describe, expect, it } from 'vitest';
import { JwsError, verifyJws } from '../../platform/identity/jws.ts';

const DATA = process.env['HAL9_TEST_DATA'];
const FOLDER = DATA === undefined ? '' : join(DATA, 'wycheproof');
if (!existsSync(FOLDER)) console.log('NOT RUN: vectors of JSON Web Signatures; set HAL9_TEST_DATA to the folder that holds wycheproof/');

interface Vectors {
  testGroups: { public?: unknown; private?: unknown; tests: { tcId: number; comment: string; jws: unknown; result: 'valid' | 'invalid'; flags: string[] }[] }[];
}

/**
 * Vectors that contradict others or RFC 7515: 367 and 370 are the very text of 357, which is valid; 372 and 373 want characters accepted
 * that no base64url has, and a MAC over another text than the one sent; 346 is PS384 with a key whose `alg` is PS256, which 338 forbids.
 * The test below proves it of each.
 */
const CONTRADICTORY: Readonly<Record<number, 'same text as 357' | 'not base64url' | 'not the algorithm of the key'>> = { 346: 'not the algorithm of the key', 367: 'same text as 357', 370: 'same text as 357', 372: 'not base64url', 373: 'not base64url' };

function algorithmOf(jws: unknown): unknown {
  return (JSON.parse(Buffer.from(String(jws).split('.')[0] ?? '', 'base64url').toString()) as { alg: unknown }).alg;
}

async function accepts(jws: unknown, key: unknown): Promise<boolean> {
  // JSON serialization is declined.
  if (typeof jws !== 'string') return false;
  try {
    await verifyJws(jws, key);
    return true;
  } catch (error) {
    if (error instanceof JwsError) return false;
    throw error;
  }
}

describe.skipIf(!existsSync(FOLDER))('JWS of Wycheproof', () => {
  for (const [file, total] of [['json_web_signature_test.json', 275], ['json_web_key_test.json', 18]] as const) {
    it(`judges every vector of ${file}`, async () => {
      const { testGroups } = JSON.parse(readFileSync(join(FOLDER, file), 'utf8')) as Vectors;
      const wrong: string[] = [];
      let judged = 0;
      const texts = new Map(testGroups.flatMap(({ tests }) => tests.map(({ tcId, jws }) => [tcId, jws])));
      for (const group of testGroups) {
        for (const { tcId, comment, jws, result } of group.tests) {
          judged += 1;
          const right = await accepts(jws, group.public ?? group.private);
          const contradiction = file.includes('signature') ? CONTRADICTORY[tcId] : undefined;
          if (contradiction === 'same text as 357') expect([jws, right]).toEqual([texts.get(357), true]);
          else if (contradiction === 'not base64url') expect([/^[A-Za-z0-9_.-]+$/.test(String(jws)), right]).toEqual([false, false]);
          else if (contradiction === 'not the algorithm of the key') expect([algorithmOf(jws), (group.public as { alg: string }).alg, right]).toEqual(['PS384', 'PS256', false]);
          else if (right !== (result === 'valid')) wrong.push(`${tcId} ${comment}: should be ${result}`);
        }
      }
      expect(wrong).toEqual([]);
      expect(judged).toBe(total);
    });
  }
});

describe('JWS', () => {
  const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const sign = async (key: Parameters<CompactSign['sign']>[0], header: Record<string, unknown> & { alg: string }): Promise<string> => new CompactSign(Buffer.from('{"a":1}')).setProtectedHeader(header).sign(key);

  it('takes the algorithm from the key: none, confusion and other algorithms are refused', async () => {
    const { publicKey, privateKey } = await generateKeyPair('RS256', { extractable: true });
    const jwk: JWK = { ...(await exportJWK(publicKey)), alg: 'RS256', kid: 'one' };
    const good = await sign(privateKey, { alg: 'RS256', kid: 'one' });
    expect(Buffer.from((await verifyJws(good, jwk)).payload).toString()).toBe('{"a":1}');
    const [, payload = ''] = good.split('.');
    expect(await accepts(`${encode({ alg: 'none', kid: 'one' })}.${payload}.`, jwk)).toBe(false);
    expect(await accepts(`${encode({ alg: 'None', kid: 'one' })}.${payload}.AA`, jwk)).toBe(false);
    const confused = await sign(Buffer.from(JSON.stringify(jwk)), { alg: 'HS256', kid: 'one' });
    expect(await accepts(confused, jwk)).toBe(false);
    expect(await accepts(confused, { ...jwk, alg: undefined })).toBe(false);
    expect(await accepts(good, { ...jwk, alg: 'PS256' })).toBe(false);
  });

  it('never takes a key from the token', async () => {
    const { publicKey, privateKey } = await generateKeyPair('ES256', { extractable: true });
    const mine: JWK = { ...(await exportJWK((await generateKeyPair('ES256', { extractable: true })).publicKey)), kid: 'mine' };
    for (const extra of [{ jwk: await exportJWK(publicKey) }, { jku: 'https://127.0.0.1/keys' }, { x5c: ['AAAA'] }, { x5u: 'file:///etc/passwd' }]) {
      expect(await accepts(await sign(privateKey, { alg: 'ES256', ...extra }), await exportJWK(publicKey)), Object.keys(extra).join()).toBe(false);
      expect(await accepts(await sign(privateKey, { alg: 'ES256', kid: 'mine', ...extra }), mine)).toBe(false);
    }
  });

  it('finds a key by its name only, whatever the name looks like', async () => {
    const pairs = await Promise.all([generateKeyPair('ES256', { extractable: true }), generateKeyPair('ES256', { extractable: true })]);
    const [first, second] = pairs;
    const set = { keys: [{ ...(await exportJWK(first.publicKey)), kid: 'a' }, { ...(await exportJWK(second.publicKey)), kid: 'b' }] };
    expect(await accepts(await sign(first.privateKey, { alg: 'ES256', kid: 'a' }), set)).toBe(true);
    for (const kid of ['b', '../../dev/null', "a' or '1'='1", '__proto__', 'constructor', '']) expect(await accepts(await sign(first.privateKey, { alg: 'ES256', kid }), set), kid).toBe(false);
    expect(await accepts(await sign(first.privateKey, { alg: 'ES256' }), set)).toBe(false);
  });

  it('refuses sets that are ambiguous or leak', async () => {
    const { publicKey, privateKey } = await generateKeyPair('ES256', { extractable: true });
    const good = await sign(privateKey, { alg: 'ES256', kid: 'a' });
    const key = { ...(await exportJWK(publicKey)), kid: 'a' };
    const secret = { ...(await exportJWK(await generateSecret('HS256', { extractable: true }))), kid: 'b' };
    expect(await accepts(good, { keys: [key] })).toBe(true);
    expect(await accepts(good, { keys: [key, key] })).toBe(false);
    expect(await accepts(good, { keys: [key, secret] })).toBe(false);
    expect(await accepts(good, { keys: [{ ...(await exportJWK(privateKey)), kid: 'a' }] })).toBe(false);
    expect(await accepts(good, { keys: [] })).toBe(false);
    for (const no of [undefined, null, 'key', []]) expect(await accepts(good, no)).toBe(false);
  });
});
