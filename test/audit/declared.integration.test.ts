import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { defineRoute } from '../../api/route.ts';
import { startTestApi, type TestApi } from '../api/running-api.ts';

const ACT = /^[a-z]+(-[a-z]+)*\.[a-z]+(-[a-z]+)*$/;

describe('routes that change something', () => {
  let api: TestApi;
  beforeAll(async () => {
    api = await startTestApi();
  });
  afterAll(() => api.stop());

  it('say which act they write, or why none, or do not type-check', () => {
    const parts = { path: '/x', id: 'x', tag: 'x', summary: 'x', permission: 'public', responses: {}, handler: async () => undefined };
    const said = [defineRoute({ ...parts, method: 'get' }), defineRoute({ ...parts, method: 'post', audit: 'thing.create' }), defineRoute({ ...parts, method: 'delete', audit: { none: 'there is nothing to say' } })];
    // @ts-expect-error a route that changes something says what it leaves in the audit log
    const silent = defineRoute({ ...parts, method: 'post' });
    expect([...said, silent].map(({ audit }) => audit !== undefined)).toEqual([false, true, true, false]);
    expect(api.api.routes.filter(({ method, audit }) => method !== 'get' && audit === undefined)).toEqual([]);
  });

  it('name acts as `<resource>.<verb>`, and give reasons', () => {
    const wrong = api.api.routes.filter(({ audit }) => (typeof audit === 'string' ? !ACT.test(audit) : audit !== undefined && audit.none.length <= 8));
    expect(wrong.map(({ id }) => id)).toEqual([]);
  });
});
