import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LineCutter, type Line } from '../../platform/signals/lines.ts';

function cut(bytes: Buffer, chunkBytes: number, maxLineBytes = 1000): Line[] {
  const cutter = new LineCutter({ maxLineBytes });
  const lines: Line[] = [];
  for (let start = 0; start < bytes.length; start += chunkBytes) lines.push(...cutter.push(bytes.subarray(start, start + chunkBytes)));
  return [...lines, ...cutter.end()];
}

describe('LineCutter', () => {
  it('finds the same lines however the bytes are cut into chunks', () => {
    const text = fc.string({ unit: fc.constantFrom('a', '{', ' ', '\r', 'ü', '🦉', '\n', '\n') });
    fc.assert(
      fc.property(text, fc.integer({ min: 1, max: 9 }), (body, chunkBytes) => {
        const expected = body
          .split('\n')
          .map((line, index) => ({ number: index + 1, text: line.endsWith('\r') ? line.slice(0, -1) : line }))
          .filter(({ text: line }) => line.trim() !== '');
        expect(cut(Buffer.from(body), chunkBytes)).toEqual(expected);
      }),
    );
  });

  it('names lines that are not UTF-8 and keeps their neighbours', () => {
    const body = Buffer.concat([Buffer.from('one\n'), Buffer.from([0xff, 0x61]), Buffer.from('\nthrée\n'), Buffer.from('🦉').subarray(0, 2)]);
    for (const chunkBytes of [1, 3, 100]) {
      expect(cut(body, chunkBytes)).toEqual([
        { number: 1, text: 'one' },
        { number: 2, problem: expect.stringContaining('not UTF-8') },
        { number: 3, text: 'thrée' },
        { number: 4, problem: expect.stringContaining('not UTF-8') },
      ]);
    }
  });

  it('names a line that is too long, without keeping it, and goes on behind it', () => {
    const body = Buffer.from(`${'a'.repeat(1000)}\n${'b'.repeat(1001)}\n${'c'.repeat(50_000)}\nd`);
    for (const chunkBytes of [7, 999, 1001, 4096, 100_000]) {
      const lines = cut(body, chunkBytes);
      expect(lines.map((line) => [line.number, line.text?.[0] ?? 'problem'])).toEqual([[1, 'a'], [2, 'problem'], [3, 'problem'], [4, 'd']]);
    }
  });

  it('drops a byte order mark', () => {
    expect(cut(Buffer.from('\ufeffone\ntwo'), 2)).toEqual([{ number: 1, text: 'one' }, { number: 2, text: 'two' }]);
  });
});
