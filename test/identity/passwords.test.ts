import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { assertAcceptable, hashPassword, isOutdated, MAX_LENGTH, MIN_LENGTH_ALONE, MIN_LENGTH_WITH_FACTOR, verifyPassword } from '../../platform/identity/passwords.ts';

const words = ['ada.lovelace', 'ada@engines.example', 'Analytical Engines', 'engines'];
const refused = (password: string, secondFactor = true): boolean => {
  try {
    assertAcceptable(password, { words, secondFactor });
    return false;
  } catch {
    return true;
  }
};

describe('a password', () => {
  it('is judged by its length, 8 with a second factor and 15 alone, up to 128, and not by its composition', () => {
    expect([refused('xq7-tvk'), refused('xq7-tvkm')]).toEqual([true, false]);
    expect([refused('zwölf kleine gn', false), refused('zwölf kleine g', false)]).toEqual([false, true]);
    expect([MIN_LENGTH_WITH_FACTOR, MIN_LENGTH_ALONE]).toEqual([8, 15]);
    for (const password of ['qjxkvbzwmpfh', '83920174650293', '          ~  ~', '☃☃☄☄★★☆☆', 'QJXKVBZWMPFH', 'q'.repeat(64), 'Xy '.repeat(MAX_LENGTH / 3 - 1)]) expect([password, refused(password)]).toEqual([password, false]);
    expect(refused('x y'.repeat(50))).toBe(true);
  });

  it('is none of the most used ones, and not made of what anybody knows about the person', () => {
    for (const password of ['password1', 'Password1', 'iloveyou', '12345678', 'sunshine1', 'qwertyuiop']) expect([password, refused(password)]).toEqual([password, true]);
    for (const password of ['lovelace', 'Ada-Lovelace-1', 'engines2026!', 'hal9hal9', 'AnalyticalEngines', 'password-ada-1']) expect([password, refused(password)]).toEqual([password, true]);
    expect(refused('the engine that ada never saw')).toBe(false);
  });

  it('is right exactly as it was set: neither shortened, trimmed nor changed in case', async () => {
    const long = `Ünicode ${'x'.repeat(MAX_LENGTH - 9)}!`;
    const hash = await hashPassword(long);
    expect(hash).toMatch(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$/);
    expect(isOutdated(hash)).toBe(false);
    expect(await verifyPassword(long, hash)).toBe(true);
    for (const other of [long.slice(0, -1), `${long} `, ` ${long}`, long.toLowerCase(), long.normalize('NFD'), `${long}\0`, '']) expect([other, await verifyPassword(other, hash)]).toEqual([other, false]);
    expect(await hashPassword(long)).not.toBe(hash);
  }, 60_000);

  it('is wrong, whatever it is, where there is none', async () => {
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: 'binary', maxLength: 700 }), async (password) => {
        expect(await verifyPassword(password, null)).toBe(false);
      }),
      { numRuns: 10 },
    );
  }, 60_000);
});
