import { execFile } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { resolveTool } from '../../deploy/local/tools.ts';

const ROOT = join(import.meta.dirname, '../..');
const FOLDER = join(ROOT, '.github/workflows');
const ACTIONLINT = {
  name: 'actionlint',
  version: '1.7.12',
  setting: 'HAL9_ACTIONLINT',
  module: { folder: join(ROOT, 'deploy/tools/actionlint'), package: 'github.com/rhysd/actionlint/cmd/actionlint', flags: ['-trimpath', '-ldflags', '-s -w'], minutes: 1 },
};

describe('the workflows of GitHub', () => {
  it('pass actionlint: syntax, expressions, inputs of actions, cron, permissions', { timeout: 300_000 }, async () => {
    const tool = await resolveTool(ACTIONLINT, { env: process.env, progress: (message) => process.stderr.write(`${message}\n`) });
    const files = (await readdir(FOLDER)).map((file) => join(FOLDER, file));
    expect(files).toHaveLength(5);
    const { stdout } = await promisify(execFile)(tool, ['-no-color', '-shellcheck=', '-pyflakes=', ...files], { cwd: ROOT }).catch((failure: { stdout: string }) => failure);
    expect(stdout).toBe('');
  });
});
