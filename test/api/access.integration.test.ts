import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { AnyRoute } from '../../api/route.ts';
import { can } from '../../platform/identity/permissions.ts';
import { scopesOf } from '../../platform/identity/roles.ts';
import { createPerson, Visitor } from '../identity/person.ts';
import { PROJECT } from '../operations/project.ts';
import { AUTOMATION, CONNECTION, createHouse, NEURON, NOBODYS, rowsOf, SCHEDULE, type House } from './house.ts';
import { startTestApi, type TestApi, type TestKey } from './running-api.ts';

const SCIM_PATCH = { schemas: ['urn:ietf:params:scim:api:messages:2.0:PatchOp'], Operations: [{ op: 'replace', value: { displayName: 'taken' } }] };
const NAME = 'taken-over';

/**
 * Bodies that pass validation, by route id, so that the foreign id is what refuses the request. A route that is missing here and needs one
 * fails the test.
 */
const BODIES: Readonly<Record<string, unknown>> = {
  rotateApiKey: { overlapSeconds: 0 },
  terminateRun: { reason: 'test' },
  replayRun: { reason: 'test' },
  signalRun: { payload: { title: 'x' } },
  updateRun: { payload: { name: 'x' } },
  transcodePayloads: { payloads: [] },
  setOrganisationPlan: { plan: 'enterprise' },
  replaceAutomation: AUTOMATION(NAME),
  dryRunAutomation: { signals: 1 },
  changeWebhook: { name: NAME, settings: { preset: 'standard' }, enabled: true },
  changeWebhookEndpoint: { name: NAME, url: 'https://hooks.example.com/x', events: ['*'], enabled: true },
  replaceNeuron: NEURON(NAME),
  changeNeuron: { name: NAME },
  testNeuron: { signals: [{ type: 'test.access', data: {} }] },
  replaceConnection: { settings: CONNECTION },
  changeUser: { displayName: NAME },
  impersonateUser: { reason: 'to see whether it can be done' },
  changeTeam: { name: NAME },
  changeTeamMembers: { add: [randomUUID()] },
  shareWithTeam: { access: 'write' },
  replaceRole: { scopes: ['*'] },
  replaceRoleBinding: { conditions: {} },
  changeOrganisation: { name: NAME },
  moveOrganisation: { parentId: null },
  changeIdentityProvider: { name: NAME },
  claimIdentityProviderDomain: { domain: 'taken.example' },
  replaceScimUser: { schemas: ['urn:ietf:params:scim:schemas:core:2.0:User'], userName: NAME },
  patchScimUser: SCIM_PATCH,
  replaceScimGroup: { schemas: ['urn:ietf:params:scim:schemas:core:2.0:Group'], displayName: NAME },
  patchScimGroup: SCIM_PATCH,
  replaceSource: { kind: 'amqp', name: NAME, connection: 'ops', queue: 'q' },
  actOnChainNetwork: { signer: '00000000-0000-4000-8000-000000000000', action: { kind: 'claim' } },
  anchorHashes: { hashes: [`0x${'44'.repeat(32)}`] },
  changeChain: { name: NAME, chainId: 31337, rpcUrls: ['https://node.example.com'] },
  replaceSchedule: SCHEDULE(NAME),
  endPrivacyTask: { outcome: 'done', note: NAME },
  backfillSchedule: { from: '2026-01-01T00:00:00Z', to: '2026-01-02T00:00:00Z' },
};
const NAMES: Readonly<Record<string, string>> = { signalRun: 'proceed', queryRun: 'title', updateRun: 'rename' };

/** What was done stays readable when what did it is gone, so that an id that never was is an empty list: these must show the house what is theirs. */
const STAYS_READABLE: ReadonlySet<string> = new Set(['listAutomationFirings', 'listConnectionDeliveries', 'listBulkItems']);
/** Routes about sessions of people, which refuse keys before they look at an id. */
const PEOPLE_ONLY: ReadonlySet<string> = new Set(['impersonateUser', 'endSession', 'removeFactor']);

interface Answer {
  readonly status: number;
  readonly text: string;
  readonly type: string;
}

describe('access', () => {
  let test: TestApi;
  let house: House;
  let mine: TestKey;
  let ids: ReadonlyMap<string, string>;
  let marker: string;
  let child: House;
  let other: House;
  beforeAll(async () => {
    test = await startTestApi({ HAL9_OPERATIONS: PROJECT, HAL9_RATE_LIMIT: '0' });
    // Whoever is first runs the installation, and may set plans.
    await test.database.organisation('platform');
    house = await createHouse(test);
    other = await createHouse(test);
    child = await createHouse(test, house.orgId);
    mine = house.key;
    marker = house.marker;
    ids = new Map(['/v1/api-keys', '/v1/runs', '/v1/signals'].map((path) => [path, house.resources.get(`${path}/:id`) ?? '']));
  });
  afterAll(() => test.stop());

  /** The value of a parameter: that of the longest beginning of the path that ends with it, or undefined. */
  const valueOf = (of: House, path: string): string | undefined => {
    const known = [...of.resources].filter(([prefix]) => path === prefix || path.startsWith(`${prefix}/`));
    const name = path.slice(path.lastIndexOf(':'));
    return known.filter(([prefix]) => prefix.endsWith(name)).sort(([a], [b]) => b.length - a.length)[0]?.[1];
  };

  /** @returns the path with the parameters of that house, and whether one of them is the house's own; undefined when one is not known. */
  const pathIn = (of: House, route: AnyRoute): { path: string; own: boolean } | undefined => {
    const parts: string[] = [];
    let own = false;
    for (const [index, segment] of route.path.split('/').entries()) {
      if (!segment.startsWith(':')) {
        parts.push(segment);
        continue;
      }
      const upTo = route.path.split('/').slice(0, index + 1).join('/');
      const nobodys = Object.entries(NOBODYS).find(([prefix]) => upTo === prefix)?.[1];
      const value = nobodys ?? (segment === ':direction' ? 'decode' : segment === ':name' && NAMES[route.id] !== undefined ? NAMES[route.id] : valueOf(of, upTo));
      if (value === undefined) return undefined;
      own ||= nobodys === undefined && valueOf(of, upTo) === value;
      parts.push(encodeURIComponent(value));
    }
    return { path: parts.join('/'), own };
  };

  const ask = async (route: AnyRoute, path: string, headers: Record<string, string>): Promise<Answer> => {
    const withBody = route.method !== 'get' && route.method !== 'delete';
    const body = JSON.stringify(BODIES[route.id] ?? {});
    const type = path.startsWith('/scim/') ? 'application/scim+json' : 'application/json';
    const answer = await fetch(test.url + path, { method: route.method.toUpperCase(), headers: { ...headers, ...(withBody ? { 'content-type': type } : {}) }, ...(withBody ? { body } : {}), redirect: 'manual' });
    return { status: answer.status, text: await answer.text(), type: answer.headers.get('content-type') ?? '' };
  };

  const guarded = (): AnyRoute[] => test.api.routes.filter((route) => route.permission !== 'public');
  const told = (route: AnyRoute, name: string, answer: Answer): string => `${route.id}, ${name}: ${answer.status} ${answer.text.slice(0, 200)}`;
  const bearer = (text: string): Record<string, string> => ({ authorization: `Bearer ${text}` });
  const cookies = (visitor: Visitor): Record<string, string> => ({ cookie: [...visitor.cookies].map(([name, value]) => `${name}=${value}`).join('; '), 'x-csrf-token': visitor.csrf ?? '', 'user-agent': 'visitor' });
  const signedIn = async (at: House, userName: string): Promise<Record<string, string>> => {
    const visitor = new Visitor(test.url);
    await visitor.signIn(at.slug, userName);
    expect(visitor.csrf, userName).toBeDefined();
    return cookies(visitor);
  };
  const tokenOf = async (key: TestKey): Promise<string> => {
    const answer = await fetch(`${test.url}/v1/tokens`, { method: 'POST', headers: bearer(key.text) });
    return ((await answer.json()) as { access_token: string }).access_token;
  };
  const asHouse = async (method: string, path: string): Promise<void> => {
    const answer = await fetch(test.url + path, { method, headers: bearer(mine.text) });
    expect(answer.ok, `${path} ${answer.status}`).toBe(true);
  };

  it('has a resource of the house for every parameter of every route', () => {
    const missing = guarded().filter((route) => pathIn(house, route) === undefined);
    expect(missing.map((route) => `${route.method} ${route.path}: seed it in house.ts`)).toEqual([]);
  });

  it('refuses every route to every bad credential', async () => {
    const revoked = await test.key(mine.orgId);
    const ofRevoked = await tokenOf(revoked);
    await asHouse('DELETE', `/v1/api-keys/${revoked.id}`);
    const expired = await test.key(mine.orgId, ['*'], new Date(Date.now() - 1000));
    const unscoped = await test.key(mine.orgId, ['nothing:read']);
    const [prefix] = mine.text.match(/^hal9_[^_]+_/) ?? [''];
    const ends = await test.key(mine.orgId, ['*'], new Date(Date.now() + 2000));
    const ofExpired = await tokenOf(ends);
    const gone = await createPerson(test.database, house.orgId, { role: 'owner' });
    const ofGone = await signedIn(house, gone.userName);
    const { body: byGone } = await new Visitor(test.url).ask('POST', '/v1/api-keys', { name: 'of somebody who left', scopes: ['runs:read'] }, ofGone);
    await asHouse('POST', `/v1/users/${gone.userId}/deactivate`);
    const signedOut = await signedIn(house, house.owner.userName);
    await fetch(`${test.url}/v1/session/end`, { method: 'POST', headers: signedOut });
    const suspended = await createHouse(test, house.orgId);
    const ofSuspended = await signedIn(suspended, suspended.owner.userName);
    await asHouse('POST', `/v1/organisations/${suspended.orgId}/suspend`);
    const nobody = await createPerson(test.database, house.orgId, { role: 'no-such-role' });
    await new Promise((resolve) => setTimeout(resolve, 2200));
    const cases: Record<string, { headers: Record<string, string>; status: number }> = {
      'no credential': { headers: {}, status: 401 },
      'malformed key': { headers: bearer('nonsense'), status: 401 },
      'other scheme': { headers: { authorization: `Basic ${Buffer.from(`x:${mine.text}`).toString('base64')}` }, status: 401 },
      'unknown key': { headers: { 'x-api-key': `hal9_0000000000_${'0'.repeat(43)}` }, status: 401 },
      'wrong secret': { headers: bearer(`${prefix}${'0'.repeat(43)}`), status: 401 },
      'forged session': { headers: { cookie: 'hal9_session=e30.test.AAAA' }, status: 401 },
      'unknown session': { headers: { cookie: `hal9_session=${'A'.repeat(43)}` }, status: 401 },
      'revoked key': { headers: bearer(revoked.text), status: 401 },
      'token of a revoked key': { headers: bearer(ofRevoked), status: 401 },
      'expired key': { headers: bearer(expired.text), status: 401 },
      'expired token': { headers: bearer(ofExpired), status: 401 },
      'session of a deprovisioned person': { headers: ofGone, status: 401 },
      'key of a deprovisioned person': { headers: bearer(String(byGone['secret'])), status: 401 },
      'session that was signed out': { headers: signedOut, status: 401 },
      'key of a suspended organisation': { headers: bearer(suspended.key.text), status: 401 },
      'session of a suspended organisation': { headers: ofSuspended, status: 401 },
      'missing scope': { headers: bearer(unscoped.text), status: 403 },
      'person without a role': { headers: await signedIn(house, nobody.userName), status: 403 },
    };
    const before = await rowsOf(test, house.orgId);
    let asked = 0;
    const leaks: string[] = [];
    for (const route of guarded()) {
      const path = pathIn(house, route)?.path ?? '';
      for (const [name, { headers, status }] of Object.entries(cases)) {
        // Everybody who is signed in may ask about their own session.
        if (name === 'person without a role' && route.permission === 'signed-in') continue;
        const answer = await ask(route, path, headers);
        asked += 1;
        if (answer.status !== status || !answer.type.startsWith(path.startsWith('/scim/') ? 'application/scim+json' : 'application/problem+json') || answer.text.includes(marker)) leaks.push(told(route, name, answer));
      }
    }
    console.log(`access: ${guarded().length} routes, ${Object.keys(cases).length} credentials that are none, ${asked} requests, ${leaks.length} leaks`);
    expect(leaks).toEqual([]);
    expect(changed(before, await rowsOf(test, house.orgId))).toEqual([]);
    const own = guarded().filter((route) => route.permission === 'signed-in').length;
    expect(asked).toBe(guarded().length * Object.keys(cases).length - own);
    expect(guarded().length).toBeGreaterThan(150);
  }, 240_000);

  it('refuses to every lower role what it may not', async () => {
    const before = await rowsOf(test, house.orgId);
    const leaks: string[] = [];
    let asked = 0;
    for (const role of ['viewer', 'operator', 'developer', 'admin']) {
      const scopes = scopesOf(role, new Map());
      const { userName } = await createPerson(test.database, house.orgId, { role });
      const headers = await signedIn(house, userName);
      const forbidden = guarded().filter((route) => route.permission !== 'signed-in' && route.access === undefined && !can({ scopes }, route.permission));
      expect(forbidden.length, role).toBeGreaterThan(0);
      for (const route of forbidden) {
        const answer = await ask(route, pathIn(house, route)?.path ?? '', headers);
        asked += 1;
        if (answer.status !== 403 || answer.text.includes(marker)) leaks.push(told(route, role, answer));
      }
    }
    console.log(`access: lower roles, ${asked} requests, ${leaks.length} leaks`);
    expect(leaks).toEqual([]);
    expect(changed(before, await rowsOf(test, house.orgId)).filter((table) => !OF_PEOPLE.has(table))).toEqual([]);
  }, 120_000);

  it('shows and changes nothing of another organisation, whoever asks', async () => {
    const below = child;
    const askers: Record<string, Record<string, string>> = {
      'key of another organisation': bearer(other.key.text),
      'owner of another organisation': await signedIn(other, other.owner.userName),
      'service token of another organisation': bearer(await tokenOf(other.key)),
      'key of an organisation below': bearer(below.key.text),
      'owner of an organisation below': await signedIn(below, below.owner.userName),
    };
    const named = { 'hal9-organisation': house.orgId };
    const before = await rowsOf(test, house.orgId);
    expect(Object.keys(before).length).toBeGreaterThan(40);
    const leaks: string[] = [];
    let asked = 0;
    let withResource = 0;
    for (const route of guarded()) {
      const { path, own } = pathIn(house, route) ?? { path: '', own: false };
      if (own) withResource += 1;
      for (const [name, headers] of Object.entries(askers)) {
        // These end the asker's own session or change their own account; they name nothing that another could have.
        if (!own && route.permission === 'signed-in') continue;
        const answer = await ask(route, path, headers);
        asked += 1;
        // An id that is theirs is not found; a 400 or 422 would only show that the body was no good. Plans are the platform's: forbidden to all.
        const forbidden = route.path.startsWith('/v1/platform/') || route.path.endsWith('/confirm') || (PEOPLE_ONLY.has(route.id) && headers['cookie'] === undefined);
        const empty = STAYS_READABLE.has(route.id) && answer.status === 200 && answer.text === '{"items":[],"nextCursor":null}';
        const refused = answer.status === 404 || (answer.status === 403 && forbidden) || empty;
        if (answer.text.includes(marker) || (own && !refused)) leaks.push(told(route, name, answer));
        const insisting = await ask(route, path, { ...headers, ...named });
        asked += 1;
        if (insisting.status !== 403 || insisting.text.includes(marker)) leaks.push(told(route, `${name}, naming the house`, insisting));
      }
    }
    console.log(`access: ${withResource} routes with a resource of another organisation, ${asked} requests, ${leaks.length} leaks`);
    expect(leaks).toEqual([]);
    expect(changed(before, await rowsOf(test, house.orgId))).toEqual([]);
    expect(withResource).toBeGreaterThan(80);
  }, 240_000);

  it('shows the owner what the others do not see', async () => {
    for (const route of guarded().filter(({ id }) => STAYS_READABLE.has(id))) expect((await ask(route, pathIn(house, route)?.path ?? '', bearer(mine.text))).text).toContain(marker);
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

/** Rows that background work of this process writes by the clock, whoever asks: times of last use, acts of refusals, usage. */
const VOLATILE: ReadonlySet<string> = new Set(['api_keys', 'audit_acts', 'usage_events', 'sessions', 'session_tokens']);
/** Tables that change when people are made and sign in. */
const OF_PEOPLE: ReadonlySet<string> = new Set(['users', 'role_bindings', 'sessions', 'session_tokens', 'session_traits', 'sign_in_traits']);

function changed(before: Readonly<Record<string, string>>, after: Readonly<Record<string, string>>): string[] {
  return Object.keys(after).filter((table) => !VOLATILE.has(table) && before[table] !== after[table]);
}
