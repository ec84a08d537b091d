import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestApi, type TestApi } from '../api/running-api.ts';

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
    for (const { audit } of api.api.routes) {
      if (typeof audit === 'string') expect(audit).toMatch(/^[a-z]+(-[a-z]+)*\.[a-z]+(-[a-z]+)*$/);
      else if (audit !== undefined) expect(audit.none.length).toBeGreaterThan(8);
    }
  });
});
