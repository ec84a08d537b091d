import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { RunStore, type RunRow } from '../../database/runs.ts';
import { startTestApi, type TestApi, type TestKey } from '../api/running-api.ts';

const RULE = { name: 'slow', layer: 'L2', subscription: { types: ['x'] }, behaviour: { kind: 'rules', rules: [{ when: 'true', emit: { type: 'y' } }] } };

/** That every route which changes something really leaves its act. */
describe('acts of routes', () => {
  let api: TestApi;
  let key: TestKey;
  beforeAll(async () => {
    api = await startTestApi();
    key = await api.key(await api.database.organisation());
  });
  afterAll(() => api.stop());

  const send = async (method: string, path: string, body?: unknown, text = key.text) => {
    const response = await fetch(`${api.url}${path}`, {
      method,
      headers: { Authorization: `Bearer ${text}`, ...(body === undefined ? {} : { 'Content-Type': 'application/json' }) },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const answer = await response.text();
    return { status: response.status, body: (answer === '' ? {} : JSON.parse(answer)) as { id: string } };
  };
  const acts = async (orgId = key.orgId) => {
    const { rows } = await sql<{ action: string; result: string; actor: string; resource: string; details: Record<string, unknown> }>`
      select action, result, actor_kind || ':' || actor_id as actor, resource_id as resource, details from audit_acts where org_id = ${orgId} order by id`.execute(api.database.database.system);
    return rows;
  };
  const clear = () => sql`delete from audit_acts`.execute(api.database.database.system);
  const missing = () => api.log.filter((line) => line.includes('wrote no act'));

  it('are written with neurons, connections, budgets and keys', async () => {
    await clear();
    const { body: neuron } = await send('POST', '/v1/neurons', RULE);
    await send('PUT', `/v1/neurons/${neuron.id}`, RULE);
    await send('PATCH', `/v1/neurons/${neuron.id}`, { name: 'slower' });
    await send('POST', `/v1/neurons/${neuron.id}/disable`);
    await send('POST', `/v1/neurons/${neuron.id}/enable`);
    const made = await send('POST', '/v1/connections?test=false', { name: 'hook', settings: { kind: 'slack', url: 'https://hooks.slack.com/services/T/B/x' } });
    expect(made.status).toBe(201);
    await send('POST', `/v1/connections/${made.body.id}/rotate?test=false`, { settings: {} });
    await send('DELETE', `/v1/connections/${made.body.id}`);
    await send('PUT', '/v1/budgets', { day: { calls: 5 } });
    const { body: other } = await send('POST', '/v1/api-keys', { name: 'k', scopes: ['runs:read'] });
    await send('POST', `/v1/api-keys/${other.id}/rotate`, {});
    await send('DELETE', `/v1/api-keys/${other.id}`);
    const written = await acts();
    expect(written.map(({ action, resource }) => [action, resource])).toEqual([
      ['neuron.create', neuron.id],
      ['neuron.replace', neuron.id],
      ['neuron.change', neuron.id],
      ['neuron.disable', neuron.id],
      ['neuron.enable', neuron.id],
      ['connection.create', made.body.id],
      ['connection.rotate', made.body.id],
      ['connection.delete', made.body.id],
      ['budget.replace', key.orgId],
      ['api-key.create', other.id],
      ['api-key.rotate', other.id],
      ['api-key.revoke', other.id],
    ]);
    expect(new Set(written.map(({ actor, result }) => `${actor} ${result}`))).toEqual(new Set([`api-key:${key.id} succeeded`]));
    expect(missing()).toEqual([]);
  });

  it('are written for refused requests, a flood of one kind as two', async () => {
    const reader = await api.key(key.orgId, ['neurons:read']);
    await clear();
    for (let index = 0; index < 20; index++) expect((await send('POST', '/v1/neurons', RULE, reader.text)).status).toBe(403);
    expect((await send('GET', '/v1/budgets', undefined, reader.text)).status).toBe(403);
    await send('POST', '/v1/neurons', RULE);
    expect((await send('POST', '/v1/neurons', RULE)).status).toBe(409);
    expect((await send('POST', '/v1/neurons', { nonsense: true })).status).toBe(422);
    const written = await untilSome(acts, 4);
    expect(written.map(({ action, result, details }) => [action, result, details['type'] ?? null])).toEqual(
      expect.arrayContaining([['neuron.create', 'refused', 'Forbidden'], ['request.get', 'refused', 'Forbidden'], ['neuron.create', 'succeeded', null], ['neuron.create', 'refused', 'Conflict']]),
    );
    expect(written).toHaveLength(4);
  });

  it('say what was meant and what came of it where Temporal is told', async () => {
    await clear();
    const runId = `approval~${randomUUID()}`;
    expect((await send('POST', `/v1/runs/${runId}/cancel`)).status).toBe(404);
    expect((await acts()).map(({ action, result, resource, details }) => [action, result, resource, details['phase'], details['type']])).toEqual([
      ['run.cancel', 'succeeded', runId, 'intended', undefined],
      ['run.cancel', 'failed', runId, 'done', 'NotFound'],
    ]);
  });

  it('are written once for the start of a run, by whoever records it first', async () => {
    const store = new RunStore(api.database.database);
    const started = (change: Partial<RunRow> = {}): RunRow => ({
      orgId: key.orgId, runId: 'report~1', operation: 'report', origin: 'api', status: 'running', tags: [], actor: 'user:u:1', requestId: 'r', traceparent: null, startedAt: new Date(Date.now() - 5000), closedAt: null, failure: null, ...change,
    });
    await clear();
    await Promise.all([store.recordOfAllOrganisations([started({ startAct: { impersonatorId: 'boss', risk: 7, personal: { address: '192.0.2.1' } } })]), store.recordOfAllOrganisations([started()]), store.recordOfAllOrganisations([started()])]);
    expect(await acts()).toMatchObject([{ action: 'run.start', actor: 'user:u:1', resource: 'report~1', details: { operation: 'report', origin: 'api' } }]);
    await store.recordOfAllOrganisations([started({ status: 'completed', closedAt: new Date(Date.now() - 3000) })]);
    expect(await acts()).toHaveLength(1);
    // The same id runs again: another start, another act.
    await Promise.all([1, 2].map(() => store.recordOfAllOrganisations([started({ startedAt: new Date(Date.now() - 1000) })])));
    expect(await acts()).toHaveLength(2);
    await store.recordOfAllOrganisations([started({ runId: 'cascade~1', origin: 'dispatcher' }), started({ runId: 'old~1', startedAt: new Date(Date.now() - 7_200_000) })]);
    expect(await acts()).toHaveLength(2);
  });
});

async function untilSome<T>(read: () => Promise<T[]>, count: number): Promise<T[]> {
  for (;;) {
    const found = await read();
    if (found.length >= count) return found;
    await sleep(20);
  }
}
