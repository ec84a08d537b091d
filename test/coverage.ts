import { readdir, readFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import coverageLibrary from 'istanbul-lib-coverage';

/**
 * Line coverage over both worlds: what vitest saw in its own processes, and what V8 recorded in the shipped processes that the
 * end-to-end suites start. vitest says which lines count; a line is covered when either world ran it. Type stripping keeps
 * positions, so V8's offsets fit the TypeScript source.
 */

interface V8Range {
  startOffset: number;
  endOffset: number;
  count: number;
}
interface V8Script {
  url: string;
  functions: { ranges: V8Range[] }[];
}

export interface LineCoverage {
  percent: number;
  table: string;
}

export async function combinedLineCoverage(root: string, vitestFile: string, processFolder: string): Promise<LineCoverage> {
  const map = coverageLibrary.createCoverageMap(JSON.parse(await readFile(vitestFile, 'utf8')) as coverageLibrary.CoverageMapData);
  const lines = new Map<string, Map<number, boolean>>();
  for (const file of map.files()) {
    const hits = map.fileCoverageFor(file).getLineCoverage();
    lines.set(file, new Map(Object.entries(hits).map(([line, count]) => [Number(line), count > 0])));
  }
  for (const name of await readdir(processFolder)) {
    const scripts = (JSON.parse(await readFile(join(processFolder, name), 'utf8')) as { result: V8Script[] }).result;
    for (const script of scripts) {
      if (!script.url.startsWith('file://')) continue;
      const known = lines.get(fileURLToPath(script.url));
      if (known !== undefined) await markRun(script, known);
    }
  }
  return summarise(root, lines);
}

async function markRun(script: V8Script, known: Map<number, boolean>): Promise<void> {
  const source = await readFile(fileURLToPath(script.url), 'utf8');
  const run = new Uint8Array(source.length);
  // Ranges nest; the innermost one, which comes last, says how often the text ran.
  const ranges = script.functions.flatMap((entry) => entry.ranges).sort((a, b) => a.startOffset - b.startOffset || b.endOffset - a.endOffset);
  for (const range of ranges) run.fill(range.count > 0 ? 1 : 0, range.startOffset, range.endOffset);
  let line = 1;
  let ran = false;
  let blank = true;
  for (let offset = 0; offset <= source.length; offset += 1) {
    const character = source[offset] ?? '\n';
    if (character === '\n') {
      if (ran && !blank && known.get(line) === false) known.set(line, true);
      line += 1;
      ran = false;
      blank = true;
    } else if (character !== ' ') {
      blank = false;
      if (run[offset] === 1) ran = true;
    }
  }
}

function summarise(root: string, lines: Map<string, Map<number, boolean>>): LineCoverage {
  const folders = new Map<string, { total: number; covered: number }>();
  let total = 0;
  let covered = 0;
  const worst: { file: string; missing: number; total: number }[] = [];
  for (const [file, known] of lines) {
    const path = relative(root, file);
    const folder = path.split('/').slice(0, 2).join('/').replace(/\/[^/]+\.ts$/, '');
    const sum = folders.get(folder) ?? { total: 0, covered: 0 };
    const hit = [...known.values()].filter(Boolean).length;
    sum.total += known.size;
    sum.covered += hit;
    folders.set(folder, sum);
    total += known.size;
    covered += hit;
    worst.push({ file: path, missing: known.size - hit, total: known.size });
  }
  const rows = [...folders].sort(([a], [b]) => a.localeCompare(b)).map(([name, sum]) => `${name.padEnd(32)} ${percentage(sum.covered, sum.total)}  ${sum.covered}/${sum.total}`);
  const gaps = worst.sort((a, b) => b.missing - a.missing).slice(0, 12).map((entry) => `  ${entry.missing} of ${entry.total} lines not run: ${entry.file}`);
  return { percent: total === 0 ? 0 : (covered / total) * 100, table: ['line coverage by folder', ...rows, 'largest gaps', ...gaps].join('\n') };
}

function percentage(part: number, whole: number): string {
  return `${((part / Math.max(whole, 1)) * 100).toFixed(1).padStart(5)} %`;
}
