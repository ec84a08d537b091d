import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Egress, isPublicAddress } from '../../platform/connections/egress.ts';
import { explainFailure } from '../../platform/connections/failure.ts';
import { startHttpServer, type LocalServer } from '../environment/http-server.ts';

const soon = () => AbortSignal.timeout(5000);

describe('egress', () => {
  let server: LocalServer;
  const opened: Egress[] = [];
  const open = (options: ConstructorParameters<typeof Egress>[0]): Egress => {
    const egress = new Egress(options);
    opened.push(egress);
    return egress;
  };
  beforeEach(async () => {
    server = await startHttpServer((_, response) => response.end('inside'));
  });
  afterEach(async () => {
    await Promise.all(opened.splice(0).map((egress) => egress.close()));
    await server.close();
  });

  it.each(['127.0.0.1', '10.1.2.3', '172.16.0.1', '192.168.1.1', '169.254.169.254', '100.64.0.1', '0.0.0.0', '255.255.255.255', '224.0.0.1', '::1', '::', 'fe80::1', 'fe80::1%eth0', 'fc00::1', '::ffff:127.0.0.1', '64:ff9b::7f00:1', '2002:7f00:1::', 'nonsense'])(
    'refuses %s',
    (address) => expect(isPublicAddress(address)).toBe(false),
  );

  it.each(['8.8.8.8', '93.184.216.34', '2606:4700:4700::1111'])('permits %s', (address) => expect(isPublicAddress(address)).toBe(true));

  it.each(['127.0.0.1', 'localhost', '[::1]', '0x7f.1', '2130706433', '0177.0.0.1'])('does not connect to %s', async (host) => {
    const egress = open({ allowPrivate: false });
    const failure = await egress.request(`http://${host}:${server.port}/`, { method: 'GET', signal: soon() }).catch((error: unknown) => explainFailure(error));
    expect(failure).toMatchObject({ retryable: false, message: expect.stringContaining('private or reserved') });
    expect(server.received).toEqual([]);
  });

  it('checks the address the socket uses: a name that changes its mind gains nothing', async () => {
    let lookups = 0;
    const egress = open({
      allowPrivate: false,
      connectTimeoutMs: 300,
      async resolve() {
        lookups += 1;
        return [{ address: lookups === 1 ? '203.0.114.1' : '127.0.0.1', family: 4 }];
      },
    });
    expect(await egress.address('rebind.example')).toBe('203.0.114.1');
    const failure = await egress.request(`http://rebind.example:${server.port}/`, { method: 'GET', signal: soon() }).catch((error: unknown) => explainFailure(error));
    expect(failure).toMatchObject({ message: expect.stringContaining('resolves to a private') });
    expect(lookups).toBe(2);
    expect(server.received).toEqual([]);
  });

  it('refuses a name of which one address is private', async () => {
    const egress = open({ allowPrivate: false, resolve: async () => [{ address: '93.184.216.34', family: 4 }, { address: '10.0.0.1', family: 4 }] });
    await expect(egress.address('mixed.example')).rejects.toThrow('private');
  });

  it('does not follow redirects', async () => {
    server.answer = (_, response) => response.writeHead(302, { location: 'http://169.254.169.254/' }).end();
    const answer = await open({ allowPrivate: true }).request(server.url, { method: 'GET', signal: soon() });
    expect(answer.status).toBe(302);
    expect(server.received).toHaveLength(1);
  });

  it('reaches private addresses when allowed, and stops reading at the limit', async () => {
    const egress = open({ allowPrivate: true });
    expect((await egress.request(server.url, { method: 'GET', signal: soon() })).text).toBe('inside');
    server.answer = (_, response) => {
      response.end(Buffer.alloc(200_000, 'x'));
    };
    await expect(egress.request(server.url, { method: 'GET', signal: soon(), limitBytes: 1000 })).rejects.toThrow('longer than 1000 bytes');
    const limited = await egress.limited(1000)(server.url);
    await expect(limited.text()).rejects.toThrow('longer than 1000 bytes');
  });

  it('gives up in time', async () => {
    server.answer = () => undefined;
    const failure = await open({ allowPrivate: true }).request(server.url, { method: 'GET', signal: AbortSignal.timeout(100) }).catch((error: unknown) => explainFailure(error));
    expect(failure).toEqual({ message: 'no answer in time', retryable: true });
  });
});
