import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { AnyRoute } from '../../api/route.ts';
import { PROJECT } from '../operations/project.ts';
import { startTestApi, type TestApi, type TestKey } from './running-api.ts';

/** Bodies that pass validation, by route id, so that a foreign id is what refuses the request. */
const BODIES: Readonly<Record<string, unknown>> = {
  rotateApiKey: { overlapSeconds: 0 },
  terminateRun: { reason: 'test' },
  signalRun: { payload: { title: 'x' } },
  queryRun: {},
  updateRun: { payload: { name: 'x' } },
  transcodePayloads: { payloads: [] },
};
const NAMES: Readonly<Record<string, string>> = { signalRun: 'proceed', queryRun: 'title', updateRun: 'rename' };

describe('access', () => {
  let test: TestApi;
  let mine: TestKey;
  let other: TestKey;
  const ids = new Map<string, string>();
  const marker = `marker-${randomUUID()}`;
  beforeAll(async () => {
    test = await startTestApi({ HAL9_OPERATIONS: PROJECT, HAL9_RATE_LIMIT: '0' });
    mine = await test.key(await test.database.organisation());
    other = await test.key(await test.database.organisation());
    const headers = { authorization: `Bearer ${mine.text}`, 'content-type': 'application/json' };
    const send = async (path: string, body: unknown): Promise<Record<string, unknown>> => {
      const answer = await fetch(test.url + path, { method: 'POST', headers, body: JSON.stringify(body) });
      const json = (await answer.json()) as Record<string, unknown>;
      expect(answer.ok, JSON.stringify(json)).toBe(true);
      return json;
    };
    const key = await send('/v1/api-keys', { name: marker, scopes: ['runs:read'] });
    const run = await send('/v1/workflows/greet/runs', { input: { name: 'Ada', waitFor: true }, tags: [marker] });
    const receipt = await send('/v1/signals', { id: marker, source: marker, type: 'test.access' });
    ids.set('/v1/api-keys', String(key['id']));
    ids.set('/v1/runs', String(run['runId']));
    ids.set('/v1/signals', String((receipt['ids'] as string[])[0]));
  });
  afterAll(() => test.stop());

  const pathOf = (route: AnyRoute): string => {
    const seeded = [...ids].find(([prefix]) => route.path.startsWith(`${prefix}/:id`))?.[1];
    return route.path
      .replace(':id', seeded ?? randomUUID())
      .replace(':type', 'greet')
      .replace(':name', NAMES[route.id] ?? 'name')
      .replace(':namespace', 'default')
      .replace(':direction', 'decode')
      .replace(/:[a-zA-Z]+/g, randomUUID());
  };

  const ask = async (route: AnyRoute, headers: Record<string, string>): Promise<{ status: number; text: string; type: string }> => {
    const withBody = route.method !== 'get' && route.method !== 'delete';
    const body = JSON.stringify(BODIES[route.id] ?? {});
    const answer = await fetch(test.url + pathOf(route), { method: route.method.toUpperCase(), headers: { ...headers, ...(withBody ? { 'content-type': 'application/json' } : {}) }, ...(withBody ? { body } : {}), redirect: 'manual' });
    return { status: answer.status, text: await answer.text(), type: answer.headers.get('content-type') ?? '' };
  };

  const guarded = (): AnyRoute[] => test.api.routes.filter((route) => route.permission !== 'public');

  it('refuses every route to every bad credential, and shows nothing of another organisation', async () => {
    const revoked = await test.key(mine.orgId);
    await fetch(`${test.url}/v1/api-keys/${revoked.id}`, { method: 'DELETE', headers: { authorization: `Bearer ${mine.text}` } });
    const expired = await test.key(mine.orgId, ['*'], new Date(Date.now() - 1000));
    const unscoped = await test.key(mine.orgId, ['nothing:read']);
    const [prefix] = mine.text.match(/^hal9_[^_]+_/) ?? [''];
    const cases: Record<string, { headers: Record<string, string>; status: number }> = {
      'no credential': { headers: {}, status: 401 },
      'malformed key': { headers: { authorization: 'Bearer nonsense' }, status: 401 },
      'other scheme': { headers: { authorization: `Basic ${Buffer.from(`x:${mine.text}`).toString('base64')}` }, status: 401 },
      'unknown key': { headers: { 'x-api-key': `hal9_0000000000_${'0'.repeat(43)}` }, status: 401 },
      'wrong secret': { headers: { authorization: `Bearer ${prefix}${'0'.repeat(43)}` }, status: 401 },
      'forged session': { headers: { cookie: 'hal9_session=e30.test.AAAA' }, status: 401 },
      revoked: { headers: { authorization: `Bearer ${revoked.text}` }, status: 401 },
      expired: { headers: { authorization: `Bearer ${expired.text}` }, status: 401 },
      'missing scope': { headers: { authorization: `Bearer ${unscoped.text}` }, status: 403 },
    };
    let asked = 0;
    const leaks: string[] = [];
    for (const route of guarded()) {
      for (const [name, { headers, status }] of Object.entries(cases)) {
        const answer = await ask(route, headers);
        asked += 1;
        if (answer.status !== status || !answer.type.startsWith(route.path.startsWith('/scim/') ? 'application/scim+json' : 'application/problem+json') || answer.text.includes(marker)) leaks.push(`${route.id}, ${name}: ${answer.status} ${answer.text.slice(0, 200)}`);
      }
      const foreign = await ask(route, { authorization: `Bearer ${other.text}` });
      asked += 1;
      const seeded = [...ids.keys()].some((path) => route.path.startsWith(`${path}/:id`));
      if (foreign.text.includes(marker) || (seeded && foreign.status !== 404)) leaks.push(`${route.id}, other organisation: ${foreign.status} ${foreign.text.slice(0, 200)}`);
    }
    console.log(`access: ${guarded().length} routes, ${asked} requests, ${leaks.length} leaks`);
    expect(leaks).toEqual([]);
    expect(asked).toBe(guarded().length * 10);
    expect(guarded().length).toBeGreaterThan(20);
  }, 120_000);

  it('shows the owner what the others do not see', async () => {
    for (const [path, id] of ids) expect([path, (await fetch(`${test.url}${path}/${id}`, { headers: { authorization: `Bearer ${mine.text}` } })).status], id).toEqual([path, 200]);
    for (const path of ['/v1/api-keys', '/v1/runs', '/v1/signals']) {
      const answer = await fetch(test.url + path, { headers: { authorization: `Bearer ${mine.text}` } });
      expect([path, answer.status, (await answer.text()).includes(marker)]).toEqual([path, 200, true]);
    }
  });

  it('keeps secrets, query strings and bodies out of the log', async () => {
    await fetch(`${test.url}/v1/runs?tag=${marker}-query`, { headers: { authorization: `Bearer ${mine.text}`, cookie: 'a=cookie-secret' } });
    const log = test.log.join('\n');
    expect(log).toContain('"route":"listRuns"');
    for (const secret of [mine.text.slice(-20), `${marker}-query`, 'cookie-secret']) expect(log).not.toContain(secret);
  });

  it('narrows a scope to one operation', async () => {
    const narrow = await test.key(mine.orgId, ['runs:read:type=remediate', 'runs:write:type=greet']);
    const headers = { authorization: `Bearer ${narrow.text}`, 'content-type': 'application/json' };
    const status = async (method: string, path: string, body?: unknown) => (await fetch(test.url + path, { method, headers, ...(body === undefined ? {} : { body: JSON.stringify(body) }) })).status;
    expect(await status('POST', '/v1/workflows/greet/runs', { input: { name: 'Ada', waitFor: true } })).toBe(201);
    expect(await status('POST', '/v1/workflows/remediate/runs', { input: {} })).toBe(403);
    expect(await status('GET', `/v1/runs/${ids.get('/v1/runs') ?? ''}`)).toBe(403);
    expect(await status('GET', '/v1/runs?type=greet')).toBe(403);
    const all = await fetch(`${test.url}/v1/runs`, { headers });
    expect([all.status, ((await all.json()) as { items: unknown[] }).items]).toEqual([200, []]);
  });
});
