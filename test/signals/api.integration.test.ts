import { CloudEvent, HTTP, emitterFor, httpTransport } from 'cloudevents';
import { request } from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { failBatch } from '../../database/batch-failure.ts';
import { OpenBatchStore } from '../../database/batches-open.ts';
import { pageOf } from '../../schemas/rest/page.ts';
import { deadLetterView, signalView } from '../../schemas/rest/signals.ts';
import { receiptSchema, type Receipt } from '../../schemas/signals/signal.ts';
import { startTestApi, type TestApi } from '../api/running-api.ts';
import { signalOf } from './ingest-setup.ts';

describe('the signals of the API', () => {
  let api: TestApi;
  let key: string;
  let orgId: string;
  beforeAll(async () => {
    api = await startTestApi();
    orgId = await api.database.organisation();
    key = (await api.key(orgId)).text;
  });
  afterAll(() => api.stop());

  const send = (body: string | Buffer, headers: Record<string, string>): Promise<Response> =>
    fetch(`${api.url}/v1/signals`, { method: 'POST', headers: { authorization: `Bearer ${key}`, ...headers }, body: typeof body === 'string' ? body : new Uint8Array(body) });
  const receipt = async (response: Response): Promise<Receipt> => {
    expect(response.status).toBe(202);
    return receiptSchema.parse(await response.json());
  };
  const get = (path: string, as = key): Promise<Response> => fetch(`${api.url}${path}`, { headers: { authorization: `Bearer ${as}` } });
  const read = async (id: string | undefined): Promise<z.output<typeof signalView>> => signalView.parse(await (await get(`/v1/signals/${id}`)).json());

  it.each(['binary', 'structured'] as const)('understands the CloudEvents SDK in %s mode', async (mode) => {
    const answers: Response[] = [];
    const emit = emitterFor(
      async (message) => {
        const headers = Object.fromEntries(Object.entries(message.headers).map(([name, value]) => [name, String(value)]));
        answers.push(await send(z.string().parse(message.body), headers));
      },
      { mode: mode === 'binary' ? 'binary' : 'structured' },
    );
    const event = new CloudEvent({ type: 'sdk.test', source: '/sdk', subject: 'größe 100%', time: '2026-03-04T05:06:07.000Z', data: { text: 'ünï', n: 1.5 }, partitionkey: 'p1' });
    await emit(event);
    const { ids } = await receipt(answers[0] ?? Response.error());
    const stored = await read(ids[0]);
    expect(stored.signal).toMatchObject({ specversion: '1.0', id: event.id, type: 'sdk.test', source: '/sdk', subject: 'größe 100%', partitionkey: 'p1', data: { text: 'ünï', n: 1.5 } });
    expect(new Date(z.string().parse(stored.signal['time'])).toISOString()).toBe('2026-03-04T05:06:07.000Z');
    expect(stored.state).toBe('pending');
  });

  it('understands the SDK over its own transport', async () => {
    const event = new CloudEvent({ type: 'sdk.test', source: '/sdk', data: { own: 'transport' } });
    const message = HTTP.binary(event);
    await httpTransport(`${api.url}/v1/signals`)({ ...message, headers: { ...message.headers, authorization: `Bearer ${key}` } });
    const page = pageOf(signalView).parse(await (await get('/v1/signals?source=/sdk')).json());
    expect(page.items.map(({ signal }) => signal['id'])).toContain(event.id);
  });

  it('takes a batch of CloudEvents and names the bad ones', async () => {
    const good = [1, 2].map((n) => new CloudEvent({ type: 'batch.test', source: '/batch', data: n }));
    const body = JSON.stringify([good[0], { id: 'x' }, good[1]]);
    const got = await receipt(await send(body, { 'content-type': 'application/cloudevents-batch+json' }));
    expect(got).toMatchObject({ accepted: 2, duplicates: 0, rejectedCount: 1, rejected: [{ line: 2 }] });
    expect(got.rejected[0]?.errors.map(({ path }) => path)).toEqual(['/specversion', '/source', '/type']);
  });

  it('keeps text and bytes of binary events', async () => {
    const ce = { 'ce-specversion': '1.0', 'ce-source': '/raw', 'ce-type': 'raw.test' };
    const text = await receipt(await send('plain wörds', { ...ce, 'ce-id': 't', 'content-type': 'text/plain; charset=utf-8' }));
    expect((await read(text.ids[0])).signal).toMatchObject({ datacontenttype: 'text/plain; charset=utf-8', data: 'plain wörds' });
    const bytes = await receipt(await send(Buffer.from([0, 255, 1]), { ...ce, 'ce-id': 'b', 'content-type': 'application/octet-stream' }));
    expect((await read(bytes.ids[0])).signal).toMatchObject({ data_base64: Buffer.from([0, 255, 1]).toString('base64') });
  });

  it('decodes percent-encoded headers', async () => {
    const { ids } = await receipt(await send('1', { 'ce-specversion': '1.0', 'ce-id': 'percent', 'ce-source': '/raw', 'ce-type': 'raw.test', 'ce-subject': 'Euro%20%E2%82%AC%20%F0%9F%98%80', 'content-type': 'application/json' }));
    expect((await read(ids[0])).signal).toMatchObject({ subject: 'Euro € 😀', data: 1 });
  });

  it('fills in specversion and time of plain JSON, one or many', async () => {
    const one = await receipt(await send('{"id":"p","source":"plain","type":"t"}', { 'content-type': 'application/json' }));
    const stored = await read(one.ids[0]);
    expect(stored.signal).toMatchObject({ specversion: '1.0', id: 'p' });
    expect(Date.parse(z.string().parse(stored.signal['time']))).toBeGreaterThan(Date.now() - 60_000);
    expect(await receipt(await send('[{"id":"p","source":"plain","type":"t"},{"id":"q","source":"plain","type":"t"}]', { 'content-type': 'application/json' }))).toMatchObject({ accepted: 1, duplicates: 1 });
    const strict = await send('{"id":"r","source":"plain","type":"t"}', { 'content-type': 'application/cloudevents+json' });
    expect(strict.status).toBe(422);
  });

  it('takes lines, good ones beside bad ones, also when the last is cut off in a character', async () => {
    const line = (id: string): string => JSON.stringify(signalOf({ id, data: '🦉' }));
    const cut = Buffer.from(line('c'));
    const body = Buffer.concat([Buffer.from(`${line('a')}\n\nnope\n${line('b')}\r\n`), cut.subarray(0, cut.indexOf(Buffer.from('🦉')) + 2)]);
    expect(await receipt(await send(body, { 'content-type': 'application/x-ndjson' }))).toMatchObject({ accepted: 2, rejectedCount: 2, rejected: [{ line: 3 }, { line: 5, errors: [{ message: expect.stringContaining('UTF-8') }] }] });
  });

  it.each([
    [415, 'hello', { 'content-type': 'text/plain' }],
    [415, 'x', { 'content-type': 'application/x-ndjson', 'content-encoding': 'gzip' }],
    [415, '{}', { 'content-type': 'application/json; charset=latin1' }],
    [400, '{"id":', { 'content-type': 'application/json' }],
    [400, '{}', { 'content-type': 'application/cloudevents-batch+json' }],
    [422, '{}', { 'content-type': 'application/json' }],
    [422, 'no\nnever\n', { 'content-type': 'application/x-ndjson' }],
    [422, '[1]', { 'content-type': 'application/json' }],
  ])('refuses with %i: %s', async (status, body, headers) => {
    const response = await send(body, headers);
    expect(response.status).toBe(status);
    expect(response.headers.get('content-type')).toContain('application/problem+json');
  });

  it('refuses a whole body that is too large, and takes the same as lines', async () => {
    const signals = Array.from({ length: 40_000 }, (_, n) => signalOf({ id: `big-${n}` }));
    const whole = await send(JSON.stringify(signals), { 'content-type': 'application/json' });
    expect(whole.status).toBe(413);
    expect(await receipt(await send(signals.map((signal) => JSON.stringify(signal)).join('\n'), { 'content-type': 'application/x-ndjson' }))).toMatchObject({ accepted: 40_000 });
  });

  it('shows an organisation its own signals only, and asks for permission', async () => {
    const { ids } = await receipt(await send(JSON.stringify(signalOf()), { 'content-type': 'application/json' }));
    const other = (await api.key(await api.database.organisation())).text;
    expect((await get(`/v1/signals/${ids[0]}`)).status).toBe(200);
    expect((await get(`/v1/signals/${ids[0]}`, other)).status).toBe(404);
    expect(pageOf(signalView).parse(await (await get('/v1/signals', other)).json()).items).toEqual([]);
    const reader = (await api.key(orgId, ['signals:read'])).text;
    const refused = await fetch(`${api.url}/v1/signals`, { method: 'POST', headers: { authorization: `Bearer ${reader}`, 'content-type': 'application/json' }, body: '{}' });
    expect(refused.status).toBe(403);
  });

  it('pages through the list, newest first, by filters', async () => {
    const own = (await api.key(await api.database.organisation())).text;
    const body = Array.from({ length: 25 }, (_, n) => JSON.stringify(signalOf({ id: `n${n}`, source: 'one', type: n % 5 === 0 ? 'rare' : 'common', time: new Date(Date.UTC(2026, 0, 1 + n)).toISOString() }))).join('\n');
    await fetch(`${api.url}/v1/signals`, { method: 'POST', headers: { authorization: `Bearer ${own}`, 'content-type': 'application/x-ndjson' }, body });
    const ids: unknown[] = [];
    let cursor: string | null = null;
    do {
      const page = pageOf(signalView).parse(await (await get(`/v1/signals?limit=10${cursor === null ? '' : `&cursor=${cursor}`}`, own)).json());
      ids.push(...page.items.map(({ signal }) => signal['id']));
      cursor = page.nextCursor;
    } while (cursor !== null);
    expect(ids).toEqual(Array.from({ length: 25 }, (_, n) => `n${24 - n}`));
    const filtered = async (query: string): Promise<unknown[]> => pageOf(signalView).parse(await (await get(`/v1/signals?${query}`, own)).json()).items.map(({ signal }) => signal['id']);
    expect(await filtered('type=rare')).toEqual(['n20', 'n15', 'n10', 'n5', 'n0']);
    expect(await filtered('source=nobody')).toEqual([]);
    expect(await filtered('from=2026-01-03T00:00:00Z&to=2026-01-05T00:00:00Z')).toEqual(['n3', 'n2']);
    expect((await get('/v1/signals?cursor=nonsense', own)).status).toBe(422);
  });

  it('lists dead letters and replays each once, past the deduplication', async () => {
    const owner = await api.database.organisation();
    const own = (await api.key(owner)).text;
    const sent = signalOf({ source: 'dead' });
    const post = (path: string, body?: unknown): Promise<Response> =>
      fetch(`${api.url}${path}`, { method: 'POST', headers: { authorization: `Bearer ${own}`, 'content-type': 'application/json' }, ...(body === undefined ? {} : { body: JSON.stringify(body) }) });
    const { ids } = receiptSchema.parse(await (await post('/v1/signals', sent)).json());
    const { database } = api.database;
    const batches = new OpenBatchStore(database);
    const opened = await batches.open({ batchSignals: 100_000, batchIds: Array.from({ length: 64 }, () => crypto.randomUUID()), interactiveGraceSeconds: 30, restMs: 0 });
    const batch = opened.find((candidate) => candidate.orgId === owner);
    await failBatch(database, owner, batch?.id ?? '', 'PoisonSignal', 'it was poison');
    expect(signalView.parse(await (await get(`/v1/signals/${ids[0]}`, own)).json()).state).toBe('failed');
    const list = async (query = ''): Promise<z.output<typeof deadLetterView>[]> => pageOf(deadLetterView).parse(await (await get(`/v1/dead-letters${query}`, own)).json()).items;
    const [letter, ...more] = await list('?replayed=false');
    expect(more).toEqual([]);
    expect(letter).toMatchObject({ ref: ids[0], failure: 'PoisonSignal', cause: 'it was poison', replayedAt: null });
    const replayed = await post(`/v1/dead-letters/${letter?.id}/replay`);
    expect([replayed.status, await replayed.json()]).toEqual([202, { signals: ids }]);
    expect((await post(`/v1/dead-letters/${letter?.id}/replay`)).status).toBe(409);
    expect((await post(`/v1/dead-letters/${crypto.randomUUID()}/replay`)).status).toBe(404);
    expect(await list('?replayed=false')).toEqual([]);
    const again = signalView.parse(await (await get(`/v1/signals/${ids[0]}`, own)).json());
    expect(again).toMatchObject({ state: 'pending', batch: null, signal: sent });
    const reopened = await batches.open({ batchSignals: 100_000, batchIds: [crypto.randomUUID()], interactiveGraceSeconds: 30, restMs: 0 });
    expect(reopened).toMatchObject([{ orgId: owner, lane: batch?.lane }]);
  });

  it('keeps what was committed before the sender went away', async () => {
    const owner = await api.database.organisation();
    const own = (await api.key(owner)).text;
    await new Promise<void>((resolve) => {
      const sending = request(`${api.url}/v1/signals`, { method: 'POST', headers: { authorization: `Bearer ${own}`, 'content-type': 'application/x-ndjson' } });
      sending.on('error', () => resolve());
      sending.on('close', () => resolve());
      for (let n = 0; n < 500; n++) sending.write(`${JSON.stringify(signalOf({ id: `gone-${n}` }))}\n`);
      setTimeout(() => sending.destroy(), 500);
    });
    const page = pageOf(signalView).parse(await (await get('/v1/signals?limit=500', own)).json());
    expect(page.items).toHaveLength(500);
    expect((await get('/healthz')).status).toBe(200);
  });
});
