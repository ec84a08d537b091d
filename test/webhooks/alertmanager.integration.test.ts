import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { startTestApi, type TestApi, type TestKey } from '../api/running-api.ts';
import { ALERTMANAGER_MISSING, findAlertmanager, startAlertmanager, type Alertmanager } from '../environment/alertmanager.ts';

const tool = await findAlertmanager();
if (tool === undefined) console.log(ALERTMANAGER_MISSING);

it.runIf(tool === undefined && process.env['CI'] !== undefined)('has Alertmanager under CI', () => {
  expect.fail(ALERTMANAGER_MISSING);
});

describe.skipIf(tool === undefined)('Prometheus Alertmanager', () => {
  let api: TestApi;
  let key: TestKey;
  let alertmanager: Alertmanager;
  let source = '';
  let folder = '';

  beforeAll(async () => {
    if (tool === undefined) throw new Error(ALERTMANAGER_MISSING);
    api = await startTestApi();
    key = await api.key(await api.database.organisation());
    const token = 'a-long-bearer-token-of-alertmanager';
    const made = await fetch(`${api.url}/v1/webhooks`, {
      method: 'POST',
      headers: { authorization: `Bearer ${key.text}`, 'content-type': 'application/json' },
      body: JSON.stringify({ name: 'alertmanager', settings: { preset: 'alertmanager' }, secret: token }),
    });
    const hook = (await made.json()) as { id: string; url: string };
    source = `/hooks/${hook.id}`;
    folder = await mkdtemp(join(tmpdir(), 'hal9-alertmanager-'));
    alertmanager = await startAlertmanager(tool, folder, { url: `${api.url}${hook.url}`, token });
  });
  afterAll(async () => {
    await alertmanager?.stop();
    await api?.stop();
    if (folder !== '') await rm(folder, { recursive: true, force: true });
  });

  async function signals(): Promise<{ type: string; envelope: { subject: string; partitionkey: string; data: Record<string, unknown> } }[]> {
    const { rows } = await api.database.database.systemPool.query<{ type: string; envelope: string }>('select type, envelope from signals where source = $1 order by chunk_id, ordinal', [source]);
    return rows.map(({ type, envelope }) => ({ type, envelope: JSON.parse(envelope) as { subject: string; partitionkey: string; data: Record<string, unknown> } }));
  }

  it('has each alert become one signal when it fires and one when it ends, however often it repeats itself', async () => {
    const startsAt = new Date().toISOString();
    const alerts = ['db-1', 'db-2'].map((instance) => ({ labels: { alertname: 'DiskFull', instance }, startsAt }));
    await alertmanager.alert(alerts);
    await vi.waitFor(async () => expect(await signals()).toHaveLength(2), { timeout: 90_000, interval: 100 });
    const repeats = async (): Promise<number> => {
      const log = await fetch(`${api.url}/v1/webhook-deliveries?webhook=${source.slice('/hooks/'.length)}`, { headers: { authorization: `Bearer ${key.text}` } });
      return ((await log.json()) as { items: unknown[] }).items.length;
    };
    await vi.waitFor(async () => expect(await repeats()).toBeGreaterThan(2), { timeout: 90_000, interval: 100 });
    await alertmanager.alert([{ labels: { alertname: 'DiskFull', instance: 'db-1' }, startsAt, endsAt: new Date().toISOString() }]);
    await vi.waitFor(async () => expect(await signals()).toHaveLength(3), { timeout: 90_000, interval: 100 });

    const seen = await signals();
    expect(seen.map(({ type }) => type)).toEqual(['alertmanager.firing', 'alertmanager.firing', 'alertmanager.resolved']);
    expect(new Set(seen.map(({ envelope }) => envelope.subject))).toEqual(new Set(['DiskFull']));
    const [first, second, ended] = seen.map(({ envelope }) => envelope.partitionkey);
    expect(first).not.toBe(second);
    expect([first, second]).toContain(ended);
    expect(seen[2]?.envelope.data).toMatchObject({ firingSeen: true, labels: { instance: 'db-1' } });
  });
});
