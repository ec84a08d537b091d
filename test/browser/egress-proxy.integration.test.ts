import { createServer, type Server } from 'node:http';
import { connect } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { EgressProxy, type EgressRules } from '../../activities/browser/egress-proxy.ts';
import { Egress } from '../../platform/connections/egress.ts';

/** Ways to write an address of this machine, its network or a cloud's metadata service. */
const PRIVATE = [
  '127.0.0.1', '127.1', '0.0.0.0', '0', '2130706433', '0x7f000001', '017700000001', '127.0.0.1.', 'localhost', 'localhost.', '10.0.0.1', '172.16.0.1', '192.168.1.1', '169.254.169.254', '100.64.0.1', '[::1]', '[::]', '[::ffff:127.0.0.1]', '[::ffff:7f00:1]', '[fe80::1]', '[fd00::1]',
  '[64:ff9b::7f00:1]', '[2002:7f00:1::]', '224.0.0.1', '255.255.255.255', '192.0.2.1', '198.18.0.1', '[2001:db8::1]',
];

describe('the way out of a browser session', () => {
  const proxies: EgressProxy[] = [];
  const egresses: Egress[] = [];
  let site: Server;
  let port = 0;

  const start = async (rules: Partial<EgressRules>, options: { allowPrivate?: boolean; resolve?: (name: string) => string; onLimit?: () => void } = {}): Promise<EgressProxy> => {
    const egress = new Egress({ allowPrivate: options.allowPrivate ?? false, ...(options.resolve === undefined ? {} : { resolve: async (name) => [{ address: options.resolve?.(name) ?? '', family: 4 }] }) });
    egresses.push(egress);
    const proxy = await EgressProxy.start({ egress, session: { rules: { deny: [], limitBytes: 1_000_000, ...rules }, onLimit: options.onLimit ?? (() => undefined) } });
    proxies.push(proxy);
    return proxy;
  };
  /** The first line of the proxy's answer. */
  const raw = (proxy: EgressProxy, text: string): Promise<string> =>
    new Promise((resolve, reject) => {
      const socket = connect(Number(new URL(proxy.url).port), '127.0.0.1', () => socket.write(text));
      let answer = '';
      socket.on('data', (chunk) => {
        answer += String(chunk);
        if (answer.includes('\r\n')) socket.destroy();
      });
      socket.on('close', () => resolve(answer.split('\r\n')[0] ?? ''));
      socket.on('error', reject);
    });
  const ask = (proxy: EgressProxy, url: string): Promise<string> => raw(proxy, `GET ${url} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n`);
  const tunnel = (proxy: EgressProxy, target: string): Promise<string> => raw(proxy, `CONNECT ${target} HTTP/1.1\r\nhost: ${target}\r\n\r\n`);

  beforeAll(async () => {
    site = createServer((request, response) => {
      if (request.url === '/endless') {
        const timer = setInterval(() => response.write(Buffer.alloc(64 * 1024)), 1);
        response.on('close', () => clearInterval(timer));
        return;
      }
      response.end('here');
    });
    await new Promise<void>((listening) => site.listen(0, '127.0.0.1', listening));
    const address = site.address();
    port = typeof address === 'object' && address !== null ? address.port : 0;
  });
  afterEach(async () => {
    await Promise.all(proxies.splice(0).map((proxy) => proxy.close()));
    await Promise.all(egresses.splice(0).map((egress) => egress.close()));
  });
  afterAll(async () => {
    site.closeAllConnections();
    await new Promise((closed) => site.close(closed));
  });

  it.each(PRIVATE)('refuses %s, asked for and tunnelled to', async (host) => {
    const proxy = await start({});
    expect(await ask(proxy, `http://${host}:${String(port)}/`)).toContain('403');
    expect(await tunnel(proxy, `${host}:${String(port)}`)).toContain('403');
  });

  it('lets nothing out before a session has it', async () => {
    const egress = new Egress({ allowPrivate: true });
    egresses.push(egress);
    const proxy = await EgressProxy.start({ egress });
    proxies.push(proxy);
    await expect(ask(proxy, `http://127.0.0.1:${String(port)}/`)).resolves.toBe('HTTP/1.1 403 Forbidden');
    proxy.serve({ rules: { deny: [], limitBytes: 1000 }, onLimit: () => undefined });
    await expect(ask(proxy, `http://127.0.0.1:${String(port)}/`)).resolves.toBe('HTTP/1.1 200 OK');
  });

  it('refuses names that lead there, and asks anew each time', async () => {
    let answers = ['93.184.216.34', '127.0.0.1'];
    const proxy = await start({}, { resolve: () => answers.shift() ?? '127.0.0.1' });
    answers = ['127.0.0.1'];
    expect(await tunnel(proxy, 'rebinding.example:443')).toContain('403');
  });

  it('refuses what is not of the web', async () => {
    const proxy = await start({}, { allowPrivate: true });
    for (const url of ['ftp://127.0.0.1/', 'file:///etc/passwd', '/etc/passwd', 'gopher://127.0.0.1:70/']) expect(await ask(proxy, url), url).toContain('403');
    for (const refused of [22, 25, 5432, 6379, 7233]) expect(await tunnel(proxy, `127.0.0.1:${String(refused)}`), String(refused)).toContain('403');
  });

  it('keeps to the lists of the flow', async () => {
    const allowed = await start({ allow: ['127.0.0.1', '*.example'] }, { allowPrivate: true });
    expect(await ask(allowed, `http://127.0.0.1:${String(port)}/`)).toContain('200');
    expect(await ask(allowed, `http://localhost:${String(port)}/`)).toContain('403');
    const denied = await start({ deny: ['127.0.0.1'] }, { allowPrivate: true });
    expect(await ask(denied, `http://127.0.0.1:${String(port)}/`)).toContain('403');
    expect(await ask(denied, `http://localhost:${String(port)}/`)).toContain('200');
  });

  it('cuts off what sends without end, and lets nothing out afterwards', async () => {
    let limited = 0;
    const proxy = await start({ limitBytes: 1_000_000 }, { allowPrivate: true, onLimit: () => (limited += 1) });
    const socket = connect(Number(new URL(proxy.url).port), '127.0.0.1', () => socket.write(`GET http://127.0.0.1:${String(port)}/endless HTTP/1.1\r\nhost: x\r\n\r\n`));
    socket.resume();
    await new Promise((closed) => socket.on('close', closed).on('error', () => undefined));
    expect(limited).toBe(1);
    expect(proxy.receivedBytes).toBeLessThan(3_000_000);
    expect(await ask(proxy, `http://127.0.0.1:${String(port)}/`)).toContain('403');
  });
});
