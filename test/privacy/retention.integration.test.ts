import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import registerRetention from '../../activities/retention/index.ts';
import { createDataConverter } from '../../platform/codec/data-converter.ts';
import { loadConfig } from '../../platform/config/config.ts';
import { systemCaller, type Caller } from '../../platform/identity/caller.ts';
import { loadKeyRing } from '../../platform/keys/load.ts';
import { createOperations } from '../../platform/operations/operations.ts';
import { LegalHolds } from '../../platform/privacy/legal-holds.ts';
import { RetentionReports } from '../../platform/privacy/retention-reports.ts';
import { PrivacySources } from '../../platform/privacy/sources.ts';
import { parseRunId } from '../../schemas/names/workflow-id.ts';
import { TASK_QUEUES } from '../../schemas/names/task-queues.ts';
import contract, { type RetentionInput } from '../../schemas/operations/retention.ts';
import { activityInterceptors } from '../../workers/interceptors/activity.ts';
import { createTestDatabase, type TestDatabase } from '../environment/database.ts';
import { createTestNamespace } from '../environment/temporal.ts';
import { withSchema } from './schema-database.ts';

Runtime.install({ logger: new DefaultLogger('ERROR') });

const SHOP = `create table visit (id int primary key, at timestamptz, mail text); insert into visit select n, now() - make_interval(days => n), 'v' || n || '@example.com' from generate_series(0, 799) n; create table log (line text, at date); insert into log values ('old', '2020-01-01'); create materialized view days as select at::date as day from visit`;
const ANNOTATIONS = 'source: shop\ntables:\n  visit: {retention: {keep: P1Y, since: at}, columns: {id: {category: system}, at: {category: system}, mail: {category: user.contact.email, identity: email}}}\n  log: {retention: {keep: P1Y, since: at}, columns: {line: {category: system}, at: {category: system}}}\n';

describe('the operation retention', () => {
  let test: TestDatabase;
  let parts: { sources: PrivacySources; holds: LegalHolds; reports: RetentionReports; run: (caller: Caller, input: RetentionInput) => Promise<{ id: string; result: unknown }>; stop: () => Promise<void> };
  beforeAll(async () => {
    test = await createTestDatabase();
    const folder = await mkdtemp(join(tmpdir(), 'hal9-retention-'));
    const address = inject('temporalAddress');
    const config = loadConfig({ DATABASE_URL: test.url, TEMPORAL_ADDRESS: address, HAL9_DATA: folder, HAL9_ALLOW_PRIVATE_ADDRESSES: 'true', HAL9_MASTER_KEYS: `t:${Buffer.alloc(32, 5).toString('base64')}` });
    const [connection, clientConnection, namespace, keys] = [await NativeConnection.connect({ address }), await Connection.connect({ address }), await createTestNamespace(), await loadKeyRing(config)];
    const dataConverter = createDataConverter(keys);
    const client = new Client({ connection: clientConnection, namespace, dataConverter });
    const logger = pino({ level: 'silent' });
    const { database } = test;
    const operations = createOperations({ client, database, contracts: new Map([[contract.name, contract]]), keys, logger });
    const registered = await registerRetention({ config, database, operations, logger });
    const worker = await Worker.create({
      connection,
      namespace,
      taskQueue: TASK_QUEUES.core,
      dataConverter,
      workflowsPath: join(import.meta.dirname, '../../workflows/retention/index.ts'),
      activities: { ...registered.queues[TASK_QUEUES.core] },
      interceptors: { activity: activityInterceptors },
      shutdownForceTime: '5 seconds',
    });
    const running = worker.run();
    parts = {
      sources: new PrivacySources({ database, keys }),
      holds: new LegalHolds({ database, keys }),
      reports: new RetentionReports(database),
      async run(caller, input) {
        const { runId } = await operations.start(caller, { operation: contract.name, input, origin: 'api' });
        const ended = await operations.result(caller, runId, 90_000);
        return { id: parseRunId(runId)?.uuid ?? '', result: 'result' in ended ? ended.result : ended };
      },
      async stop() {
        worker.shutdown();
        await running;
        await registered.shutdown?.();
        await operations.close();
        await Promise.all([clientConnection.close(), connection.close()]);
        await rm(folder, { recursive: true, force: true });
      },
    };
  });
  afterAll(async () => {
    await parts.stop();
    await test.drop();
  });
  const caller = async (): Promise<Caller> => systemCaller(await test.organisation(), 'test');

  it('counts first, deletes the same, refreshes copies, and reports both', async () => {
    await withSchema(SHOP, async (client, url) => {
      const who = await caller();
      await parts.sources.create(who, { name: 'shop', kind: 'postgres', address: `${url}?sslmode=disable`, annotations: ANNOTATIONS });
      await parts.holds.place(who, { source: 'shop', table: 'log', reason: 'audit' });
      await parts.holds.place(who, { identities: { email: ['V500@example.com'] }, reason: 'case 7' });
      const dry = await parts.run(who, { source: 'shop', dryRun: true });
      const expected = (await client.query<{ n: number }>("select count(*)::int as n from visit where at < now() - interval '1 year' and id <> 500")).rows[0]?.n ?? 0;
      expect(dry.result).toMatchObject({ reportId: dry.id, state: 'counted', due: expected, deleted: 0, reasons: [expect.stringMatching(/^public\.log: legal hold .*: audit$/)] });
      expect((await client.query('select from visit')).rowCount).toBe(800);
      const real = await parts.run(who, { source: 'shop', share: 1 });
      expect(real.result).toMatchObject({ state: 'done', due: expected, deleted: expected });
      expect((await client.query('select from visit')).rowCount).toBe(800 - expected);
      expect((await client.query('select from days')).rowCount).toBe(800 - expected);
      expect((await client.query('select from log')).rowCount).toBe(1);
      const { report, tables } = await parts.reports.get(who, real.id);
      expect(report).toMatchObject({ source: 'shop', dryRun: false, state: 'done' });
      expect(tables).toEqual([
        expect.objectContaining({ table: 'public.visit', keep: 'P1Y', since: 'at', due: expected, deleted: expected, held: 1, referenced: 0, left: 0, why: null }),
        expect.objectContaining({ table: 'public.log', due: 0, deleted: 0, left: null, why: expect.stringContaining('audit') }),
      ]);
      expect((await parts.reports.list(who, 10)).map(({ id }) => id)).toEqual([real.id, dry.id]);
    });
  });

  it('refuses what it cannot do with the reason, and deletes nothing', async () => {
    const who = await caller();
    expect((await parts.run(who, { source: 'nowhere' })).result).toMatchObject({ state: 'refused', deleted: 0, reasons: ['no such source'] });
    await withSchema(`${SHOP}; create function no() returns trigger language plpgsql as $$ begin raise exception 'no'; end $$; create trigger no before delete on visit for each row execute function no()`, async (client, url) => {
      await parts.sources.create(who, { name: 'shop', kind: 'postgres', address: `${url}?sslmode=disable`, annotations: ANNOTATIONS.replaceAll(/retention: \{[^}]*\}, /g, '') });
      expect((await parts.run(who, { source: 'shop' })).result).toMatchObject({ state: 'refused', reasons: ['no annotation of the source has a retention policy'] });
      const [source] = await parts.sources.list(who, 1);
      await parts.sources.change(who, source?.id ?? '', { annotations: ANNOTATIONS });
      expect((await parts.run(who, { source: 'shop', tables: ['visit', 'customers'] })).result).toMatchObject({ state: 'refused', deleted: 0, reasons: ['customers: no annotation gives it a retention policy'] });
      expect((await parts.run(who, { source: 'shop', tables: ['visit'] })).result).toMatchObject({ state: 'incomplete', deleted: 0, reasons: [expect.stringContaining('public.visit: the database refuses the deletion: SQLSTATE P0001'), expect.stringContaining('rows that have expired are still there')] });
      expect((await client.query('select from visit')).rowCount).toBe(800);
    });
  });
});
