import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AUTOMATION, CONNECTION, NEURON, SCHEDULE } from '../api/house.ts';
import { startTestApi, type TestApi } from '../api/running-api.ts';
import { PROJECT } from '../operations/project.ts';
import { createPerson, Visitor } from './person.ts';

/** What a team was given: its members see it, in lists too, and nothing beside it. */
describe('shares of a team', () => {
  let test: TestApi;
  let orgId: string;
  let member: Visitor;
  let teamId: string;
  let send: (method: string, path: string, body?: unknown) => Promise<{ status: number; body: Record<string, string> }>;
  const slug = `house-${randomUUID().slice(0, 8)}`;

  beforeAll(async () => {
    test = await startTestApi({ HAL9_OPERATIONS: PROJECT });
    orgId = await test.database.organisation();
    const key = await test.key(orgId);
    send = async (method, path, body) => {
      const answer = await fetch(test.url + path, { method, headers: { authorization: `Bearer ${key.text}`, 'content-type': 'application/json' }, ...(body === undefined ? {} : { body: JSON.stringify(body) }) });
      const text = await answer.text();
      return { status: answer.status, body: text === '' ? {} : (JSON.parse(text) as Record<string, string>) };
    };
    const { userId, userName } = await createPerson(test.database, orgId, { role: 'nothing', slug });
    teamId = (await send('POST', '/v1/teams', { name: 'team' })).body['id'] ?? '';
    await send('POST', `/v1/teams/${teamId}/members`, { add: [userId] });
    member = new Visitor(test.url);
    await member.signIn(slug, userName);
  });
  afterAll(() => test.stop());

  const items = async (path: string): Promise<string[]> => {
    const answer = await member.ask('GET', path);
    expect(answer.status, `${path} ${JSON.stringify(answer.body)}`).toBe(200);
    return (answer.body['items'] as { id?: string; runId?: string }[]).map((item) => item.id ?? item.runId ?? '');
  };

  it.each([
    ['neurons', '/v1/neurons', (name: string) => NEURON(name)],
    ['automations', '/v1/automations', (name: string) => AUTOMATION(name)],
    ['connections', '/v1/connections?test=false', (name: string) => ({ name, settings: CONNECTION })],
    ['schedules', '/v1/schedules', (name: string) => SCHEDULE(name)],
    ['webhooks', '/v1/webhooks', (name: string) => ({ name, settings: { preset: 'standard' } })],
    ['webhook-endpoints', '/v1/webhook-endpoints', (name: string) => ({ name, url: 'https://hooks.example.com/hook', events: ['run.failed'], enabled: false })],
    ['runs', '/v1/workflows/greet/runs', () => ({ input: { name: 'Ada', waitFor: true } })],
  ])('are among the %s that its members list, and nothing else is', async (kind, path, draft) => {
    const ids: string[] = [];
    for (let count = 0; count < 4; count += 1) {
      const { status, body } = await send('POST', path, draft(`n-${randomUUID()}`));
      expect(status, JSON.stringify(body)).toBe(201);
      ids.push(body['id'] ?? body['runId'] ?? '');
    }
    const list = `/v1/${kind}`;
    expect((await member.ask('GET', list)).status).toBe(403);
    const given = [ids[1] ?? '', ids[3] ?? ''];
    for (const id of given) expect((await send('PUT', `/v1/teams/${teamId}/shares/${kind}/${id}`, { access: 'read' })).status).toBe(200);
    await expect.poll(async () => (await member.ask('GET', list)).status).toBe(200);
    await expect.poll(async () => (await items(list)).toSorted()).toEqual(given.toSorted());
    const first = await member.ask('GET', `${list}?limit=1`);
    const second = await items(`${list}?limit=1&cursor=${encodeURIComponent(String(first.body['nextCursor']))}`);
    expect([...(first.body['items'] as { id?: string; runId?: string }[]).map((item) => String(item.id ?? item.runId)), ...second].toSorted((a, b) => String(a).localeCompare(String(b)))).toEqual(given.toSorted((a, b) => a.localeCompare(b)));
    for (const id of ids) { const answer = await member.ask('GET', `${list}/${id}`); expect(answer.status, JSON.stringify(answer.body)).toBe(given.includes(id) ? 200 : 403); }
    // Read is not write.
    expect((await member.ask('DELETE', `${list}/${given[0] ?? ''}`)).status).toBeOneOf([403, 405]);
    for (const id of given) await send('DELETE', `/v1/teams/${teamId}/shares/${kind}/${id}`);
    await expect.poll(async () => (await member.ask('GET', list)).status).toBe(403);
  });
});
