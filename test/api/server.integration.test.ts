import { execFileSync } from 'node:child_process';
import { copyFile, mkdtemp, rm } from 'node:fs/promises';
import { request } from 'node:https';
import { connect as connectTls } from 'node:tls';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import express from 'express';
import pino from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { listen } from '../../api/server.ts';
import { startTestApi } from './running-api.ts';

const logger = pino({ level: 'silent' });

describe('listener', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'hal9-tls-'));
    for (const name of ['one', 'two']) {
      execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '1', '-subj', `/CN=${name}`, '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', join(folder, `${name}.key`), '-out', join(folder, `${name}.crt`)], { stdio: 'ignore' });
    }
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  const use = async (name: string) => {
    await copyFile(join(folder, `${name}.crt`), join(folder, 'live.crt'));
    await copyFile(join(folder, `${name}.key`), join(folder, 'live.key'));
  };

  const nameOf = (port: number) =>
    new Promise<string>((resolve, reject) => {
      const socket = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false }, () => {
        resolve(String(socket.getPeerCertificate().subject.CN));
        socket.destroy();
      });
      socket.on('error', reject);
    });

  it('takes a new certificate while it runs, keeps the old one when the new is broken, and asks for HTTPS', async () => {
    await use('one');
    const test = await startTestApi({ HAL9_TLS_CERT: join(folder, 'live.crt'), HAL9_TLS_KEY: join(folder, 'live.key') });
    try {
      expect(await nameOf(test.api.port)).toBe('one');
      const hsts = await new Promise((resolve, reject) => {
        request({ port: test.api.port, host: '127.0.0.1', path: '/healthz', rejectUnauthorized: false }, (answer) => {
          answer.resume();
          resolve(answer.headers['strict-transport-security']);
        }).on('error', reject).end();
      });
      expect(hsts).toBe('max-age=31536000');
      await copyFile(join(folder, 'two.crt'), join(folder, 'live.crt'));
      await expect.poll(() => test.log.some((line) => line.includes('cannot be used'))).toBe(true);
      expect(await nameOf(test.api.port)).toBe('one');
      await use('two');
      await expect.poll(() => nameOf(test.api.port)).toBe('two');
    } finally {
      await test.stop();
    }
  });

  it('finishes what is under way, refuses what is new, and ends', async () => {
    const app = express();
    app.get('/slow', (_request, response) => {
      setTimeout(() => response.end('done'), 400);
    });
    const server = await listen(app, { host: '127.0.0.1', port: 0, logger, drainMs: 5000 });
    const url = `http://127.0.0.1:${server.port}`;
    const open = fetch(`${url}/slow`);
    await new Promise((resolve) => setTimeout(resolve, 100));
    const began = performance.now();
    const stopped = server.stop();
    await expect(fetch(`${url}/slow`)).rejects.toThrow();
    expect(await (await open).text()).toBe('done');
    await stopped;
    expect(performance.now() - began).toBeLessThan(1500);
  });

  it('cuts what outlasts the drain time', async () => {
    const app = express();
    app.get('/endless', () => undefined);
    const server = await listen(app, { host: '127.0.0.1', port: 0, logger, drainMs: 200 });
    const open = fetch(`http://127.0.0.1:${server.port}/endless`).then(
      () => 'answered',
      () => 'cut',
    );
    await new Promise((resolve) => setTimeout(resolve, 50));
    await server.stop();
    expect(await open).toBe('cut');
  });

  it('says which port is taken', async () => {
    const server = await listen(express(), { host: '127.0.0.1', port: 0, logger });
    await expect(listen(express(), { host: '127.0.0.1', port: server.port, logger })).rejects.toThrow(/EADDRINUSE/);
    await server.stop();
  });
});
