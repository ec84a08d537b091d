import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { NeuronBreakerStore } from '../../database/neuron-breakers.ts';
import { startTestApi, type TestApi, type TestKey } from '../api/running-api.ts';
import { json, startHttpServer, type LocalServer } from '../environment/http-server.ts';

const CANARY = 'canary-55d0-rest-secret';

describe('connections, notifications and budgets over REST', () => {
  let api: TestApi;
  let server: LocalServer;
  let key: TestKey;
  beforeAll(async () => {
    api = await startTestApi({ HAL9_ALLOW_PRIVATE_ADDRESSES: 'true' });
  });
  afterAll(() => api.stop());
  beforeEach(async () => {
    server = await startHttpServer((_, response) => json(response, 200, {}));
    key = await api.key(await api.database.organisation());
  });
  afterEach(() => server.close());

  const call = async (method: string, path: string, body?: unknown, secret = key.text) => {
    const response = await fetch(`${api.url}${path}`, {
      method,
      headers: { authorization: `Bearer ${secret}`, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    expect(text).not.toContain(CANARY);
    return { status: response.status, headers: response.headers, body: text === '' ? undefined : JSON.parse(text) };
  };
  const hook = () => ({ name: 'hook', settings: { kind: 'webhook', url: `${server.url}/${CANARY}?key=${CANARY}`, headers: { authorization: CANARY } } });

  it('creates, reads, rotates, tests and deletes, and never says a secret again', async () => {
    const created = await call('POST', '/v1/connections', hook());
    expect(created).toMatchObject({ status: 201, body: { name: 'hook', kind: 'webhook', version: 1, state: 'ok', settings: { origin: server.url }, secrets: ['url', 'headers.authorization'], updatedBy: `api-key:${key.id}` } });
    const path = `/v1/connections/${String(created.body.id)}`;
    expect((await call('GET', path)).body).toEqual(created.body);
    expect((await call('POST', `${path}/rotate`, { settings: { headers: { authorization: `${CANARY}-2` } } })).body).toMatchObject({ version: 2 });
    expect(server.received.at(-1)?.headers['authorization']).toBe(`${CANARY}-2`);
    expect(await call('PUT', path, { settings: hook().settings, version: 1 })).toMatchObject({ status: 409 });
    server.answer = (_, response) => json(response, 500, { leak: CANARY });
    expect((await call('POST', `${path}/test`)).body).toMatchObject({ state: 'failed', lastFailure: 'the service failed (HTTP 500)' });
    expect(await call('PUT', path, { settings: hook().settings })).toMatchObject({ status: 424, body: { detail: expect.stringContaining('was not saved because its test failed') } });
    expect((await call('PUT', `${path}?test=false`, { settings: hook().settings })).body).toMatchObject({ version: 3, state: 'untested' });
    expect((await call('GET', `${path}/deliveries`)).body).toEqual({ items: [], nextCursor: null });
    expect((await call('DELETE', path)).status).toBe(204);
    expect((await call('GET', path)).status).toBe(404);
  });

  it('refuses what is wrong by field, without repeating it', async () => {
    const answer = await call('POST', '/v1/connections', { name: 'x', settings: { kind: 'webhook', url: `ftp://${CANARY}`, secret: CANARY, headers: { host: CANARY, ok: `${CANARY}\r\nx: y` } } });
    expect(answer.status).toBe(422);
    expect(answer.body.errors.map((error: { path: string }) => error.path)).toEqual(expect.arrayContaining(['/settings/url', '/settings/secret', '/settings/headers/host', '/settings/headers/ok']));
    expect((await call('POST', '/v1/connections', { name: 'x', settings: { kind: 'llm', provider: 'openai-compatible', apiKey: CANARY } })).body.errors).toMatchObject([{ path: '/settings/baseUrl' }]);
    expect((await call('POST', '/v1/connections?test=false', hook())).status).toBe(201);
    expect((await call('POST', '/v1/connections?test=false', hook())).status).toBe(409);
  });

  it('lists by name, page by page', async () => {
    for (const name of ['c', 'a', 'b']) await call('POST', '/v1/connections?test=false', { ...hook(), name });
    const first = await call('GET', '/v1/connections?limit=2');
    expect(first.body.items.map((item: { name: string }) => item.name)).toEqual(['a', 'b']);
    const second = await call('GET', `/v1/connections?limit=2&cursor=${encodeURIComponent(first.body.nextCursor)}`);
    expect(second.body).toMatchObject({ items: [{ name: 'c' }], nextCursor: null });
    expect((await call('GET', '/v1/notifications?state=failed')).body).toEqual({ items: [], nextCursor: null });
    expect((await call('GET', '/v1/connections?cursor=x')).status).toBe(422);
  });

  it('asks for the permission of each', async () => {
    const reader = (await api.key(key.orgId, ['connections:read', 'budgets:read'])).text;
    expect((await call('GET', '/v1/connections', undefined, reader)).status).toBe(200);
    expect((await call('POST', '/v1/connections', hook(), reader)).status).toBe(403);
    expect((await call('GET', '/v1/notifications', undefined, reader)).status).toBe(403);
    expect((await call('PUT', '/v1/budgets', {}, reader)).status).toBe(403);
    expect((await call('GET', '/v1/approvals', undefined, reader)).status).toBe(403);
    expect(server.received).toEqual([]);
  });

  it('sets and shows budgets', async () => {
    expect((await call('GET', '/v1/budgets')).body.items).toMatchObject([{ period: 'day', limits: { calls: null, tokens: null, usd: null }, used: { spent: { calls: 0 } } }, { period: 'month' }, { period: 'cascade', used: null }]);
    expect((await call('PUT', '/v1/budgets', { day: { usd: 0.1 }, cascade: { calls: 3 } })).body.items).toMatchObject([{ limits: { usd: '0.100000000' } }, { limits: { usd: null } }, { limits: { calls: 3 } }]);
    expect((await call('PUT', '/v1/budgets', { day: { usd: -1 } })).status).toBe(422);
  });

  it('shows the circuit breaker of a neuron that calls out', async () => {
    const rules = [{ when: 'true', decide: { summary: '"x"', reason: '"y"' } }];
    const draft = { name: 'caller', layer: 'L4', subscription: { types: ['*'] }, behaviour: { kind: 'http', url: server.url, rules }, breaker: { failures: 1, resetSeconds: 60 } };
    const { id } = (await call('POST', '/v1/neurons', draft)).body;
    expect((await call('GET', `/v1/neurons/${id}`)).body.circuit).toEqual({ state: 'closed', failures: 0, openedAt: null, retryAt: null, lastFailure: null });
    await new NeuronBreakerStore(api.database.database).fail(key.orgId, id, draft.breaker, 'no answer in time');
    expect((await call('GET', `/v1/neurons/${id}`)).body.circuit).toMatchObject({ state: 'open', failures: 1, lastFailure: 'no answer in time' });
    const pure = (await call('POST', '/v1/neurons', { ...draft, name: 'pure', behaviour: { kind: 'rules', rules } })).body;
    expect((await call('GET', `/v1/neurons/${pure.id}`)).body.circuit).toBeNull();
  });

  it('logs no secret', () => {
    expect(api.log.length).toBeGreaterThan(10);
    expect(api.log.join('\n')).not.toContain(CANARY);
  });
});
