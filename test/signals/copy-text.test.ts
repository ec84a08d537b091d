import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { copyText } from '../../database/copy-text.ts';

/** PostgreSQL's own reading of the format, as its documentation has it. */
function readCopy(line: string): string[] {
  const plain: Readonly<Record<string, string>> = { b: '\b', f: '\f', n: '\n', r: '\r', t: '\t', v: '\v' };
  return line.split('\t').map((column) => column.replace(/\\(.)/gs, (_, escaped: string) => plain[escaped] ?? escaped));
}

describe('copyText', () => {
  it('is read back as it was, whatever the columns hold', () => {
    const awkward = fc.string({ unit: fc.constantFrom('\\', '\t', '\n', '\r', 'N', '.', 'n', 't', 'x41', '101', ' ', 'ü', '🦉', '"', '\b', '\v') });
    fc.assert(
      fc.property(fc.array(fc.oneof(awkward, fc.string({ unit: 'grapheme' })), { minLength: 1, maxLength: 5 }), (columns) => {
        const line = columns.map(copyText).join('\t');
        expect(line).not.toMatch(/[\n\r]/);
        expect(line).not.toBe('\\.');
        expect(readCopy(line)).toEqual(columns);
      }),
    );
  });

  it('leaves a text without specials alone', () => {
    expect(copyText('{"a":"b"}')).toBe('{"a":"b"}');
  });
});
