import { spawn } from 'node:child_process';
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { spawnOwned } from '../../deploy/local/child-process.ts';
import { takeLock } from '../../deploy/local/folder-lock.ts';
import { LogFile } from '../../deploy/local/log-file.ts';
import { demandPort, isFree, preferPort } from '../../deploy/local/ports.ts';
import { freePort } from '../../platform/telemetry/free-port.ts';
import { endStranger, identify, isAlive, listenerOf } from '../../deploy/local/process-identity.ts';
import { SupervisedProcess, type ProcessEvent, type ProcessSpecification } from '../../deploy/local/supervised-process.ts';
import { removeFolder, temporaryFolder } from './launched.ts';

let folder: string;
beforeEach(() => {
  folder = temporaryFolder();
});
afterEach(() => removeFolder(folder));

describe('a lock', () => {
  it('is held once, and free after its release', async () => {
    const path = join(folder, 'lock');
    const first = await takeLock(path);
    if (!('lock' in first)) throw new Error('not taken');
    expect(await takeLock(path)).toEqual({ holder: identify(process.pid) });
    await first.lock.release();
    expect(await takeLock(path)).toHaveProperty('lock');
  });

  it.each([
    ['a process that is gone', JSON.stringify({ pid: 2_147_483_646, started: 'x' })],
    ['an earlier process of the same number', JSON.stringify({ pid: process.pid, started: 'before the reboot' })],
  ])('of %s is taken over', async (_, content) => {
    writeFileSync(join(folder, 'lock'), content);
    expect(await takeLock(join(folder, 'lock'))).toHaveProperty('lock');
  });

  it('that is stale goes to one of many', async () => {
    const path = join(folder, 'lock');
    writeFileSync(path, JSON.stringify({ pid: 2_147_483_646, started: 'x' }));
    const results = await Promise.all(Array.from({ length: 8 }, () => takeLock(path)));
    expect(results.filter((result) => 'lock' in result)).toHaveLength(1);
  });
});

describe('a log file', () => {
  it('begins anew when it is full and keeps as many as told', () => {
    const log = new LogFile(join(folder, 'a.log'), { maxBytes: 100, keep: 2 });
    for (let line = 0; line < 40; line += 1) log.append(`line ${String(line).padStart(4, '0')}\n`);
    log.close();
    expect(readdirSync(folder).toSorted()).toEqual(['a.log', 'a.log.1', 'a.log.2']);
    const text = ['a.log.2', 'a.log.1', 'a.log'].map((name) => readFileSync(join(folder, name), 'utf8')).join('');
    expect(text.endsWith('line 0039\n')).toBe(true);
    for (const name of readdirSync(folder)) expect(readFileSync(join(folder, name)).length).toBeLessThanOrEqual(110);
  });
});

describe('a port', () => {
  it('that is taken is told with its owner and the setting', async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    expect(await isFree(port)).toBe(false);
    expect(listenerOf(port)?.pid).toBe(process.pid);
    await expect(demandPort(port, 'HAL9_PORT')).rejects.toThrow(`port ${port} is taken by process ${process.pid}`);
    expect(await preferPort([port])).not.toBe(port);
    await new Promise((resolve) => server.close(resolve));
    expect(await demandPort(port, 'HAL9_PORT')).toBe(port);
    expect(await preferPort([undefined, port])).toBe(port);
  });

  it('is free when just found', async () => {
    expect(await isFree(await freePort())).toBe(true);
  });
});

describe('a process', () => {
  it('is known by more than its number, and a stranger is ended even when it will not', async () => {
    const stubborn = spawn(process.execPath, ['-e', "process.on('SIGTERM', () => {}); console.log('up'); setInterval(() => {}, 1000)"], { stdio: ['ignore', 'pipe', 'ignore'] });
    await new Promise((resolve) => stubborn.stdout.once('data', resolve));
    const identity = identify(stubborn.pid ?? 0);
    if (identity === undefined) throw new Error('no process');
    expect(isAlive(identity)).toBe(true);
    expect(isAlive({ ...identity, started: 'earlier' })).toBe(false);
    await endStranger(identity, 'SIGTERM', 200);
    expect(isAlive(identity)).toBe(false);
  });

  it.runIf(process.platform === 'linux')('that is owned dies with its owner, however that dies', async () => {
    const module = join(import.meta.dirname, '../../deploy/local/child-process.ts');
    const owner = spawn(process.execPath, ['-e', `import(${JSON.stringify(module)}).then(({ spawnOwned }) => console.log(spawnOwned('sleep', ['300'], { deathSignal: 'KILL', env: process.env }).pid)); setInterval(() => {}, 1000)`], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const pid = Number(await new Promise<string>((resolve) => owner.stdout.once('data', (chunk: Buffer) => resolve(chunk.toString()))));
    const child = identify(pid);
    if (child === undefined) throw new Error('no child');
    owner.kill('SIGKILL');
    await expect.poll(() => isAlive(child)).toBe(false);
  });
});

describe('a supervised process', () => {
  let running: SupervisedProcess | undefined;
  afterEach(async () => {
    await running?.stop();
    running = undefined;
  });

  /** A node process that runs `code`; ready when it writes `ready`. */
  const supervise = (code: string, changes: Partial<ProcessSpecification> = {}): { process: SupervisedProcess; events: ProcessEvent[] } => {
    const events: ProcessEvent[] = [];
    const supervised = new SupervisedProcess(
      {
        name: 'sample',
        launch: () => spawnOwned(process.execPath, ['-e', code], { deathSignal: 'KILL', env: process.env }),
        ready: (child, onLine) =>
          new Promise((resolve, reject) => {
            onLine((line) => {
              if (line === 'ready') resolve();
            });
            child.once('close', () => reject(new Error('sample ended while starting')));
          }),
        stopSignal: 'SIGTERM',
        stopGraceMs: 300,
        ...changes,
      },
      { log: new LogFile(join(folder, 'sample.log')), onEvent: (event) => events.push(event) },
    );
    running = supervised;
    return { process: supervised, events };
  };
  const STAYS = "console.log('ready'); setInterval(() => {}, 1000)";

  it('comes back after it was killed, also again and again', async () => {
    const { process: sample, events } = supervise(STAYS);
    await sample.start();
    for (let round = 1; round <= 3; round += 1) {
      const { pid } = sample;
      expect(sample.kill('SIGKILL')).toBe(true);
      await expect.poll(() => sample.state === 'ready' && sample.pid !== pid).toBe(true);
      expect(sample.restarts).toBe(round);
    }
    expect(events.filter(({ type }) => type === 'ended')).toMatchObject([{ how: 'SIGKILL' }, { how: 'SIGKILL' }, { how: 'SIGKILL' }]);
  });

  it('says why its first start failed and where the rest is', async () => {
    const { process: sample } = supervise("console.error('note: trying'); throw new RangeError('no such thing')");
    await expect(sample.start()).rejects.toThrow(`sample ended while starting (RangeError: no such thing): see ${join(folder, 'sample.log')}.`);
    expect(readFileSync(join(folder, 'sample.log'), 'utf8')).toContain('note: trying');
    running = undefined;
  });

  it('quotes an error of its own log lines', async () => {
    const { process: sample } = supervise(`console.log(JSON.stringify({ level: 60, msg: 'cannot start', err: { message: 'disk on fire' } })); process.exit(1)`);
    await expect(sample.start()).rejects.toThrow('sample ended while starting (cannot start: disk on fire)');
    running = undefined;
  });

  it('gets as many first attempts as told', async () => {
    const file = join(folder, 'attempts');
    const code = `const fs = require('fs'); fs.appendFileSync(${JSON.stringify(file)}, 'x'); if (fs.readFileSync(${JSON.stringify(file)}).length < 3) process.exit(1); ${STAYS}`;
    const { process: sample } = supervise(code, { startAttempts: 3 });
    await sample.start();
    expect(sample.state).toBe('ready');
    expect(readFileSync(file, 'utf8')).toBe('xxx');
  });

  it('is ended even when it is stopped or will not listen', async () => {
    for (const [code, signal] of [[`process.on('SIGTERM', () => {}); ${STAYS}`, undefined], [STAYS, 'SIGSTOP']] as const) {
      const { process: sample } = supervise(code);
      await sample.start();
      if (signal !== undefined) sample.kill(signal);
      const identity = identify(sample.pid ?? 0);
      await sample.stop();
      expect(identity !== undefined && isAlive(identity)).toBe(false);
      expect(sample.state).toBe('stopped');
      running = undefined;
    }
  });
});
