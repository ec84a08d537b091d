import { readdir, readFile } from 'node:fs/promises';
import { join, relative } from 'node:path';

/** A fenced code block of a documentation page. */
export interface Block {
  page: string;
  /** 1-based line of the fence. */
  line: number;
  language: string;
  /** What follows the language on the fence line, `key=value` words. */
  options: Readonly<Record<string, string>>;
  code: string;
}

/** All pages of the documentation with the README, as paths relative to the root. */
export async function pages(root: string): Promise<string[]> {
  const entries = await readdir(join(root, 'docs'), { recursive: true, withFileTypes: true });
  const found = entries.filter((entry) => entry.isFile() && entry.name.endsWith('.md')).map((entry) => relative(root, join(entry.parentPath, entry.name)));
  return ['README.md', ...found.sort()];
}

export async function blocksOf(root: string, page: string): Promise<Block[]> {
  const lines = (await readFile(join(root, page), 'utf8')).split('\n');
  const blocks: Block[] = [];
  let open: { line: number; language: string; options: Record<string, string>; code: string[]; indent: string } | undefined;
  for (const [index, line] of lines.entries()) {
    const fence = /^(\s*)```(.*)$/.exec(line);
    if (fence === null) {
      open?.code.push(line.startsWith(open.indent) ? line.slice(open.indent.length) : line);
    } else if (open === undefined) {
      const [language = '', ...words] = (fence[2] ?? '').trim().split(/\s+/);
      const options = Object.fromEntries(words.filter(Boolean).map((word) => word.split('=', 2) as [string, string]));
      open = { line: index + 1, language, options, code: [], indent: fence[1] ?? '' };
    } else {
      blocks.push({ page, line: open.line, language: open.language, options: open.options, code: open.code.join('\n') });
      open = undefined;
    }
  }
  if (open !== undefined) throw new Error(`${page}:${open.line}: the code block is not closed`);
  return blocks;
}
