import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestApi, type TestApi } from '../api/running-api.ts';

const ACT = /^[a-z]+(-[a-z]+)*\.[a-z]+(-[a-z]+)*$/;

describe('routes that change something', () => {
  let api: TestApi;
  beforeAll(async () => {
    api = await startTestApi();
  });
  afterAll(() => api.stop());

  it('say which act they write, or why none', () => {
    const silent = api.api.routes.filter(({ method, audit }) => method !== 'get' && audit === undefined).map(({ id }) => id);
    expect(silent).toEqual([]);
  });

  it('name acts as `<resource>.<verb>`, and give reasons', () => {
    const wrong = api.api.routes.filter(({ audit }) => (typeof audit === 'string' ? !ACT.test(audit) : audit !== undefined && audit.none.length <= 8));
    expect(wrong.map(({ id }) => id)).toEqual([]);
  });
});
