import { randomBytes, randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sql } from 'kysely';
import pino from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createBlobStore } from '../../platform/blobs/create.ts';
import { loadConfig } from '../../platform/config/config.ts';
import { KeyRing } from '../../platform/keys/key-ring.ts';
import { createRetention } from '../../workers/dispatcher/retention.ts';
import { createTestDatabase, type TestDatabase } from '../environment/database.ts';

describe('what has had its time', () => {
  const keys = new KeyRing([{ id: 'test', key: randomBytes(32) }]);
  let test: TestDatabase;
  let folder: string;
  beforeAll(async () => {
    test = await createTestDatabase();
    folder = await mkdtemp(join(tmpdir(), 'hal9-retention-'));
  });
  afterAll(async () => {
    await test.drop();
    await rm(folder, { recursive: true, force: true });
  });

  const config = () => loadConfig({ HAL9_DATA: folder, DATABASE_URL: test.url, HAL9_KEEP_HISTORY_DAYS: '60', HAL9_KEEP_CALLS_DAYS: '10', HAL9_KEEP_MESSAGES_DAYS: '20', HAL9_KEEP_APPROVALS_DAYS: '100' });
  const run = () => createRetention({ config: config(), database: test.database, keys, logger: pino({ level: 'silent' }) }).run(new AbortController().signal);
  const count = async (orgId: string, table: 'neuron_calls' | 'external_calls' | 'notifications' | 'approvals' | 'approval_answers' | 'outbox' | 'batches' | 'budget_spends' | 'remediation_actions') =>
    Number((await test.database.withOrg(orgId, (tx) => tx.selectFrom(table).select((select) => select.fn.countAll().as('n')).executeTakeFirstOrThrow())).n);

  /** A batch of that age, with a call of a neuron that has a context. */
  async function batch(orgId: string, state: 'open' | 'decided', daysAgo: number, context: string): Promise<void> {
    const id = randomUUID();
    const at = sql`now() - make_interval(days => ${daysAgo})`;
    await test.database.withOrg(orgId, async (tx) => {
      await sql`insert into batches (org_id, id, lane, mode, state, signals, opened_at) values (${orgId}, ${id}, 1, 'batch', ${state}, 1, ${at})`.execute(tx);
      await sql`insert into neuron_calls (org_id, batch_id, neuron_id, neuron_version, input_hash, context, cost_usd, input_tokens, output_tokens, duration_ms, created_at)
        values (${orgId}, ${id}, ${randomUUID()}, 1, ${randomBytes(32)}, ${context}, 0, 0, 0, 1, ${at})`.execute(tx);
      await sql`insert into external_calls (org_id, id, batch_id, layer, ordinal, neuron_id, neuron_version, signal, created_at) values (${orgId}, ${randomUUID()}, ${id}, 'L2', 0, ${randomUUID()}, 1, '{}', ${at})`.execute(tx);
    });
  }

  it('goes with its stored contexts, and neither open work nor a context that is still in use does', async () => {
    const orgId = await test.organisation();
    const blobs = createBlobStore(config(), keys);
    const [old, shared, open] = [await blobs.put(orgId, Buffer.from('old')), await blobs.put(orgId, Buffer.from('shared')), await blobs.put(orgId, Buffer.from('open'))];
    await batch(orgId, 'decided', 11, old);
    await batch(orgId, 'decided', 11, shared);
    await batch(orgId, 'decided', 2, shared);
    await batch(orgId, 'open', 200, open);
    await batch(orgId, 'decided', 61, old);
    expect(await run()).toBe(false);
    expect([await count(orgId, 'neuron_calls'), await count(orgId, 'external_calls'), await count(orgId, 'batches')]).toEqual([2, 2, 4]);
    await expect(blobs.get(orgId, old)).rejects.toMatchObject({ type: 'NotFound' });
    expect([String(await blobs.get(orgId, shared)), String(await blobs.get(orgId, open))]).toEqual(['shared', 'open']);
  });

  it('goes earlier where the plan keeps less, and nobody else\'s does', async () => {
    const [free, other] = [await test.organisation(), await test.organisation()];
    await test.database.system.insertInto('organisation_plans').values({ org_id: free, plan: 'free', overrides: JSON.stringify({ limits: { retentionDays: 5 } }), updated_by: 'test' }).execute();
    const blobs = createBlobStore(config(), keys);
    const [gone, kept] = [await blobs.put(free, Buffer.from('gone')), await blobs.put(other, Buffer.from('kept'))];
    await batch(free, 'decided', 6, gone);
    await batch(free, 'open', 6, gone);
    await batch(free, 'decided', 4, gone);
    await batch(other, 'decided', 6, kept);
    await run();
    expect([await count(free, 'batches'), await count(free, 'neuron_calls'), await count(other, 'batches'), await count(other, 'neuron_calls')]).toEqual([2, 2, 1, 1]);
    expect(String(await blobs.get(free, gone))).toBe('gone');
  });

  it('is judged for each kind of rows by its own days, and what waits stays', async () => {
    const orgId = await test.organisation();
    const ago = (days: number) => sql`now() - make_interval(days => ${days})`;
    await test.database.withOrg(orgId, async (tx) => {
      for (const [state, days] of [['delivered', 21], ['failed', 21], ['queued', 300], ['delivered', 19]] as const) {
        await sql`insert into notifications (org_id, id, connection_id, connection_name, kind, dedup_key, action, severity, title, state, created_at)
          values (${orgId}, ${randomUUID()}, ${randomUUID()}, 'c', 'smtp', 'k', 'trigger', 'info', 't', ${state}, ${ago(days)})`.execute(tx);
      }
      for (const [account, days] of [['cascade/a', 11], ['cascade/b', 9], ['day/2020-01-01', 900], ['month/2020-01', 900]] as const) {
        await sql`insert into budget_spends (org_id, account, spent_calls, created_at) values (${orgId}, ${account}, 1, ${ago(days)})`.execute(tx);
      }
      for (const [done, days] of [[true, 61], [false, 61], [true, 59]] as const) {
        await sql`insert into outbox (org_id, id, kind, payload, created_at, done_at) values (${orgId}, ${randomUUID()}, 'operation', '{}', ${ago(days)}, ${done ? sql`now()` : null})`.execute(tx);
      }
      for (const [state, days] of [['done', 61], ['started', 61], ['done', 59]] as const) {
        await sql`insert into remediation_actions (org_id, id, host_id, incident_id, workflow_id, step, cause, action, target, state, created_at)
          values (${orgId}, ${randomUUID()}, 'h', 'i', 'w', 1, 'c', 'a', 't', ${state}, ${ago(days)})`.execute(tx);
      }
    });
    await run();
    expect({ messages: await count(orgId, 'notifications'), spends: await count(orgId, 'budget_spends'), effects: await count(orgId, 'outbox'), actions: await count(orgId, 'remediation_actions') }).toEqual({ messages: 2, spends: 3, effects: 2, actions: 2 });
  });

  it('takes answers and links of an approval along', async () => {
    const orgId = await test.organisation();
    await test.database.withOrg(orgId, async (tx) => {
      for (const [state, days] of [['approved', 101], ['open', 400]] as const) {
        const id = randomUUID();
        await sql`insert into approvals (org_id, id, run_id, summary, reason, permission, required, state, created_at, deadline_at, closed_at)
          values (${orgId}, ${id}, ${`approval~${id}`}, 's', 'r', 'approvals:write', 1, ${state}, now() - make_interval(days => ${days}), now(), ${state === 'open' ? null : sql`now()`})`.execute(tx);
        await sql`insert into approval_answers (org_id, approval_id, approver_kind, approver_id, approved) values (${orgId}, ${id}, 'api-key', 'k', true)`.execute(tx);
      }
    });
    await run();
    expect([await count(orgId, 'approvals'), await count(orgId, 'approval_answers')]).toEqual([1, 1]);
  });

  it('goes a bounded part at a time', async () => {
    const orgId = await test.organisation();
    await test.database.withOrg(orgId, (tx) =>
      sql`insert into budget_spends (org_id, account, created_at) select ${orgId}, 'cascade/' || n, now() - interval '30 days' from generate_series(1, 2500) n`.execute(tx),
    );
    expect(await run()).toBe(true);
    expect(await count(orgId, 'budget_spends')).toBe(500);
    expect(await run()).toBe(false);
    expect(await count(orgId, 'budget_spends')).toBe(0);
  });
});
