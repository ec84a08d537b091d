import { execFile, spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { serveApi, type ServedApi } from '../clients/served-api.ts';

const ROOT = join(import.meta.dirname, '../..');

interface Ended {
  code: number;
  stdout: string;
  stderr: string;
}

describe('hal9 in a terminal', () => {
  let served: ServedApi;
  let folder: string;
  beforeAll(async () => {
    served = await serveApi();
    folder = await mkdtemp(join(tmpdir(), 'hal9-cli-'));
  });
  afterAll(async () => {
    await served.stop();
    await rm(folder, { recursive: true, force: true });
  });

  const environment = (more: Record<string, string> = {}): NodeJS.ProcessEnv => ({ PATH: process.env['PATH'], HOME: folder, NODE_V8_COVERAGE: process.env['NODE_V8_COVERAGE'], ...more });
  const run = (args: readonly string[], options: { env?: Record<string, string>; input?: string; script?: string } = {}): Promise<Ended> =>
    new Promise((resolve) => {
      const env = options.env ?? { HAL9_URL: served.url, HAL9_API_KEY: served.credential };
      const child = execFile(process.execPath, [join(ROOT, options.script ?? 'cli/main.ts'), ...args], { env: environment(env), timeout: 60_000 }, (error, stdout, stderr) =>
        resolve({ code: error === null ? 0 : Number(error.code ?? -1), stdout, stderr }),
      );
      child.stdin?.end(options.input ?? '');
    });
  const json = async (args: readonly string[]): Promise<unknown> => {
    const { code, stdout, stderr } = await run([...args, '--json']);
    expect(code, stderr).toBe(0);
    return JSON.parse(stdout);
  };

  it('keeps a profile only its owner can read, from a key that came by stdin', async () => {
    const login = await run(['login', '--url', served.url, '--profile', 'test'], { env: {}, input: `${served.credential}\n` });
    expect(login.code, login.stderr).toBe(0);
    const file = join(folder, '.config/hal9/config.json');
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect(await readFile(file, 'utf8')).toContain(served.credential);
    const listed = await run(['profiles', 'list'], { env: {} });
    expect(listed.stdout).toContain('test');
    expect(listed.stdout).not.toContain(served.credential);
    expect((await run(['keys', 'list'], { env: {} })).code).toBe(0);
    expect((await run(['keys', 'list', '--url', 'http://127.0.0.1:1'], { env: {} })).code, 'the key of a profile goes to its own address').toBe(7);
    expect((await run(['login', '--url', served.url], { env: {}, input: 'hal9_wrong' })).code).toBe(3);
    expect((await run(['logout', 'test'], { env: {} })).code).toBe(0);
    expect(await readFile(file, 'utf8')).not.toContain(served.credential);
  });

  it('runs an operation by its verb, whose options are the fields of its input', async () => {
    const done = await run(['run', 'greet', '--name', 'Ada', '--wait', '--limit', '30']);
    expect(done).toMatchObject({ code: 0 });
    expect(done.stdout).toContain('Good day, Ada.');
    const failed = await run(['run', 'greet', '--name', 'Ada', '--fail', '--wait', '--json']);
    expect(failed.code).toBe(1);
    expect(JSON.parse(failed.stdout)).toMatchObject({ status: 'failed', failure: { type: 'ActionRefused' } });
    expect((await run(['run', 'greet', '--help'])).stdout).toContain('--field');
    expect((await run(['run', 'greet', '--nmae', 'Ada'])).code).toBe(2);
    expect(await run(['run', 'greet', '--input', '-'], { input: '{"name": ""}' })).toMatchObject({ code: 2, stderr: expect.stringContaining('/input/name') });
  });

  // Some twenty processes, one after the other.
  it('follows, messages and ends runs', { timeout: 240_000 }, async () => {
    const { runId } = (await json(['run', 'greet', '--field', 'name=Ada', '--field', 'waitFor=true', '--tag', 'cli'])) as { runId: string };
    expect(await json(['query', runId, 'title'])).toBeNull();
    expect(await json(['update', runId, 'rename', '--field', 'name=Grace'])).toEqual({ before: 'Ada' });
    const watch = run(['watch', runId, '--limit', '60']);
    expect(await run(['signal', runId, 'proceed', '--field', 'title=Admiral'])).toMatchObject({ code: 0 });
    expect(await watch).toMatchObject({ code: 0, stdout: expect.stringContaining('Good day, Admiral Grace.') });
    expect(await json(['result', runId])).toMatchObject({ status: 'completed' });
    expect((await run(['describe', runId])).stdout).toMatch(/status\s+completed/);
    expect((await run(['history', runId])).stdout).toContain('compose');
    expect((await run(['list', '--tag', 'cli'])).stdout).toContain(runId);
    expect((await run(['list', '--tag', 'cli', '--since', '1h', '--origin', 'api'])).stdout).toContain(runId);
    expect((await run(['list', '--tag', 'cli', '--until', '1h'])).stdout.trim()).toBe('none');
    expect((await run(['list', '--since', 'yesterday'])).code).toBe(2);
    expect((await run(['signal', runId, 'proceed', '--field', 'title=x'])).code).toBe(5);
    const other = (await json(['run', 'greet', '--name', 'Bob', '--wait-for', '--priority', '2', '--memo', 'reason=a test', '--run-timeout', '60', '--concurrency-key', 'k', '--concurrency-limit', '3'])) as { runId: string };
    expect(await json(['describe', other.runId])).toMatchObject({ memo: { reason: 'a test' } });
    expect((await run(['run', 'greet', '--name', 'Bob', '--concurrency-key', 'k'])).code).toBe(2);
    expect((await run(['result', other.runId, '--limit', '0'])).code).toBe(8);
    expect((await run(['terminate', other.runId, '--reason', 'enough'])).code).toBe(0);
    expect((await run(['describe', 'greet~none'])).code).toBe(4);
  });

  it('leaves the run going when watching is interrupted', async () => {
    const { runId } = (await json(['run', 'greet', '--name', 'Ada', '--wait-for'])) as { runId: string };
    const child = spawn(process.execPath, [join(ROOT, 'cli/main.ts'), 'watch', runId], { env: environment({ HAL9_URL: served.url, HAL9_API_KEY: served.credential }) });
    let said = '';
    child.stderr.on('data', (chunk: Buffer) => {
      said += chunk.toString();
    });
    const ended = new Promise((resolve) => child.once('close', resolve));
    await expect.poll(() => said).toContain('started');
    child.kill('SIGINT');
    expect(await ended).toBe(130);
    expect(said).toContain('The run goes on');
    expect(await json(['describe', runId])).toMatchObject({ status: 'running' });
    expect((await run(['cancel', runId])).code).toBe(0);
  });

  it('sends signals from files and stdin and says which lines were refused', async () => {
    const line = (id: string) => JSON.stringify({ id, source: 'cli', type: 'test.line' });
    await writeFile(join(folder, 'one.ndjson'), `${line('1')}\n${line('2')}`);
    await writeFile(join(folder, 'two.ndjson'), `${line('3')}\n`);
    const sent = await run(['signals', 'send', join(folder, 'one.ndjson'), join(folder, 'two.ndjson'), '--json']);
    expect(JSON.parse(sent.stdout)).toMatchObject({ accepted: 3, duplicates: 0, rejected: 0 });
    const again = await run(['signals', 'send', '--json'], { input: `${line('3')}\nnonsense\n` });
    expect(JSON.parse(again.stdout)).toMatchObject({ accepted: 0, duplicates: 1, rejected: 1, rejections: [{ line: 2 }] });
    expect(again.code).toBe(1);
    expect((await run(['signals', 'send', join(folder, 'none.ndjson')])).code).toBe(2);
  });

  it('reaches operations by group and by id, those of this server too', async () => {
    const made = (await json(['keys', 'create', '--field', 'name=ci', '--field', 'scopes=["runs:read"]'])) as { id: string; secret: string };
    expect(await json(['keys', 'get', made.id])).toMatchObject({ name: 'ci' });
    expect(await json(['api', 'getApiKey', '--param', `id=${made.id}`])).toMatchObject({ name: 'ci' });
    expect(await json(['api', 'startGreet', '--field', 'input.name=Ada'])).toMatchObject({ operation: 'greet' });
    const all = await run(['keys', 'list', '--limit', '1', '--all', '--json']);
    expect(all.stdout.trim().split('\n').map((text) => (JSON.parse(text) as { id: string }).id)).toContain(made.id);
    expect((await run(['keys', 'list'], { env: { HAL9_URL: served.url, HAL9_API_KEY: made.secret } })).code).toBe(3);
    expect((await run(['api', 'nothing'])).code).toBe(2);
    expect((await run(['api', 'metrics'])).stdout).toContain('# HELP');
    expect((await run(['neurons', 'list'])).stdout.trim()).toBe('none');
  });

  it('completes words in bash, zsh and fish', async () => {
    for (const shell of ['bash', 'zsh', 'fish']) expect((await run(['completion', shell])).stdout).toContain('hal9');
    expect((await run(['complete', '--', 'keys', ''])).stdout).toMatch(/^rotate/m);
    const script = join(folder, 'completion.bash');
    await writeFile(script, (await run(['completion', 'bash'])).stdout);
    await new Promise<void>((resolve, reject) => execFile('bash', ['-n', script], (error) => (error === null ? resolve() : reject(error))));
  });

  it('starts by the plain launcher too', async () => {
    expect(await run(['keys', 'list', '--json'], { script: 'cli/hal9.js' })).toMatchObject({ code: 0 });
    expect((await run(['strat'], { script: 'cli/hal9.js' })).code).toBe(2);
    expect((await run(['keys', 'list'], { env: {} })).stderr).toContain('HAL9_URL');
  });
});
