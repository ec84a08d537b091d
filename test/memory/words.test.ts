import { describe, expect, it } from 'vitest';
import { wordsOf } from '../../platform/memory/words.ts';

describe('words of a memory', () => {
  it('are letters and digits in a row, once each, in any alphabet and case', () => {
    expect(wordsOf('Restart helped: web-1, WEB-1!')).toEqual(['restart', 'helped', 'web', '1']);
    expect(wordsOf('Straße ﬁel ΑΘΗΝΑ 東京')).toEqual(['straße', 'fiel', 'αθηνα', '東京']);
    expect(wordsOf('… -- !')).toEqual([]);
  });

  it('are found in texts and numbers at any depth, not in names of members', () => {
    expect(wordsOf({ what: 'disk full', more: [{ code: 507, ok: false, none: null }] })).toEqual(['disk', 'full', '507']);
  });

  it('are bounded in number and length', () => {
    expect(wordsOf(Array.from({ length: 2_000 }, (_, n) => `w${String(n)}`))).toHaveLength(500);
    expect(wordsOf('a'.repeat(1_000))).toEqual(['a'.repeat(64)]);
  });
});
