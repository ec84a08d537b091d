import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TLSSocket } from 'node:tls';
import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadConfig, type Config } from '../../platform/config/config.ts';
import { connectDatabase } from '../../platform/database/connect.ts';
import { makeCertificates, type Certificates } from '../environment/certificates.ts';
import { createTestDatabase, type TestDatabase } from '../environment/database.ts';
import { freePort } from '../../platform/telemetry/free-port.ts';

/** A TLS pooler in front of the suite's PostgreSQL: answers SSLRequest (https://www.postgresql.org/docs/current/protocol-flow.html) and forwards. */
describe('PostgreSQL over TLS', () => {
  let folder: string;
  let certificates: Certificates;
  let test: TestDatabase;
  let server: Server;
  let url: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'hal9-tls-'));
    certificates = makeCertificates(folder);
    test = await createTestDatabase();
    const target = new URL(test.url);
    server = createServer((socket) => {
      socket.once('data', () => {
        socket.write('S');
        const secure = new TLSSocket(socket, { isServer: true, cert: readFileSync(certificates.server.cert), key: readFileSync(certificates.server.key) });
        const plain = connect(Number(target.port), target.hostname);
        secure.pipe(plain).pipe(secure);
        secure.on('error', () => plain.destroy());
        plain.on('error', () => secure.destroy());
      });
      socket.on('error', () => socket.destroy());
    });
    const port = await freePort();
    await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
    const through = new URL(test.url);
    through.port = String(port);
    url = through.href;
  });
  afterAll(async () => {
    server.close();
    await test.drop();
    await rm(folder, { recursive: true, force: true });
  });

  const ask = async (config: Config): Promise<unknown> => {
    const database = await connectDatabase(config, 'hal9-tls-test');
    try {
      return (await sql<{ one: number }>`select 1 as one`.execute(database.system)).rows;
    } finally {
      await database.close();
    }
  };

  it('connects to a server its authority signed', async () => {
    expect(await ask(loadConfig({ DATABASE_URL: url, DATABASE_TLS_CA: certificates.ca }))).toEqual([{ one: 1 }]);
  });

  it('refuses another authority, and another host name', async () => {
    await expect(ask(loadConfig({ DATABASE_URL: url, DATABASE_TLS_CA: certificates.otherCa }))).rejects.toThrow(/certificate/);
    await expect(ask(loadConfig({ DATABASE_URL: url.replace('127.0.0.1', 'localhost'), DATABASE_TLS_CA: certificates.ca }))).rejects.toThrow(/altnames/);
  });

  it('names the setting that is wrong', async () => {
    await expect(ask(loadConfig({ DATABASE_URL: url, DATABASE_TLS_CA: '/nowhere/ca.pem' }))).rejects.toThrow('DATABASE_TLS_CA: cannot read /nowhere/ca.pem');
    await expect(ask(loadConfig({}))).rejects.toThrow('DATABASE_URL: not set');
  });
});
