import { execFile } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { blocksOf, type Block } from '../docs/blocks.ts';
import { serveApi, type ServedApi } from './served-api.ts';

const ROOT = join(import.meta.dirname, '../..');
const PROGRAMS = join(import.meta.dirname, 'programs');
const PAGE = 'docs/how-to/python-and-go-clients.md';
const execute = promisify(execFile);

/** Generators are fetched or built on a fresh machine. */
const SETUP_MS = 600_000;

/** Lists follow the runs: what the page prints of one may still be empty. */
const otherThanListed = (line: string): boolean => !/^remediate~\S+ running$/.test(line);

/** The how-to, step by step, against a running API; then a program in each language for an operation of a person's own. */
describe('the Python and Go clients', () => {
  let folder: string;
  let served: ServedApi;
  let blocks: readonly Block[];
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'hal9-languages-'));
    served = await serveApi();
    blocks = (await blocksOf(ROOT, PAGE)).filter(({ language }) => language === 'bash');
    if (blocks.length !== 3) throw new Error(`${PAGE} has ${blocks.length} blocks`);
    await shell(blocks[0]?.code ?? '');
  }, SETUP_MS);
  afterAll(async () => {
    await served.stop();
    await rm(folder, { recursive: true, force: true });
  });

  async function shell(code: string, cwd = ROOT): Promise<string> {
    const script = join(folder, 'block.sh');
    await writeFile(script, `set -euo pipefail\n${code}`);
    const env = { ...process.env, PATH: [join(ROOT, 'node_modules/.bin'), process.env['PATH'], '/usr/local/go/bin'].join(delimiter), TMPDIR: folder, HAL9_URL: served.url, HAL9_API_KEY: served.credential, GOFLAGS: '-modcacherw' };
    return (await execute('bash', [script], { cwd, env, timeout: SETUP_MS, maxBuffer: 16 * 1024 * 1024 })).stdout;
  }

  it('Python: the how-to and a program', { timeout: SETUP_MS }, async () => {
    const lines = (await shell(blocks[1]?.code ?? '')).trim().split('\n');
    expect(lines.filter(otherThanListed)).toEqual(['the same run: True', 'signals: 2500', expect.stringMatching(/^NotFound 404 \S+/), 'ended: terminated']);
    expect(JSON.parse(await shell('"$TMPDIR/venv/bin/python" greet.py', PROGRAMS))).toEqual({
      open: true,
      outcome: ['completed', { greeting: 'Good day, Admiral Grace.' }],
      listed: [4, true],
      'open runs': 3,
      upload: [4, 0, 1, [4]],
      again: [0, 2],
      refused: ['InvalidInput', 422, false, ['/input/name'], true],
      'wrong key': 'Unauthenticated',
    });
  });

  it('Go: the how-to and a program', { timeout: SETUP_MS }, async () => {
    const lines = (await shell(blocks[2]?.code ?? '')).trim().split('\n');
    expect(lines.filter(otherThanListed)).toEqual([expect.stringMatching(/^NotFound 404 \S+/), 'ended: terminated']);
    await mkdir(join(folder, 'greet'));
    await copyFile(join(PROGRAMS, 'greet.go'), join(folder, 'greet/main.go'));
    for (const file of ['go.mod', 'go.sum']) await copyFile(join(folder, 'shop', file), join(folder, 'greet', file));
    expect(JSON.parse(await shell('go run .', join(folder, 'greet')))).toEqual({
      outcome: ['completed', { greeting: 'Good day, Admiral Grace.' }],
      listed: [4, 3],
      upload: [3, 1, 3],
      refused: ['InvalidInput', 422, false, '/input/name'],
      'wrong key': 'Unauthenticated',
    });
  });
});
