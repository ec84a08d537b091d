import { randomUUID } from 'node:crypto';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Database } from '../../database/database.ts';
import { migrate } from '../../database/migrate.ts';
import { OrganisationStore } from '../../database/organisations.ts';
import { endProcess } from '../../deploy/local/child-process.ts';
import { startPostgres, type RunningPostgres } from '../../deploy/local/postgres.ts';
import { freePort } from '../../platform/telemetry/free-port.ts';
import { callerOf, createIngest, ndjson, signalOf } from './ingest-setup.ts';

describe('the ingest while the database fails', () => {
  let folder: string;
  let port: number;
  let server: RunningPostgres;
  let database: Database;
  const start = async (): Promise<void> => {
    server = await startPostgres({ folder: join(folder, 'postgres'), port, settings: { shared_buffers: '128MB' } });
  };
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'hal9-outage-'));
    await chmod(folder, 0o755);
    port = await freePort();
    await start();
    await migrate(server.url);
    database = new Database({ url: server.url, poolSize: 4, applicationName: 'hal9-outage' });
  });
  afterAll(async () => {
    await database.close();
    await server.stop();
    await rm(folder, { recursive: true, force: true });
  });
  const organisation = async (): Promise<string> => {
    const orgId = randomUUID();
    await new OrganisationStore(database).create({ orgId, name: 'test' });
    return orgId;
  };
  const stored = async (orgId: string): Promise<{ signals: number; distinct: number; chunked: number }> =>
    database.withOrgClient(orgId, async (client) => {
      const { rows } = await client.query<{ signals: number; distinct: number; chunked: number }>(
        'select count(*)::int as signals, count(distinct key)::int as distinct, (select sum(signals)::int from chunks) as chunked from signals',
      );
      return rows[0] ?? { signals: -1, distinct: -1, chunked: -1 };
    });

  it('rides out a crash in the middle of a stream, and counts each signal once', async () => {
    const orgId = await organisation();
    const under = createIngest({ database }, { retryForMs: 60_000, groupSignals: 500, queueSignals: 1000 });
    const lines = 20_000;
    let sent = 0;
    async function* body(): AsyncIterable<Buffer> {
      for (let n = 0; n < lines; n += 200) {
        yield* ndjson(Array.from({ length: 200 }, (_, i) => JSON.stringify(signalOf({ id: `o${n + i}`, source: `s${i % 13}` }))), 10_000);
        sent = n;
        if (n % 1000 === 0) await sleep(20);
      }
    }
    const streaming = under.receiver.stream(callerOf(orgId), body());
    for (let crash = 0; crash < 3; crash++) {
      while (sent < (crash + 1) * 4000) await sleep(5);
      await endProcess(server.process, 'SIGKILL', 1000);
      await sleep(200);
      await start();
    }
    const receipt = await streaming;
    expect(await stored(orgId)).toEqual({ signals: lines, distinct: lines, chunked: lines });
    expect(receipt).toMatchObject({ accepted: lines, duplicates: 0, rejectedCount: 0 });
    await under.ingest.close();
  });

  it('says within seconds that the database is away, takes nothing, and works again afterwards', async () => {
    const orgId = await organisation();
    const under = createIngest({ database }, { retryForMs: 500 });
    await server.stop();
    const failed = under.receiver.one(callerOf(orgId), signalOf(), { defaultSpecversion: false });
    await expect(failed).rejects.toMatchObject({ type: 'DependencyUnavailable', retryAfterSeconds: 2 });
    await expect(under.receiver.stream(callerOf(orgId), ndjson([JSON.stringify(signalOf())]))).rejects.toMatchObject({ type: 'DependencyUnavailable' });
    await start();
    expect(await under.receiver.one(callerOf(orgId), signalOf(), { defaultSpecversion: false })).toMatchObject({ accepted: 1 });
    expect(await stored(orgId)).toEqual({ signals: 1, distinct: 1, chunked: 1 });
    await under.ingest.close();
  });

  it('says how many went in when the database goes away for long in the middle of a stream', async () => {
    const orgId = await organisation();
    const under = createIngest({ database }, { retryForMs: 300, groupSignals: 100 });
    async function* body(): AsyncIterable<Buffer> {
      for (let n = 0; ; n++) {
        yield Buffer.from(`${JSON.stringify(signalOf({ id: `h${n}` }))}\n`);
        if (n === 500) {
          await sleep(300);
          await endProcess(server.process, 'SIGKILL', 1000);
        }
        if (n > 500) await sleep(5);
      }
    }
    const failure: unknown = await under.receiver.stream(callerOf(orgId), body()).catch((error: unknown) => error);
    expect(failure).toMatchObject({ type: 'DependencyUnavailable', retryAfterSeconds: 2, message: expect.stringMatching(/; 50\d signals of this request are committed/) });
    await start();
    expect((await stored(orgId)).signals).toBe(Number(/; (\d+) signals/.exec(String(failure))?.[1]));
    await under.ingest.close();
  });

  it('stops reading while the database does not keep up, so that memory stays flat', async () => {
    const orgId = await organisation();
    const under = createIngest({ database }, { queueSignals: 2000, groupSignals: 500 });
    const blocker = new pg.Client({ connectionString: server.url });
    await blocker.connect();
    await blocker.query('begin; lock table chunks in access exclusive mode');
    let read = 0;
    async function* body(): AsyncIterable<Buffer> {
      for (let n = 0; n < 300; n++) {
        read += 100;
        yield Buffer.from(Array.from({ length: 100 }, (_, i) => `${JSON.stringify(signalOf({ id: `b${n}-${i}` }))}\n`).join(''));
      }
    }
    const streaming = under.receiver.stream(callerOf(orgId), body());
    await sleep(1000);
    const held = read;
    await sleep(500);
    expect(read).toBe(held);
    expect(held).toBeLessThanOrEqual(2000 + 200);
    await blocker.query('rollback');
    await blocker.end();
    expect(await streaming).toMatchObject({ accepted: 30_000 });
    expect(await under.registry.getSingleMetricAsString('hal9_ingest_queued_signals')).toMatch(/hal9_ingest_queued_signals 0\b/);
    await under.ingest.close();
  });
});
