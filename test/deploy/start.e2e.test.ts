import { readFileSync } from 'node:fs';
import { availableParallelism, loadavg } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { Launched, leftovers, processesOf, refusal, removeFolder, temporaryFolder } from './launched.ts';

interface RecordedProcess {
  name: string;
  pid: number;
}

function recorded(data: string): Map<string, number> {
  const list: RecordedProcess[] = JSON.parse(readFileSync(join(data, 'processes.json'), 'utf8'));
  return new Map(list.map(({ name, pid }) => [name, pid]));
}

async function ready(url: string, limitMs: number): Promise<boolean> {
  const deadline = Date.now() + limitMs;
  while (Date.now() < deadline) {
    const ok = await fetch(`${url}/readyz`, { signal: AbortSignal.timeout(2000) }).then((response) => response.ok, () => false);
    if (ok) return true;
    await sleep(100);
  }
  return false;
}

const picture = z.object({
  state: z.string(),
  components: z.array(z.object({ name: z.string(), state: z.string(), causes: z.array(z.string()) })),
  recoveries: z.array(z.object({ component: z.string(), action: z.string(), outcome: z.string() })),
});

async function health(url: string, key: string): Promise<z.output<typeof picture>> {
  const response = await fetch(`${url}/v1/health/components?recoveries=50`, { headers: { authorization: `Bearer ${key}` } });
  expect(response.status).toBe(200);
  return picture.parse(await response.json());
}

describe('npm start', () => {
  const folder = temporaryFolder();
  const data = join(folder, 'data');
  const env = { HAL9_DATA: data, HAL9_PORT: '0' };
  let stack: Launched;
  let url: string;
  let key: string;

  beforeAll(async () => {
    stack = new Launched(['run', '-s', 'start'], env, ['npm']);
    url = await stack.up();
    key = /HAL9_API_KEY=(\S+)/.exec(stack.stdout)?.[1] ?? '';
  });
  afterAll(async () => {
    stack.child.kill('SIGKILL');
    await leftovers(data, 15_000);
    removeFolder(folder);
  });

  it('shows the administrator key that works, once, and three lines to copy', async () => {
    expect(key).toMatch(/^hal9_/);
    const answer = await fetch(`${url}/v1/runs`, { headers: { authorization: `Bearer ${key}` } });
    expect(answer.status).toBe(200);
    for (const line of ['Start a run:', 'Watch it:', 'Open the UI:']) expect(stack.stdout).toContain(line);
    const link = /Make the owner's account \(once, within a week\): (\S+)/.exec(stack.stdout)?.[1] ?? '';
    expect(link.startsWith(`${url}/invitations/`)).toBe(true);
    const page = await fetch(link, { headers: { accept: 'text/html' } });
    expect([page.status, page.headers.get('cache-control')]).toEqual([200, 'no-store']);
    expect(stack.stderr).toBe('');
  });

  it('has the commands of those lines work', async () => {
    const body = /-d '(.*)'/.exec(stack.stdout)?.[1] ?? '';
    const path = /-X POST \$HAL9_URL(\S+)/.exec(stack.stdout)?.[1] ?? '';
    const run = await fetch(`${url}${path}`, { method: 'POST', headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' }, body });
    expect([200, 201, 202]).toContain(run.status);
    const ui = /Open the UI: +(\S+)/.exec(stack.stdout)?.[1] ?? '';
    const page = await fetch(ui, { headers: { accept: 'text/html' } });
    expect([page.status, new URL(page.url).pathname]).toEqual([200, '/sign-in']);
  });

  it('refuses a second stack in the same folder with the remedy', async () => {
    const { code, stderr } = await refusal(['start'], env);
    expect(stderr).toMatch(/^HAL9 already runs in \S+ \(process \d+\): stop it first, or start a second one with HAL9_DATA=OTHER-FOLDER HAL9_PORT=0\.$/);
    expect(code).toBe(1);
  });

  it('reports every part as healthy', async () => {
    await expect.poll(async () => (await health(url, key)).state, { interval: 500 }).toBe('healthy');
    // Workers and agents are named with their host and process id.
    const names = (await health(url, key)).components.map(({ name }) => name.replace(/^agent\/.*/, 'agent').replace(/^(worker\/[^/]+)\/.*/, '$1'));
    expect(names).toEqual(['agent', 'api', 'audit-log', 'browser', 'consumers', 'core-1', 'dispatcher', 'host', 'postgres', 'temporal', 'worker/browser', 'worker/consumers', 'worker/core', 'worker/dispatcher']);
  });

  it.each(['core-1', 'dispatcher', 'host', 'api', 'temporal', 'postgres'])('brings %s back after kill -9, and records it', async (name) => {
    const before = recorded(data).get(name) ?? 0;
    process.kill(before, 'SIGKILL');
    await expect.poll(() => recorded(data).get(name) ?? before, { interval: 100 }).not.toBe(before);
    expect(await ready(url, 30_000)).toBe(true);
    await expect
      .poll(async () => (await health(url, key)).recoveries.filter(({ component }) => component === name).map(({ action, outcome }) => `${action} ${outcome}`), { timeout: 30_000, interval: 500 })
      .toContain('restart succeeded');
    await expect.poll(async () => (await health(url, key)).state, { timeout: 30_000, interval: 500 }).toBe('healthy');
  });

  it('names the sick dependency of those it degrades', async () => {
    const pid = recorded(data).get('temporal') ?? 0;
    process.kill(pid, 'SIGSTOP');
    try {
      await expect
        .poll(async () => (await health(url, key)).components.filter(({ causes }) => causes.includes('temporal')).map(({ name, state }) => `${name} ${state}`), { timeout: 30_000, interval: 500 })
        .toEqual(expect.arrayContaining(['core-1 degraded', 'dispatcher degraded']));
    } finally {
      process.kill(pid, 'SIGCONT');
    }
    await expect.poll(async () => (await health(url, key)).state, { timeout: 30_000, interval: 500 }).toBe('healthy');
  });

  it('ends with npm when npm is killed, leaving no process', async () => {
    stack.child.kill('SIGKILL');
    expect(await leftovers(data, 15_000)).toEqual([]);
  });

  it('starts again in the same folder with nothing lost, warm in ten seconds, after kill -9 of everything', async () => {
    const second = new Launched(['start'], env);
    expect(await second.up()).toBe(url);
    expect(second.stdout).not.toContain('HAL9_API_KEY=hal9_');
    for (const { pid } of processesOf(data)) process.kill(pid, 'SIGKILL');
    await second.ended;
    const third = new Launched(['start'], env);
    const start = Date.now();
    expect(await third.up()).toBe(url);
    const seconds = (Date.now() - start) / 1000;
    expect((await fetch(`${url}/v1/runs`, { headers: { authorization: `Bearer ${key}` } })).status).toBe(200);
    await third.end('SIGTERM');
    expect(await leftovers(data, 100)).toEqual([]);
    // Ten seconds on a machine that has a core to spare; more in proportion to what else waits for one.
    expect(seconds).toBeLessThan(10 * Math.max(1, (loadavg()[0] ?? 0) / availableParallelism()));
  });
});

describe('ending', () => {
  const folders: string[] = [];
  afterEach(() => {
    for (const folder of folders.splice(0)) removeFolder(folder);
  });

  it('works side by side with another stack, and Ctrl-C and SIGTERM end each in seconds', async () => {
    const [one, other] = [temporaryFolder(), temporaryFolder()];
    folders.push(one, other);
    const first = new Launched(['start', '--data', join(one, 'data'), '--port', '0'], {});
    const second = new Launched(['start', '--data', join(other, 'data'), '--port', '0'], {});
    const urls = await Promise.all([first.up(), second.up()]);
    expect(urls[0]).not.toBe(urls[1]);
    const seconds = [await first.end('SIGINT'), await second.end('SIGTERM')];
    expect(await leftovers(one, 100)).toEqual([]);
    expect(await leftovers(other, 100)).toEqual([]);
    expect(Math.max(...seconds)).toBeLessThan(12);
  });

  it('recovers from kill -9 at any moment of its first start', async () => {
    const folder = temporaryFolder();
    folders.push(folder);
    const env = { HAL9_DATA: join(folder, 'data'), HAL9_PORT: '0' };
    for (const delay of [50, 300, 700, 1500]) {
      const victim = new Launched(['start'], env);
      await expect.poll(() => processesOf(folder).some(({ command }) => command.includes('start.ts')), { interval: 10 }).toBe(true);
      await sleep(delay);
      for (const { pid, command } of processesOf(folder)) if (command.includes('start.ts')) process.kill(pid, 'SIGKILL');
      await victim.ended;
    }
    const survivor = new Launched(['start'], env);
    expect(await ready(await survivor.up(), 10_000)).toBe(true);
    await survivor.end('SIGTERM');
    expect(await leftovers(folder, 1000)).toEqual([]);
  });

  it('can be given up while it starts', async () => {
    const folder = temporaryFolder();
    folders.push(folder);
    const early = new Launched(['start', '--data', join(folder, 'data'), '--port', '0'], {});
    await expect.poll(() => processesOf(folder).length, { interval: 20 }).toBeGreaterThan(1);
    await early.end('SIGTERM');
    expect(await leftovers(folder, 3000)).toEqual([]);
    expect(early.stdout).not.toContain('HAL9 is up');
  });
});
