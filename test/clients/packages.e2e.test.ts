import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ApiError, Hal9Client } from '../../clients/typescript/index.ts';
import { blocksOf } from '../docs/blocks.ts';

const ROOT = join(import.meta.dirname, '../..');
const PAGE = 'docs/how-to/own-operations.md';
const execute = promisify(execFile);
/** Packages are installed and a stack is started on machines of any speed. */
const LONG_MS = 900_000;

/** The packages as a stranger gets them: packed, installed in a folder that has nothing of the repository, and used as the how-to says, block by block. */
describe('the packed packages', () => {
  let folder: string;
  let project: string;
  let blocks: readonly string[];
  let served: ChildProcess | undefined;
  let environment: Record<string, string> = {};
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'hal9-stranger-'));
    // The database server is another user where this is root.
    await chmod(folder, 0o755);
    project = join(folder, 'guests');
    blocks = (await blocksOf(ROOT, PAGE)).map(({ code }) => code);
    if (blocks.length !== 5) throw new Error(`${PAGE} has ${blocks.length} blocks`);
    const output = await shell(blocks[0] ?? '', ROOT);
    if (!/greet-guest: the contracts load and the workflows build[^]*pass 2/.test(output)) throw new Error(output);
  }, LONG_MS);
  afterAll(async () => {
    if (served?.exitCode === null) {
      served.kill('SIGTERM');
      await once(served, 'exit');
    }
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  }, LONG_MS);

  /** A stranger's shell: nothing of the repository is on its PATH but the Node this test runs on. */
  async function shell(code: string, cwd = project): Promise<string> {
    const script = join(folder, 'block.sh');
    await writeFile(script, `set -euo pipefail\n${code}`);
    const run = execute('bash', [script], { cwd, timeout: LONG_MS, maxBuffer: 64 * 1024 * 1024, env: { ...strangers(), ...environment, TMPDIR: folder } });
    return (await run.catch((failure: { message: string; stdout: string; stderr: string }) => Promise.reject(new Error(`${failure.message}\n${failure.stdout.slice(-3000)}\n${failure.stderr.slice(-3000)}`)))).stdout;
  }

  function strangers(): NodeJS.ProcessEnv {
    // npm of a script tells those it starts where it is.
    const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('npm_') && !name.startsWith('HAL9_') && name !== 'NODE_OPTIONS'));
    return { ...env, npm_config_prefer_offline: 'true', npm_config_audit: 'false', npm_config_fund: 'false', PATH: [dirname(process.execPath), process.env['PATH']].join(delimiter) };
  }

  it('ship JavaScript and declarations, and no TypeScript sources', async () => {
    for (const name of ['hal9', '@hal9/client', '@hal9/sdk']) {
      const files = (await readdir(join(project, 'node_modules', name), { recursive: true })).filter((path) => !path.includes('node_modules'));
      expect(files.filter((path) => /(?<!\.d)\.ts$/.test(path)), name).toEqual([]);
      expect(files.some((path) => path.endsWith('.d.ts')), name).toBe(true);
    }
  });

  it('the client loads and type-checks, and so does the project', async () => {
    await writeFile(join(project, 'test/use.ts'), "import { Hal9Client, OPERATIONS } from '@hal9/client';\nconst client = new Hal9Client({ url: 'http://127.0.0.1:1', retries: 0 });\nconst name: string = await client.call('health', { params: {} }).then(() => '', (error: Error) => error.name);\nconsole.log(name, Object.keys(OPERATIONS).length > 100);\n");
    expect((await shell('node test/use.ts')).trim()).toBe('ConnectionError true');
    await shell('npm run -s typecheck && rm test/use.ts');
  });

  it('`hal9 init` changes nothing that is there', async () => {
    await expect(shell('npx hal9 init .')).rejects.toThrow('is not empty');
    expect(JSON.parse(await readFile(join(project, 'package.json'), 'utf8'))).toMatchObject({ name: 'guests', scripts: { start: 'hal9 start --operations .', test: 'hal9 check' }, dependencies: { hal9: expect.stringContaining('file:') } });
  });

  it('the faults of the demo are programs that run', async () => {
    const { stdout } = await execute(process.execPath, ['--input-type=module', '-e', "import { faultsOf } from 'hal9/deploy/local/demo/fault.js'; const [cpu] = faultsOf({ databaseUrl: '', kill: () => 0 }, process.cwd()); await cpu.inject(); const gone = await cpu.isGone(); await cpu.cleanUp(); console.log(gone, await cpu.isGone());"], { cwd: project });
    expect(stdout.trim()).toBe('false true');
  });

  it('asks people in an operation, tested without HAL9', async () => {
    const output = await shell(blocks[4] ?? '');
    expect(output).toMatch(/greet-guest, order-cake: the contracts load/);
    expect(output).toMatch(/pass 4/);
    await shell('npm run -s typecheck');
  }, LONG_MS);

  it('serves the project: commands, REST, OpenAPI, permissions', async () => {
    served = spawn(process.execPath, [join(project, 'node_modules/hal9/cli/hal9.js'), 'start', '--operations', '.', '--port', '0', '--data', join(folder, 'data')], { cwd: project, env: strangers(), stdio: ['ignore', 'pipe', 'inherit'] });
    environment = await addressOf(served);
    const [, , use] = blocks;
    const output = await shell(use ?? '');
    expect(output).toContain('Welcome, Ada.');
    expect(output).toMatch(/"operation":"greet-guest","status":"running"/);
    const client = new Hal9Client({ url: environment['HAL9_URL'] ?? '', credential: environment['HAL9_API_KEY'] ?? '' });
    const document = await client.call('openApi', { params: {} });
    expect(document['paths']).toHaveProperty('/v1/workflows/greet-guest/runs');
    expect(document['paths']).toHaveProperty('/v1/workflows/order-cake/runs');
    await expect(client.runs.start('greet-guest', { guest: '' })).rejects.toMatchObject({ type: 'InvalidInput', errors: [{ path: '/input/guest' }] });
    const reader = await withScopes(client, ['runs:read']);
    await expect(reader.runs.start('greet-guest', { guest: 'Ada' })).rejects.toMatchObject({ type: 'Forbidden' });
    const greeter = await withScopes(client, ['runs:write:type=greet-guest', 'runs:read']);
    expect(await greeter.runs.start('greet-guest', { guest: 'Ada' })).toMatchObject({ operation: 'greet-guest' });
    await expect(greeter.runs.start('order-cake', { guests: 1 })).rejects.toMatchObject({ type: 'Forbidden' });
  }, LONG_MS);

  it('asks people while it is served: those who may, each once, as many as it needs', async () => {
    const client = new Hal9Client({ url: environment['HAL9_URL'] ?? '', credential: environment['HAL9_API_KEY'] ?? '' });
    const { runId } = await client.runs.start('order-cake', { guests: 3 });
    const open = async () => (await client.call('listApprovals', { params: { state: 'open' } })).items.find((approval) => approval.runId === runId);
    await expect.poll(open, { timeout: 120_000 }).toMatchObject({ summary: 'Order a cake for 3?', permission: 'cakes:approve', required: 2 });
    const id = (await open())?.id ?? '';
    const approve = (as: Hal9Client) => as.call('approveApproval', { params: { id }, body: {} });
    const [stranger, one, other] = [await withScopes(client, ['approvals:write']), await withScopes(client, ['approvals:write', 'cakes:approve']), await withScopes(client, ['approvals:write', 'cakes:approve'])];
    await expect(approve(stranger)).rejects.toMatchObject({ type: 'Forbidden' });
    await approve(one);
    await expect(approve(one)).rejects.toBeInstanceOf(ApiError);
    await approve(other);
    expect(await client.runs.result(runId, { limitMs: 120_000 })).toEqual({ status: 'completed', result: { ordered: true, because: 'approved by 2 of 2' } });
  }, LONG_MS);

  it('keeps the history of a run, and refuses a workflow that could not go on with it', async () => {
    expect(await shell(blocks[3] ?? '')).toMatch(/1 histories replay[^]*pass 4/);
    const encrypted = join(project, 'test/histories/encrypted.json');
    const recorded = await readFile(join(project, 'test/histories/greet-guest-welcomed.json'), 'utf8');
    expect(recorded).not.toContain(Buffer.from('binary/encrypted').toString('base64').slice(0, 20));
    await writeFile(encrypted, recorded.replaceAll(/"encoding": "[^"]+"/g, `"encoding": "${Buffer.from('binary/encrypted').toString('base64')}"`));
    await expect(shell('npx hal9 check')).rejects.toThrow('is encrypted and the keys are not here');
    await rm(encrypted);
    const workflow = join(project, 'workflows/greet-guest/index.ts');
    await writeFile(workflow, (await readFile(workflow, 'utf8')).replace("  const greeting = await compose", "  await condition(() => false, '1 second');\n  const greeting = await compose"));
    await expect(shell('npx hal9 check')).rejects.toThrow(/greet-guest-welcomed\.json cannot go on with these workflows[^]*patched/);
  }, LONG_MS);

  async function withScopes(client: Hal9Client, scopes: string[]): Promise<Hal9Client> {
    const { secret } = await client.call('createApiKey', { params: {}, body: { name: scopes.join(' '), scopes } });
    return new Hal9Client({ url: environment['HAL9_URL'] ?? '', credential: secret });
  }
});

/** What the first start prints for people to copy. */
async function addressOf(child: ChildProcess): Promise<Record<string, string>> {
  let output = '';
  if (child.stdout === null) throw new Error('no output');
  for await (const chunk of child.stdout) {
    output += String(chunk);
    const [, url, key] = /export HAL9_URL=(\S+) HAL9_API_KEY=(\S+)/.exec(output) ?? [];
    if (url !== undefined && key !== undefined && output.includes('Ctrl-C stops everything')) {
      child.stdout.resume();
      return { HAL9_URL: url, HAL9_API_KEY: key };
    }
  }
  throw new Error(`it ended: ${output}`);
}
