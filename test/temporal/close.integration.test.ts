import { createServer, type Http2Server } from 'node:http2';
import { afterEach, describe, expect, it } from 'vitest';
import { lazyConnection } from '../../platform/temporal/connect.ts';

/** gRPC status UNAVAILABLE, as a server gives it that goes away or is not ready; https://grpc.io/docs/guides/status-codes/. */
const UNAVAILABLE = '14';

/** A server that speaks gRPC, counts calls and serves none. */
async function unavailable(): Promise<{ address: string; calls: () => number; server: Http2Server }> {
  let calls = 0;
  const server = createServer();
  server.on('stream', (stream) => {
    calls += 1;
    stream.on('error', () => undefined); // the client may hang up first
    stream.respond({ ':status': 200, 'content-type': 'application/grpc+proto', 'grpc-status': UNAVAILABLE, 'grpc-message': 'not now' }, { endStream: true });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  return { address: `127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`, calls: () => calls, server };
}

describe('a connection to Temporal that is closed while a call is tried again', () => {
  const thrown: unknown[] = [];
  const note = (error: unknown): void => void thrown.push(error);
  let server: Http2Server | undefined;
  afterEach(async () => {
    process.off('uncaughtException', note);
    await new Promise((resolve) => server?.close(resolve));
  });

  it('ends the call with an error, and throws at nobody', async () => {
    const fake = await unavailable();
    server = fake.server;
    process.on('uncaughtException', note);
    const { connection, close } = lazyConnection({ address: fake.address });
    const call = connection.workflowService.getSystemInfo({}).then(() => 'answered', (error: unknown) => error);
    await expect.poll(fake.calls).toBeGreaterThan(1);
    await close();
    expect(await call).toBeInstanceOf(Error);
    const after = fake.calls();
    // Longer than any retry that could still be on its way.
    await new Promise((resolve) => setTimeout(resolve, 1500));
    expect(fake.calls()).toBe(after);
    expect(thrown).toEqual([]);
  });
});
