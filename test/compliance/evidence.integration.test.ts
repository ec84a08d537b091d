import { randomBytes, randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { NativeConnection, Worker } from '@temporalio/worker';
import { sql } from 'kysely';
import pg from 'pg';
import pino from 'pino';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import createComplianceActivities from '../../activities/compliance/index.ts';
import { EVIDENCE_QUERIES, evidenceHash, EvidenceStore, type EvidenceQuery } from '../../database/evidence.ts';
import { StatementStore } from '../../database/statements.ts';
import { collect } from '../../platform/compliance/collection.ts';
import { Compliance } from '../../platform/compliance/compliance.ts';
import { CONTROLS } from '../../platform/compliance/controls.ts';
import { loadConfig } from '../../platform/config/config.ts';
import { systemCaller } from '../../platform/identity/caller.ts';
import { KeyRing } from '../../platform/keys/key-ring.ts';
import { createOperations } from '../../platform/operations/operations.ts';
import contract from '../../schemas/operations/compliance-evidence.ts';
import { TASK_QUEUES } from '../../schemas/names/task-queues.ts';
import { evidenceSchedule } from '../../workers/dispatcher/compliance.ts';
import { createTestDatabase, type TestDatabase } from '../environment/database.ts';
import { createTestNamespace } from '../environment/temporal.ts';

const logger = pino({ level: 'silent' });
const CONTROL = 'tenant-isolation';

describe('evidence', () => {
  let test: TestDatabase;
  let evidence: EvidenceStore;
  let owner: pg.Client;
  beforeAll(async () => {
    test = await createTestDatabase();
    evidence = new EvidenceStore(test.database);
    owner = new pg.Client({ connectionString: test.url });
    await owner.connect();
  });
  afterAll(async () => {
    await owner.end();
    await test.drop();
  });

  const keep = (orgId: string, at: string, result: 'passed' | 'failed' = 'passed', collection: string = randomUUID()) => evidence.keep(orgId, collection, { control: CONTROL, at: new Date(at), result, numbers: { tables: 1 } });

  it.each(EVIDENCE_QUERIES)('%s runs, and passes where nothing is wrong', async (query) => {
    const orgId = await test.organisation();
    const { passed, numbers } = await evidence.ask(orgId, query);
    expect({ query, passed }).toEqual({ query, passed: true });
    expect(Object.values(numbers).every((value) => Number.isSafeInteger(value))).toBe(true);
  });

  it('finds what is wrong', async () => {
    const orgId = await test.organisation();
    const user = randomUUID();
    const wrongs: Partial<Record<EvidenceQuery, string>> = {
      'row-level-security': 'create table unguarded (org_id uuid)',
      'database-roles': 'alter role hal9_app createdb',
      'keys-hashed': `insert into api_keys (org_id, id, name, prefix, secret_hash, scopes) values ('${orgId}', gen_random_uuid(), 'x', gen_random_uuid()::text, 'plain', '{}')`,
      'keys-in-use': `insert into api_keys (org_id, id, name, prefix, secret_hash, scopes, created_at) values ('${orgId}', gen_random_uuid(), 'x', gen_random_uuid()::text, sha256('a'), '{}', now() - interval '91 days')`,
      'leavers-locked-out': `insert into users (org_id, id, user_name, active) values ('${orgId}', '${user}', 'gone', false);
        insert into sessions (org_id, id, user_id, method, region, expires_at, sealed) values ('${orgId}', gen_random_uuid(), '${user}', 'password', 'local', now() + interval '1 hour', '')`,
      'second-factors': `insert into users (org_id, id, user_name, password_hash) values ('${orgId}', gen_random_uuid(), 'single', '$argon2id$')`,
      'acts-sequenced': `insert into audit_acts (org_id, id, at, action, result, actor_kind, actor_id, resource_kind, resource_id, request_id) values ('${orgId}', gen_random_uuid(), now() - interval '5 minutes', 'a.b', 'succeeded', 'system', 'x', 'y', 'z', 'r')`,
      'audit-gapless': `insert into audit_trees (org_id, size) values ('${orgId}', 3)`,
      'signals-decided': `insert into chunks (org_id, lane, signals, received_on, received_at) values ('${orgId}', 0, 1, current_date, now() - interval '2 hours')`,
      'dead-letters-handled': `insert into dead_letters (org_id, id, batch_id, layer, ref, failure, cause, created_at) values ('${orgId}', gen_random_uuid(), gen_random_uuid(), 'L2', gen_random_uuid(), 'PoisonSignal', 'x', now() - interval '31 days')`,
      'components-recover': `insert into health_recoveries (org_id, id, component, action, reason, outcome, started_at, ended_at) values ('${orgId}', gen_random_uuid(), 'x', 'y', 'z', 'failed', now(), now())`,
      'dedup-window-kept': `insert into signal_keys (org_id, key, received_on, chunk_id, ordinal) values ('${orgId}', gen_random_uuid(), current_date - 120, 1, 1)`,
      'consents-complete': `insert into consent_records (org_id, id, subject, purpose, state, legal_basis, text_version, source, at, recorded_by) values ('${orgId}', gen_random_uuid(), 'x', 'p', 'given', 'consent', '', 's', now(), 'x')`,
    };
    for (const [query, wrong] of Object.entries(wrongs)) await owner.query(wrong).catch((error: unknown) => expect.fail(`${query}: ${String(error)}`));
    const found: string[] = [];
    for (const query of EVIDENCE_QUERIES) if (!(await evidence.ask(orgId, query)).passed) found.push(query);
    await owner.query('drop table unguarded');
    await owner.query('alter role hal9_app nocreatedb');
    expect(found.sort()).toEqual(Object.keys(wrongs).sort());
  });

  it('finds evidence and statements that a superuser changed', async () => {
    const orgId = await test.organisation();
    await keep(orgId, '2026-01-01T00:00:00Z', 'failed');
    await keep(orgId, '2026-01-02T00:00:00Z');
    await sql`insert into usage_hours (org_id, meter, hour, quantity) values (${orgId}, 'runs', '2026-01-05T00:00:00Z', 5)`.execute(test.database.system);
    await new StatementStore(test.database).closeMonthsAcrossOrganisations(10, 'enterprise');
    for (const query of ['evidence-intact', 'statements-intact'] as const) expect(await evidence.ask(orgId, query)).toMatchObject({ passed: true });
    await expect(owner.query("update control_evidence set result = 'passed' where org_id = $1", [orgId])).rejects.toThrow('does not change');
    await owner.query('alter table control_evidence disable trigger user; alter table statements disable trigger user');
    await owner.query("update control_evidence set result = 'passed' where org_id = $1", [orgId]);
    await owner.query("update statements set plan = 'free' where org_id = $1", [orgId]);
    await owner.query('alter table control_evidence enable trigger user; alter table statements enable trigger user');
    for (const query of ['evidence-intact', 'statements-intact'] as const) expect(await evidence.ask(orgId, query)).toMatchObject({ passed: false, numbers: { broken: 1 } });
  });

  it('keeps one answer a collection, in one chain whoever writes', async () => {
    const orgId = await test.organisation();
    const collection = randomUUID();
    const [first, again] = [await keep(orgId, '2026-01-01T00:00:00Z', 'passed', collection), await keep(orgId, '2026-01-01T00:00:00Z', 'failed', collection)];
    expect(again).toEqual(first);
    await Promise.all(Array.from({ length: 10 }, () => keep(orgId, '2026-01-02T00:00:00Z')));
    const rows = (await evidence.list(orgId, CONTROL, 100)).reverse();
    expect(rows).toHaveLength(11);
    for (const [index, row] of rows.entries()) {
      expect(row.previousHash).toBe(rows[index - 1]?.hash ?? null);
      expect(evidenceHash(row)).toBe(row.hash);
    }
    expect(await evidence.list(orgId, CONTROL, 3, rows[1]?.at)).toEqual([first]);
  });

  it('shows how much of a period is covered, and its gaps', async () => {
    const orgId = await test.organisation();
    for (const day of ['02', '03', '06']) await keep(orgId, `2026-02-${day}T03:00:00Z`, day === '03' ? 'failed' : 'passed');
    const compliance = new Compliance(test.database);
    const standing = await compliance.standing({ orgId }, new Date('2026-02-01T00:00:00Z'), new Date('2026-02-08T00:00:00Z'));
    expect(standing).toHaveLength(CONTROLS.length);
    const isolation = standing.find(({ control }) => control.id === CONTROL);
    expect(isolation).toMatchObject({ state: 'passing', last: { at: new Date('2026-02-06T03:00:00Z') } });
    expect(isolation?.coverage).toEqual({ covered: 3, days: 7, failures: [{ from: '2026-02-03', to: '2026-02-03' }], gaps: [{ from: '2026-02-01', to: '2026-02-01' }, { from: '2026-02-04', to: '2026-02-05' }, { from: '2026-02-07', to: '2026-02-07' }] });
    expect(standing.find(({ control }) => control.id === 'evidence-is-intact')).toMatchObject({ state: 'not-collected', coverage: { covered: 0 } });
    expect(standing.find(({ control }) => control.id === 'encryption-at-rest')).toMatchObject({ state: 'shown-by-tests', coverage: null });
    await expect(compliance.standing({ orgId }, new Date('2026-02-01T00:00:00Z'), new Date('2026-02-01T00:00:00Z'))).rejects.toMatchObject({ type: 'InvalidInput' });
    await expect(compliance.evidenceOf({ orgId }, 'nothing', 1)).rejects.toMatchObject({ type: 'NotFound' });
  });

  it('keeps a question that cannot be answered as an error', async () => {
    const orgId = await test.organisation();
    const broken = new (class extends EvidenceStore {
      override ask(): Promise<never> {
        return Promise.reject(new Error('relation does not exist'));
      }
    })(test.database);
    const kept = await collect({ evidence: broken, logger }, { orgId, collection: randomUUID(), control: CONTROL, at: new Date() });
    expect(kept).toMatchObject({ result: 'error', numbers: {} });
  });

  it('is collected by a run, once a day however often it is started', async () => {
    const namespace = await createTestNamespace();
    const [connection, clientConnection] = [await NativeConnection.connect({ address: inject('temporalAddress') }), await Connection.connect({ address: inject('temporalAddress') })];
    const client = new Client({ connection: clientConnection, namespace });
    const keys = new KeyRing([{ id: 'a', key: randomBytes(32) }]);
    const operations = createOperations({ client, database: test.database, contracts: new Map([[contract.name, contract]]), keys, logger });
    const { queues } = createComplianceActivities({ config: loadConfig({}), database: test.database, operations, logger });
    const worker = await Worker.create({
      connection, namespace, taskQueue: TASK_QUEUES.core, workflowsPath: join(import.meta.dirname, '../../workflows/compliance-evidence/index.ts'), activities: queues[TASK_QUEUES.core] ?? {}, shutdownForceTime: '5 seconds',
    });
    const running = worker.run();
    try {
      const orgId = await test.organisation();
      const settled = { settledOrganisationsAcrossAll: () => Promise.resolve([orgId]) };
      const days = [new Date('2026-03-01T04:00:00Z'), new Date('2026-03-01T23:00:00Z'), new Date('2026-03-02T04:00:00Z')];
      for (const now of days) for (let process = 0; process < 2; process++) await evidenceSchedule(settled, operations, () => now).run(new AbortController().signal);
      await operations.close();
      const caller = systemCaller(orgId, 'test');
      const { runs } = await operations.list(caller, { operation: 'compliance-evidence' });
      expect(runs).toHaveLength(2);
      for (const { runId } of runs) {
        const result = await operations.result(caller, runId, 30_000);
        expect(result).toMatchObject({ status: 'completed', result: { failed: 0, findings: [] } });
      }
      expect(await evidence.list(orgId, CONTROL, 10)).toHaveLength(2);
    } finally {
      worker.shutdown();
      await running;
      await Promise.all([clientConnection.close(), connection.close()]);
    }
  });

  it('is started for the others when one cannot be started', async () => {
    const [first, second] = [randomUUID(), randomUUID()];
    const started: string[] = [];
    const operations = {
      start: (caller: { orgId: string }) => {
        if (caller.orgId === first) return Promise.reject(new Error('away'));
        started.push(caller.orgId);
        return Promise.resolve({ runId: '', workflowId: '', created: true });
      },
    };
    const schedule = evidenceSchedule({ settledOrganisationsAcrossAll: () => Promise.resolve([first, second]) }, operations);
    for (let round = 1; round <= 2; round++) {
      await expect(schedule.run(new AbortController().signal)).rejects.toThrow('of 1 organisations');
      expect(started).toHaveLength(round);
    }
  });

  it('is asked for organisations that have settled in', async () => {
    const orgId = await test.organisation();
    expect(await evidence.settledOrganisationsAcrossAll()).not.toContain(orgId);
    await owner.query("update organisations set created_at = now() - interval '2 hours' where org_id = $1", [orgId]);
    expect(await evidence.settledOrganisationsAcrossAll()).toContain(orgId);
  });
});
