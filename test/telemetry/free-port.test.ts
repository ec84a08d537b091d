import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { describe, expect, it, onTestFinished } from 'vitest';
import { canListen, freePort } from '../../platform/telemetry/free-port.ts';

const MODULE = join(import.meta.dirname, '../../platform/telemetry/free-port.ts');

describe('a free port', () => {
  it('is one that no connection gets, and another one each time although nobody listens yet', async () => {
    const ports = await Promise.all(Array.from({ length: 200 }, () => freePort()));
    expect(new Set(ports).size).toBe(200);
    for (const port of ports) expect(port).toSatisfy((number: number) => number >= 20_000 && number < 30_000);
  });

  it('is not one that somebody listens on', async () => {
    const port = await freePort();
    expect(await canListen(port)).toBe(true);
    const server = createServer();
    await new Promise<void>((resolve) => void server.listen(port, '127.0.0.1', resolve));
    expect(await canListen(port)).toBe(false);
    await new Promise((resolve) => server.close(resolve));
  });

  it.runIf(process.platform === 'linux')('is not chosen by another process that begins at the same moment', async () => {
    // Each takes 3,000 of the 10,000 ports, so that they would meet if they did not know of each other, and lives until it is told to end.
    const script = `import { freePort } from ${JSON.stringify(MODULE)}; const ports = []; for (let n = 0; n < 3000; n += 1) ports.push(await freePort()); process.stdout.write(JSON.stringify(ports) + '\\n'); process.stdin.resume();`;
    const children = [1, 2].map(() => spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['pipe', 'pipe', 'inherit'] }));
    onTestFinished(() => children.forEach((child) => child.kill()));
    const lists = await Promise.all(children.map(async (child) => JSON.parse((await once(createInterface(child.stdout), 'line'))[0]) as number[]));
    expect(new Set(lists.flat()).size).toBe(6000);
  });
});
