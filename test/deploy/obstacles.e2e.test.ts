import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { resolveTool, temporalTool } from '../../deploy/local/tools.ts';
import { Launched, leftovers, refusal, removeFolder, temporaryFolder } from './launched.ts';

const ROOT = process.getuid?.() === 0;

/** What stands in the way is one sentence with the remedy, on stderr, and exit code 1 (2 for a wrong setting). */
describe('an obstacle', () => {
  const folder = temporaryFolder();
  let taken: Server;
  let port: number;

  beforeAll(async () => {
    taken = createServer();
    await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
    const address = taken.address();
    port = typeof address === 'object' && address !== null ? address.port : 0;
  });
  afterAll(async () => {
    await new Promise((resolve) => taken.close(resolve));
    removeFolder(folder);
  });

  it('a taken port names who has it and the setting', async () => {
    const { code, stderr } = await refusal(['start'], { HAL9_DATA: join(folder, 'a'), HAL9_PORT: String(port) });
    expect(stderr).toBe(`Port ${port} is taken by process ${process.pid} (node): stop it, or choose another with HAL9_PORT=NUMBER (HAL9_PORT=0 picks a free one and remembers it).`);
    expect(code).toBe(1);
  });

  it('a taken port of an embedded server that was asked for does too', async () => {
    const { stderr } = await refusal(['start'], { HAL9_DATA: join(folder, 'a'), HAL9_PORT: '0', HAL9_POSTGRES_PORT: String(port) });
    expect(stderr).toContain('choose another with HAL9_POSTGRES_PORT=NUMBER');
  });

  it('a data folder that is a file', async () => {
    writeFileSync(join(folder, 'file'), '');
    for (const path of ['file', 'file/below']) {
      const { stderr } = await refusal(['start'], { HAL9_DATA: join(folder, path), HAL9_PORT: '0' });
      expect(stderr).toBe(`The data folder ${join(folder, path)} is a file, or lies below one: set HAL9_DATA to a folder of yours.`);
    }
  });

  it('a cluster of another PostgreSQL', async () => {
    const data = join(folder, 'old');
    mkdirSync(join(data, 'postgres/data'), { recursive: true });
    writeFileSync(join(data, 'postgres/data/PG_VERSION'), '14\n');
    const { stderr } = await refusal(['start'], { HAL9_DATA: data, HAL9_PORT: '0' });
    expect(stderr).toMatch(/was made by PostgreSQL 14, and this HAL9 ships \d+: start the HAL9 it was made with/);
    expect(await leftovers(data, 100)).toEqual([]);
  });

  it('a database folder with something else in it', async () => {
    const data = join(folder, 'other');
    mkdirSync(join(data, 'postgres/data'), { recursive: true });
    writeFileSync(join(data, 'postgres/data/holiday.jpg'), '');
    const { stderr } = await refusal(['start'], { HAL9_DATA: data, HAL9_PORT: '0' });
    expect(stderr).toContain('holds no PostgreSQL cluster but is not empty: move its content away');
    expect(existsSync(join(data, 'postgres/data/holiday.jpg'))).toBe(true);
  });

  it('an executable that is none', async () => {
    const { stderr } = await refusal(['start'], { HAL9_DATA: join(folder, 'b'), HAL9_PORT: '0', HAL9_TEMPORAL_CLI: '/nowhere/temporal' });
    expect(stderr).toContain('HAL9_TEMPORAL_CLI names /nowhere/temporal, which is no executable file: correct the path');
  });

  it('a wrong setting, whose value is not repeated', async () => {
    const { code, stderr } = await refusal(['start'], { HAL9_DATA: join(folder, 'b'), HAL9_MASTER_KEYS: 'k1:hunter2' });
    expect(stderr).toMatch(/^A setting is wrong: HAL9_MASTER_KEYS: expected id:key/);
    expect(stderr).not.toContain('hunter2');
    expect(code).toBe(2);
  });

  it('an option, a command or a worker that does not exist', async () => {
    expect((await refusal(['start', '--prot', '1'], {})).stderr).toContain("Unknown option '--prot': use --operations DIR");
    expect((await refusal(['strat'], {})).stderr).toContain("unknown command 'strat'");
    expect((await refusal(['worker', 'nobody'], {})).stderr).toMatch(/^There is no worker nobody; there are: .*core/);
    expect((await refusal(['bench', 'nothing'], {})).stderr).toMatch(/^There is no bench nothing: there are: /);
  });

  it('a process run alone without its databases', async () => {
    for (const args of [['api'], ['worker', 'core'], ['worker', 'dispatcher']]) {
      const { code, stderr, stdout } = await refusal(args, { HAL9_DATA: join(folder, 'alone') });
      expect(`${stderr}${stdout}`).toMatch(/DATABASE_URL|TEMPORAL_ADDRESS/);
      expect(code).not.toBe(0);
    }
  });
});

describe.runIf(ROOT && process.platform === 'linux')('users', () => {
  const folder = temporaryFolder();
  const nobody = { uid: Number(execFileSync('id', ['-u', 'nobody'])), gid: Number(execFileSync('id', ['-g', 'nobody'])) };
  // Coverage goes to a folder that nobody may not write, which Node would complain about.
  const asNobody = ['env', '-u', 'NODE_V8_COVERAGE', 'setpriv', '--reuid', String(nobody.uid), '--regid', String(nobody.gid), '--clear-groups', 'node', 'deploy/local/launch.js'];
  let tool: string;
  const rooted: string[] = [];

  beforeAll(async () => {
    // nobody may not look into root's cache.
    tool = join(folder, 'temporal');
    execFileSync('cp', [await resolveTool(temporalTool(), { env: process.env, progress: (message) => process.stderr.write(`${message}\n`) }), tool]);
    chmodSync(tool, 0o755);
    mkdirSync(join(folder, 'home'));
    chownSync(join(folder, 'home'), nobody.uid, nobody.gid);
  });
  afterEach(() => {
    for (const path of rooted.splice(0)) rmSync(path, { recursive: true, force: true });
  });
  afterAll(() => removeFolder(folder));

  it('an ordinary user starts and stops the whole stack', async () => {
    const home = join(folder, 'home');
    const stack = new Launched(['start'], { HOME: home, HAL9_DATA: join(home, 'data'), HAL9_PORT: '0', HAL9_TEMPORAL_CLI: tool }, asNobody);
    const url = await stack.up();
    expect((await fetch(`${url}/readyz`)).status).toBe(200);
    await stack.end('SIGTERM');
    expect(await leftovers(home, 1000)).toEqual([]);
  });

  it('an ordinary user is told about a folder of root', async () => {
    const data = join(folder, 'roots');
    mkdirSync(data, { mode: 0o755 });
    const { stderr } = await refusal(['start'], { HOME: join(folder, 'home'), HAL9_DATA: data, HAL9_PORT: '0', HAL9_TEMPORAL_CLI: tool }, asNobody);
    expect(stderr).toBe(`The data folder ${data} cannot be written by nobody: give the folder to that user, or set HAL9_DATA to a folder of yours.`);
  });

  it('root may keep its data below a folder that only root may enter', async () => {
    const home = mkdtempSync(join(homedir(), '.hal9-test-'));
    chmodSync(home, 0o700);
    rooted.push(home);
    const env = { HAL9_DATA: join(home, 'data'), HAL9_PORT: '0' };
    const first = new Launched(['start'], env);
    await first.up();
    const key = /HAL9_API_KEY=(\S+)/.exec(first.stdout)?.[1] ?? '';
    await first.end('SIGTERM');
    const location = readFileSync(join(home, 'data/postgres/location'), 'utf8').trim();
    rooted.push(location);
    expect(location).toMatch(/^\/var\/lib\/hal9\/clusters\//);
    const second = new Launched(['start'], env);
    const url = await second.up();
    expect((await fetch(`${url}/v1/runs`, { headers: { authorization: `Bearer ${key}` } })).status).toBe(200);
    await second.end('SIGTERM');
    expect(await leftovers(home, 1000)).toEqual([]);
  });
});
