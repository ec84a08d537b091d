import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

const ROOT = join(import.meta.dirname, '../..');
const PAGE = readFileSync(join(ROOT, 'docs/reference/asvs.md'), 'utf8');

/** Every requirement of V6 to V10 and V16 of levels 1 and 2, by section, as OWASP ASVS 5.0.0 numbers them. */
const REQUIREMENTS = [
  '6.1.1 6.1.2 6.1.3',
  '6.2.1 6.2.2 6.2.3 6.2.4 6.2.5 6.2.6 6.2.7 6.2.8 6.2.9 6.2.10 6.2.11 6.2.12',
  '6.3.1 6.3.2 6.3.3 6.3.4',
  '6.4.1 6.4.2 6.4.3 6.4.4',
  '6.5.1 6.5.2 6.5.3 6.5.4 6.5.5',
  '6.6.1 6.6.2 6.6.3',
  '6.8.1 6.8.2 6.8.3 6.8.4',
  '7.1.1 7.1.2 7.1.3',
  '7.2.1 7.2.2 7.2.3 7.2.4',
  '7.3.1 7.3.2',
  '7.4.1 7.4.2 7.4.3 7.4.4 7.4.5',
  '7.5.1 7.5.2',
  '7.6.1 7.6.2',
  '8.1.1 8.1.2',
  '8.2.1 8.2.2 8.2.3',
  '8.3.1',
  '8.4.1',
  '9.1.1 9.1.2 9.1.3',
  '9.2.1 9.2.2 9.2.3 9.2.4',
  '10.1.1 10.1.2',
  '10.2.1 10.2.2',
  '10.3.1 10.3.2 10.3.3 10.3.4',
  '10.4.1 10.4.2 10.4.3 10.4.4 10.4.5 10.4.6 10.4.7 10.4.8 10.4.9 10.4.10 10.4.11',
  '10.5.1 10.5.2 10.5.3 10.5.4 10.5.5',
  '10.6.1 10.6.2',
  '10.7.1 10.7.2 10.7.3',
  '16.1.1',
  '16.2.1 16.2.2 16.2.3 16.2.4 16.2.5',
  '16.3.1 16.3.2 16.3.3 16.3.4',
  '16.4.1 16.4.2 16.4.3',
  '16.5.1 16.5.2 16.5.3',
].flatMap((section) => section.split(' '));

const STATES = new Set(['met', 'by setting', 'partly', 'left to you', 'not applicable']);

interface Row {
  readonly id: string;
  readonly level: string;
  readonly what: string;
  readonly state: string;
  readonly how: string;
  /** Path of the test's file and its title. */
  readonly tests: readonly (readonly [string, string])[];
}

function rows(): Row[] {
  return PAGE.split('\n').flatMap((line) => {
    if (!/^\| \d/.test(line)) return [];
    const [id = '', level = '', what = '', state = '', how = '', shown = ''] = line.slice(1, -1).split(' | ').map((cell) => cell.trim());
    const tests = shown === '' ? [] : shown.split('<br>').map((one) => [/^`([^`]+)`: /.exec(one)?.[1] ?? one, one.replace(/^`[^`]+`: /, '')] as const);
    return [{ id, level, what, state, how, tests }];
  });
}

describe('the table of OWASP ASVS', () => {
  it('has every requirement of its chapters and levels once, in order', () => {
    expect(REQUIREMENTS).toHaveLength(112);
    expect(rows().map(({ id }) => id)).toEqual(REQUIREMENTS);
    for (const { id, level, what, state } of rows()) expect([id, ['1', '2'].includes(level), what.length > 0, STATES.has(state)]).toEqual([id, true, true, true]);
  });

  it('says for each what shows it, or how, or why not', () => {
    for (const { id, tests, how } of rows()) expect([id, tests.length > 0 || how.length > 0]).toEqual([id, true]);
    for (const { id, state, how } of rows()) if (state !== 'met') expect([id, how.length > 0]).toEqual([id, true]);
    for (const { id, how } of rows()) for (const [, anchor = ''] of how.matchAll(/\(#([a-z-]+)\)/g)) expect([id, PAGE.toLowerCase().includes(`\n## ${anchor.replaceAll('-', ' ')}\n`)]).toEqual([id, true]);
  });

  it('names tests that are there', () => {
    const gone: string[] = [];
    const sources = new Map<string, string>();
    for (const { id, tests } of rows()) {
      for (const [path, title] of tests) {
        const source = sources.get(path) ?? readFileSync(join(ROOT, path), 'utf8').replaceAll("\\'", "'");
        sources.set(path, source);
        if (![`'${title}'`, `"${title}"`, `\`${title}\``].some((quoted) => source.includes(`(${quoted},`))) gone.push(`${id}: ${path}: ${title}`);
      }
    }
    expect(gone).toEqual([]);
    expect(rows().flatMap(({ tests }) => tests).length).toBeGreaterThan(80);
  });
});
