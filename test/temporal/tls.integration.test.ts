import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createSecureServer, type Http2SecureServer } from 'node:http2';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer, type Server } from 'node:tls';
import { NativeConnection } from '@temporalio/worker';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { loadConfig, type Config } from '../../platform/config/config.ts';
import { connectTemporalClient, temporalTarget } from '../../platform/temporal/connect.ts';
import { makeCertificates, type Certificates } from '../environment/certificates.ts';
import { freePort } from '../../platform/telemetry/free-port.ts';

/** TLS in front of the suite's Temporal server, as a proxy or a managed service puts it there. */
describe('Temporal over TLS', () => {
  let folder: string;
  let certificates: Certificates;
  let server: Server;
  let address: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'hal9-tls-'));
    certificates = makeCertificates(folder);
    const [host = '', port = ''] = inject('temporalAddress').split(':');
    server = createServer(
      { cert: readFileSync(certificates.server.cert), key: readFileSync(certificates.server.key), ca: readFileSync(certificates.ca), requestCert: true, rejectUnauthorized: true, ALPNProtocols: ['h2'] },
      (secure) => {
        const plain = connect(Number(port), host);
        secure.pipe(plain).pipe(secure);
        secure.on('error', () => plain.destroy());
        plain.on('error', () => secure.destroy());
      },
    );
    const listening = await freePort();
    await new Promise<void>((resolve) => server.listen(listening, '127.0.0.1', resolve));
    address = `127.0.0.1:${listening}`;
  });
  afterAll(async () => {
    server.close();
    await rm(folder, { recursive: true, force: true });
  });

  const config = (more: Record<string, string>): Config => loadConfig({ TEMPORAL_ADDRESS: address, ...more });
  const mutual = (): Config => config({ TEMPORAL_TLS_CA: certificates.ca, TEMPORAL_TLS_CERT: certificates.client.cert, TEMPORAL_TLS_KEY: certificates.client.key });
  const ask = async (settings: Config): Promise<unknown> => {
    const temporal = await connectTemporalClient(settings, {});
    const { client } = temporal;
    try {
      return await client.withDeadline(Date.now() + 3_000, () => client.workflowService.getSystemInfo({}));
    } finally {
      await temporal.close();
    }
  };

  it('connects clients and workers with a client certificate', async () => {
    expect(await ask(mutual())).toHaveProperty('serverVersion');
    const connection = await NativeConnection.connect(await temporalTarget(mutual()));
    expect(await connection.workflowService.getSystemInfo({})).toHaveProperty('serverVersion');
    await connection.close();
  });

  it('refuses a server of another authority, and is refused without a certificate', async () => {
    const stranger = config({ TEMPORAL_TLS_CA: certificates.otherCa, TEMPORAL_TLS_CERT: certificates.client.cert, TEMPORAL_TLS_KEY: certificates.client.key });
    await expect(ask(stranger)).rejects.toThrow();
    await expect(ask(config({ TEMPORAL_TLS_CA: certificates.ca }))).rejects.toThrow();
    await expect(NativeConnection.connect(await temporalTarget(stranger))).rejects.toThrow();
  });

  it('names the setting that is wrong', async () => {
    await expect(temporalTarget(config({ TEMPORAL_TLS_CA: '/nowhere/ca.pem' }))).rejects.toThrow('TEMPORAL_TLS_CA: cannot read /nowhere/ca.pem');
    await expect(temporalTarget({ ...config({}), TEMPORAL_TLS_CERT: certificates.client.cert })).rejects.toThrow('TEMPORAL_TLS_CERT and TEMPORAL_TLS_KEY go together');
    await expect(temporalTarget({ ...config({}), TEMPORAL_ADDRESS: undefined })).rejects.toThrow('TEMPORAL_ADDRESS');
  });

  it('sends an API key, over TLS only', async () => {
    const key = 'key-for-the-cloud';
    const seen: (string | undefined)[] = [];
    const cloud: Http2SecureServer = createSecureServer({ cert: readFileSync(certificates.server.cert), key: readFileSync(certificates.server.key) });
    cloud.on('stream', (stream, headers) => {
      seen.push(headers.authorization);
      stream.respond({ ':status': 200, 'content-type': 'application/grpc', 'grpc-status': '16' }, { endStream: true });
    });
    const port = await freePort();
    await new Promise<void>((resolve) => cloud.listen(port, '127.0.0.1', resolve));
    const settings = { ...config({ TEMPORAL_API_KEY: key, TEMPORAL_TLS_CA: certificates.ca }), TEMPORAL_ADDRESS: `127.0.0.1:${port}` };
    await expect(ask(settings)).rejects.toThrow();
    expect(seen).toContain(`Bearer ${key}`);
    cloud.close();
    expect(await temporalTarget(config({ TEMPORAL_API_KEY: key }))).toMatchObject({ tls: true, apiKey: key });
  });
});
