import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseDocument } from 'yaml';
import { blocksOf, pages } from './blocks.ts';

const ROOT = join(import.meta.dirname, '../..');
/** `bash` runs in pages.e2e.test.ts; `json` and `yaml` must parse; `text` is output or a picture in letters, never something to type. */
const LANGUAGES = ['bash', 'json', 'yaml', 'ts', 'text'];

describe('code blocks of the documentation', async () => {
  for (const page of await pages(ROOT)) {
    it(`${page} has only blocks that a test can run`, async () => {
      for (const block of await blocksOf(ROOT, page)) {
        const where = `${block.page}:${block.line}`;
        expect(LANGUAGES, `${where}: language "${block.language}"`).toContain(block.language);
        if (block.language === 'yaml') expect(parseDocument(block.code).errors, where).toEqual([]);
        if (block.language === 'json') expect(() => JSON.parse(block.code) as unknown, where).not.toThrow();
        const coveredBy = block.options['covered-by'];
        if (coveredBy !== undefined) expect(existsSync(join(ROOT, coveredBy)), `${where}: ${coveredBy} does not exist`).toBe(true);
      }
    });
  }
});
