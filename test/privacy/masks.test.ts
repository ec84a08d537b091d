import { describe, expect, it } from 'vitest';
import { maskDocument, maskValue } from '../../platform/privacy/masks.ts';

const context = { key: Buffer.alloc(32, 7) };
const other = { key: Buffer.alloc(32, 8) };

describe('masking', () => {
  it('leaves null alone, but for constants', () => {
    for (const strategy of ['null', 'hash', 'hmac', 'format-preserving'] as const) expect(maskValue({ strategy }, null, null, context)).toBeNull();
    expect(maskValue({ strategy: 'constant', value: 0 }, null, null, context)).toBe('0');
    expect(maskValue({ strategy: 'null' }, 'x', null, context)).toBeNull();
  });

  it('hashes alike what was alike, under a key, within the column', () => {
    const masked = maskValue({ strategy: 'hmac' }, 'a@example.com', 20, context);
    expect(masked).toMatch(/^[0-9a-f]{20}$/);
    expect(maskValue({ strategy: 'hmac' }, 'a@example.com', 20, context)).toBe(masked);
    expect(maskValue({ strategy: 'hmac' }, 'a@example.com', 20, other)).not.toBe(masked);
    // FIPS 180-4, SHA-256 of "abc".
    expect(maskValue({ strategy: 'hash' }, 'abc', null, context)).toBe('ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
  });

  it('keeps formats and no character', () => {
    const value = 'Zoë 49-1234 ab!';
    const masked = maskValue({ strategy: 'format-preserving' }, value, null, context) ?? '';
    expect(masked).toMatch(/^[A-Z][a-z]{2} \d\d-\d{4} [a-z]{2}!$/);
    for (const [at, character] of Array.from(value).entries()) if (/[\p{L}\d]/u.test(character)) expect(Array.from(masked)[at]).not.toBe(character);
  });

  it('moves dates by one amount, and never by nothing', () => {
    const masking = { strategy: 'date-shift', maxDays: 10 } as const;
    const days = (from: string): number => (Date.parse(`${maskValue(masking, from, null, context)?.slice(0, 10) ?? ''}T00:00:00Z`) - Date.parse(`${from.slice(0, 10)}T00:00:00Z`)) / 86_400_000;
    expect(days('2024-02-28')).toBe(days('2024-12-31 10:00:00+00'));
    expect(Math.abs(days('2024-02-28'))).toBeGreaterThanOrEqual(1);
    expect(Math.abs(days('2024-02-28'))).toBeLessThanOrEqual(10);
    expect(maskValue(masking, '2024-12-31 10:11:12.5+00', null, context)).toMatch(/ 10:11:12\.5\+00$/);
    expect(maskValue(masking, 'infinity', null, context)).toBe('infinity');
  });

  it.each([
    [{ step: 10 }, '37', '30'], [{ step: 0.5 }, '1.7', '1.5'], [{ unit: 'month' }, '2024-05-17', '2024-05-01'], [{ unit: 'year' }, '2024-05-17 08:00:00', '2024-01-01'], [{ unit: 'decade' }, '1987-05-17', '1980-01-01'], [{ keep: 2 }, '80331', '80'],
  ] as const)('generalises by %o', (how, value, expected) => {
    expect(maskValue({ strategy: 'generalise', ...how }, value, null, context)).toBe(expected);
  });

  it('goes into documents and arrays, and keeps the digits of long numbers', () => {
    const text = '{"id":12345678901234567890,"user":{"mail":"a@b.c","tags":["x"]},"list":[{"mail":"d@e.f"},{"mail":null}]}';
    const masked = maskDocument(text, [{ path: ['user', 'mail'], masking: { strategy: 'null' } }, { path: ['list', 'mail'], masking: { strategy: 'constant', value: 'gone' } }, { path: ['absent', 'x'], masking: { strategy: 'null' } }], context);
    expect(masked).toBe('{"id":12345678901234567890,"user":{"mail":null,"tags":["x"]},"list":[{"mail":"gone"},{"mail":null}]}');
    expect(maskDocument('not json', [{ path: ['a'], masking: { strategy: 'null' } }], context)).toBe('not json');
    expect(maskDocument(null, [], context)).toBeNull();
  });
});
