import { randomUUID } from 'node:crypto';
import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { RunEventStore } from '../../database/run-events.ts';
import { RunStore, type RunRow } from '../../database/runs.ts';
import { openStores } from '../../platform/database/stores.ts';
import { withCauses } from '../../platform/traces/causes.ts';
import { addFollowers } from '../../platform/traces/followers.ts';
import { runNode } from '../../platform/traces/node.ts';
import { shownTo } from '../../platform/traces/shown.ts';
import type { TraceNode } from '../../schemas/rest/traces.ts';
import { createTestDatabase, type TestDatabase } from '../environment/database.ts';

let test: TestDatabase;
let orgId: string;
let second = 0;

beforeAll(async () => {
  test = await createTestDatabase();
  orgId = await test.organisation();
});
afterAll(() => test.drop());

/** One second after what was made before it. */
const next = (): Date => new Date(Date.UTC(2026, 0, 1) + 1000 * (second += 1));

async function run(operation: string, more: Partial<RunRow> = {}): Promise<string> {
  const runId = more.runId ?? `${operation}~${randomUUID()}`;
  await new RunStore(test.database).recordOfAllOrganisations([{ orgId, runId, operation, origin: 'api', status: 'completed', tags: [], actor: 'api-key:k', requestId: null, traceparent: null, startedAt: next(), closedAt: next(), failure: null, ...more }]);
  return runId;
}

async function write(statement: ReturnType<typeof sql>): Promise<void> {
  await test.database.withOrg(orgId, (tx) => statement.execute(tx));
}

async function trace(runId: string, of = orgId): Promise<TraceNode> {
  const stores = openStores(test.database);
  const found = await stores.runs.get(of, runId);
  if (found === undefined) throw new Error(`no run ${runId}`);
  const node = runNode(found);
  expect(await addFollowers({ ...stores, events: stores.runEvents }, of, [node])).toBe(false);
  return withCauses({ ...stores, reads: stores.signalReads }, of, node);
}

/** The tree as lines, indented. */
function lines({ kind, title, children }: TraceNode, depth = 0): string[] {
  return [`${'  '.repeat(depth)}${kind} ${title}`, ...children.flatMap((child) => lines(child, depth + 1))];
}

describe('the trace of a run', () => {
  it('begins with who called, and shows its steps and what took over its input', async () => {
    const failed = await run('remediate', { status: 'running', closedAt: null });
    await new RunEventStore(test.database).reportOfAllOrganisations([{ orgId, runId: failed, progress: { step: 'looking', done: 0, total: 2, message: '' } }]);
    await write(sql`update runs set status = 'failed', failure = 'HostGone', closed_at = now() where run_id = ${failed}`);
    const again = await run('remediate', { retryOf: failed });
    await new RunEventStore(test.database).retry(orgId, failed, again);
    const tree = await trace(failed);
    expect(lines(tree)).toEqual(['caller api-key k', '  run remediate: failed', '    run remediate: completed', '    step looking']);
    expect(tree.children[0]).toMatchObject({ state: 'failed', failure: 'HostGone', children: [{ id: again, durationMs: 1000 }, { kind: 'step', state: 'failed', failure: 'HostGone' }] });
    // Of the second, the first is the cause.
    expect(lines(await trace(again))).toEqual(['caller api-key k', '  run remediate: failed', '    run remediate: completed']);
  });

  it('goes from a signal through an automation to the message that went out', async () => {
    const [automation, firing, signal, endpoint] = [randomUUID(), randomUUID(), randomUUID(), randomUUID()];
    await write(sql`insert into automations (org_id, id, version, name, enabled, draft, owner_kind, owner_id, owner_scopes) values (${orgId}, ${automation}, 1, 'disks', true, '{}', 'user', 'u', '{}')`);
    await write(sql`insert into webhook_endpoints (org_id, id, name, url, events, secrets, enabled) values (${orgId}, ${endpoint}, 'ops', 'https://ops.example', '{run.completed}', '', true)`);
    const runId = await run('remediate', { runId: `remediate~${firing}`, origin: 'automation' });
    await write(sql`insert into automation_firings (org_id, id, automation_id, automation_version, signal_key, signal_type, state, effect, run_id, done_at) values (${orgId}, ${firing}, ${automation}, 1, ${signal}, 'disk.full', 'fired', '{"kind": "operation"}', ${runId}, now())`);
    await write(sql`update webhook_endpoints set enabled = false where id = ${endpoint}`);
    const tree = await trace(runId);
    // The signal left the dedup window long ago.
    expect(lines(tree)).toEqual(['signal disk.full', '  automation disks: fired', '    run remediate: completed', '      message run.completed to ops: pending']);
    expect(tree.id).toBe(signal);

    // Downwards from the signal it is the same.
    const stores = openStores(test.database);
    const root: TraceNode = { ...tree, children: [] };
    await addFollowers({ ...stores, events: stores.runEvents }, orgId, [root]);
    expect(lines(root)).toEqual(lines(tree));
  });

  it('goes from a schedule, and over an approval that let a run begin', async () => {
    const [schedule, firing, approval] = [randomUUID(), randomUUID(), randomUUID()];
    await write(sql`insert into schedules (org_id, id, name, draft, owner_kind, owner_id, owner_scopes) values (${orgId}, ${schedule}, 'nightly', '{}', 'user', 'u', '{}')`);
    await write(sql`insert into schedule_firings (org_id, id, schedule_id, due_at, state) values (${orgId}, ${firing}, ${schedule}, '2026-01-01T03:00:00Z', 'done')`);
    const asking = await run('approval', { runId: `approval~${firing}`, origin: 'schedule' });
    await write(sql`insert into approvals (org_id, id, run_id, summary, reason, effect, permission, required, state, deadline_at, created_at, closed_at)
      values (${orgId}, ${approval}, ${asking}, 'Go on?', 'r', '{"operation": {"type": "rollout", "input": {}}}', 'approvals:write', 1, 'approved', now(), '2026-01-01T00:00:00Z', '2026-01-01T00:01:00Z')`);
    await write(sql`insert into notifications (org_id, id, connection_id, connection_name, kind, dedup_key, action, severity, title, state, last_failure) values (${orgId}, ${randomUUID()}, ${randomUUID()}, 'chat', 'slack', ${`approval/${approval}/escalated`}, 'trigger', 'info', 'Nobody has answered', 'failed', 'no such channel')`);
    const released = await run('rollout', { runId: `rollout~${approval}`, origin: 'decision' });
    const all = ['schedule nightly, due 2026-01-01T03:00:00.000Z', '  run approval: completed', '    approval Go on?: approved', '      run rollout: completed', '      notification Nobody has answered to chat: failed'];
    const tree = await trace(asking);
    expect(lines(tree)).toEqual(all);
    expect(tree.children[0]?.children[0]).toMatchObject({ durationMs: 60_000, failure: null, children: [{}, { failure: 'no such channel' }] });
    expect(lines(await trace(released))).toEqual(all.slice(0, 4));
  });

  it('has the runs of a bulk action below it', async () => {
    const bulk = randomUUID();
    const action = await run('bulk', { runId: `bulk~${bulk}`, origin: 'automation', actor: 'user:u' });
    const started = await run('remediate', { requestId: action, actor: 'user:u' });
    await write(sql`insert into bulk_actions (org_id, id, action, actor_kind, actor_id, scopes) values (${orgId}, ${bulk}, 'retry', 'user', 'u', '{}')`);
    await write(sql`insert into bulk_items (org_id, bulk_id, n, run_id, state, new_run_id) values (${orgId}, ${bulk}, 1, 'remediate~x', 'done', ${started})`);
    expect(lines(await trace(action))).toEqual(['caller user u', '  run bulk: completed', '    run remediate: completed']);
    expect(lines(await trace(started))).toEqual(['caller user u', '  run bulk: completed', '    run remediate: completed']);
  });

  it('is of one organisation, and names nothing that the caller may not read', async () => {
    const [automation, firing] = [randomUUID(), randomUUID()];
    await write(sql`insert into automations (org_id, id, version, name, enabled, draft, owner_kind, owner_id, owner_scopes) values (${orgId}, ${automation}, 1, 'secret-name', true, '{}', 'user', 'u', '{}')`);
    const runId = await run('remediate', { runId: `remediate~${firing}`, origin: 'automation' });
    await write(sql`insert into automation_firings (org_id, id, automation_id, automation_version, signal_key, signal_type, state, effect, run_id) values (${orgId}, ${firing}, ${automation}, 1, ${randomUUID()}, 'secret.type', 'fired', '{"kind": "operation"}', ${runId})`);
    const other = await test.organisation('other');
    await expect(trace(runId, other)).rejects.toThrow('no run');
    // The same id in another organisation meets none of these rows.
    await new RunStore(test.database).recordOfAllOrganisations([{ orgId: other, runId, operation: 'remediate', origin: 'automation', status: 'completed', tags: [], actor: 'user:o', requestId: null, traceparent: null, startedAt: next(), closedAt: next(), failure: null }]);
    expect(lines(await trace(runId, other))).toEqual(['caller user o', '  run remediate: completed']);

    const tree = await trace(runId);
    const narrow = shownTo({ scopes: ['runs:read:type=remediate'] }, tree);
    expect(lines(narrow)).toEqual(['signal signal, not yours to see', '  automation automation, not yours to see', '    run remediate: completed']);
    expect(JSON.stringify(narrow)).not.toMatch(/secret/);
    expect(lines(shownTo({ scopes: ['runs:read:type=rollout', 'automations:read'] }, tree))).toEqual(['signal signal, not yours to see', '  automation secret-name: fired', '    run run, not yours to see']);
    expect(shownTo({ scopes: ['*'] }, tree)).toEqual(tree);
  });
});
