import { randomUUID } from 'node:crypto';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { isGrpcDeadlineError, type Client } from '@temporalio/client';
import { WorkflowExecutionAlreadyStartedError, WorkflowNotFoundError } from '@temporalio/common';
import pino from 'pino';
import { afterEach, describe, expect, inject, it } from 'vitest';
import { loadConfig } from '../../platform/config/config.ts';
import { connectTemporalClient, type TemporalClient } from '../../platform/temporal/connect.ts';
import { freePort } from '../../platform/telemetry/free-port.ts';

/** More than everything else that a connection sends. */
const LARGE = 'x'.repeat(200_000);

/** The way to the suite's Temporal server, which can be cut and held up, and knows how much went over each connection. */
class Relay {
  readonly port: number;
  #server: Server | undefined;
  #held = false;
  readonly #sockets: { from: Socket; to: Socket; sent: number }[] = [];

  constructor(port: number) {
    this.port = port;
  }

  /** Bytes that clients sent, by connection in the order they came. */
  sent(): number[] {
    return this.#sockets.map(({ sent }) => sent);
  }

  async open(): Promise<void> {
    const [host = '', port = ''] = inject('temporalAddress').split(':');
    this.#server = createServer((from) => {
      const pair = { from, to: connect(Number(port), host), sent: 0 };
      this.#sockets.push(pair);
      from.on('data', (bytes) => {
        pair.sent += bytes.length;
        if (!this.#held) pair.to.write(bytes);
      });
      pair.to.on('data', (bytes) => void (!this.#held && from.write(bytes)));
      for (const [one, other] of [[from, pair.to], [pair.to, from]] as const) {
        one.on('close', () => other.destroy());
        one.on('error', () => other.destroy());
      }
    });
    await new Promise<void>((resolve) => this.#server?.listen(this.port, '127.0.0.1', resolve));
  }

  /** From now on nothing gets through, and nobody is told. */
  hold(): void {
    this.#held = true;
  }

  cut(): void {
    this.#server?.close();
    for (const { from, to } of this.#sockets) {
      from.destroy();
      to.destroy();
    }
  }
}

describe('frequent calls over the native core', () => {
  let relay: Relay | undefined;
  let temporal: TemporalClient | undefined;
  afterEach(async () => {
    await temporal?.close();
    relay?.cut();
  });

  const begin = async (): Promise<{ way: Relay; client: Client }> => {
    const way = (relay = new Relay(await freePort()));
    temporal = await connectTemporalClient(loadConfig({ TEMPORAL_ADDRESS: `127.0.0.1:${way.port}` }), {}, { quickCalls: pino({ level: 'silent' }) });
    return { way, client: temporal.client };
  };
  const start = (client: Client, workflowId: string, deadlineMs = 10_000): Promise<unknown> =>
    client.withDeadline(Date.now() + deadlineMs, () => client.workflow.start('nobodyServesThis', { workflowId, taskQueue: 'nobody', args: [LARGE], workflowExecutionTimeout: '1 minute' }));

  it('makes starts and signals with it and everything else without, and failures read the same', async () => {
    const { way, client } = await begin();
    await way.open();
    await expect.poll(() => way.sent().length).toBe(1); // the core's, as nothing was called yet
    const core = (): number => way.sent()[0] ?? 0;
    let id = '';
    await expect.poll(async () => {
      id = randomUUID();
      await start(client, id);
      return core();
    }).toBeGreaterThan(LARGE.length);
    const all = way.sent();
    await expect(start(client, id)).rejects.toBeInstanceOf(WorkflowExecutionAlreadyStartedError);
    await expect(client.withDeadline(Date.now() + 10_000, () => client.workflow.getHandle(randomUUID()).signal('hello'))).rejects.toBeInstanceOf(WorkflowNotFoundError);
    expect(way.sent().slice(1)).toEqual(all.slice(1));
    const before = core();
    expect((await client.workflow.getHandle(id).describe()).status.name).toBe('RUNNING');
    expect(core()).toBe(before);
    await client.workflow.getHandle(id).terminate();
  });

  it('keeps to the deadline where the server says nothing', async () => {
    const { way, client } = await begin();
    await way.open();
    await expect.poll(async () => {
      await start(client, randomUUID());
      return way.sent()[0];
    }).toBeGreaterThan(LARGE.length);
    way.hold();
    const asked = performance.now();
    const failure = await start(client, randomUUID(), 1_000).then(() => undefined, (error: unknown) => error);
    expect(isGrpcDeadlineError(failure instanceof Error ? failure.cause : failure)).toBe(true);
    // Ten seconds is what the core tries again for.
    expect(performance.now() - asked).toBeLessThan(5_000);
  });

  it('needs no server when it begins, and finds it again after it was gone', async () => {
    const { way, client } = await begin();
    await expect(start(client, randomUUID(), 500)).rejects.toThrow();
    await way.open();
    const id = randomUUID();
    await expect.poll(() => start(client, id).then(() => 'started', (error: unknown) => (error instanceof WorkflowExecutionAlreadyStartedError ? 'started' : error))).toBe('started');
    way.cut();
    await expect(start(client, randomUUID(), 500)).rejects.toThrow();
    await way.open();
    await expect.poll(() => start(client, randomUUID(), 5_000).then(() => 'started', (error: unknown) => error)).toBe('started');
  });
});
