import { createHmac, randomUUID } from 'node:crypto';
import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { DEAD_LETTER_PURPOSE } from '../../platform/brokers/intake.ts';
import { KeyRing } from '../../platform/keys/key-ring.ts';
import { RECEIPT_PURPOSE } from '../../platform/webhooks/intake.ts';
import { StandardWebhook } from '../../platform/webhooks/standard-webhooks.ts';
import { startTestApi, type TestApi, type TestKey } from '../api/running-api.ts';

let api: TestApi;
let key: TestKey;

beforeAll(async () => {
  api = await startTestApi();
  key = await api.key(await api.database.organisation());
});
afterAll(() => api.stop());

interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  readonly body: Readonly<Record<string, unknown>>;
}

async function ask(method: string, path: string, body?: unknown, by: TestKey = key): Promise<Answer> {
  const answer = await fetch(`${api.url}${path}`, { method, headers: { authorization: `Bearer ${by.text}`, ...(body === undefined ? {} : { 'content-type': 'application/json' }) }, ...(body === undefined ? {} : { body: JSON.stringify(body) }) });
  const text = await answer.text();
  return { status: answer.status, headers: answer.headers, text, body: text === '' ? {} : JSON.parse(text) };
}

function secretOf({ body }: Answer): string {
  return z.object({ secret: z.string() }).parse(body).secret;
}

function itemsOf({ body }: Answer): Record<string, unknown>[] {
  return z.object({ items: z.array(z.record(z.string(), z.unknown())) }).parse(body).items;
}

async function hook(settings: Readonly<Record<string, unknown>>, secret?: string, by?: TestKey): Promise<{ id: string; url: string; secret: string }> {
  const made = await ask('POST', '/v1/webhooks', { name: `hook ${randomUUID()}`, settings, ...(secret === undefined ? {} : { secret }) }, by);
  expect(made.status).toBe(201);
  return z.object({ id: z.string(), url: z.string(), secret: z.string() }).parse(made.body);
}

async function send(url: string, body: string | Buffer, headers: Readonly<Record<string, string>>): Promise<Answer> {
  const answer = await fetch(`${api.url}${url}`, { method: 'POST', body: typeof body === 'string' ? body : new Uint8Array(body), headers: { 'content-type': 'application/json', ...headers } });
  const text = await answer.text();
  return { status: answer.status, headers: answer.headers, text, body: text.startsWith('{') ? JSON.parse(text) : {} };
}

async function signalsOf(id: string) {
  const { rows } = await api.database.database.systemPool.query<{ id: string; type: string; envelope: string }>(`select type, envelope from signals where source = $1 order by chunk_id, ordinal`, [`/hooks/${id}`]);
  return rows.map(({ type, envelope }) => ({ type, envelope: JSON.parse(envelope) as Record<string, unknown> }));
}

async function log(id: string): Promise<Record<string, unknown>[]> {
  return itemsOf(await ask('GET', `/v1/webhook-deliveries?webhook=${id}`));
}

const hmac = (secret: string, text: string, algorithm = 'sha256', encoding: 'hex' | 'base64' = 'hex'): string => createHmac(algorithm, secret).update(text).digest(encoding);
const now = (): number => Math.floor(Date.now() / 1000);

/** Every preset that signs: how its sender proves itself, and what its delivery becomes. */
const SENDERS: readonly { preset: string; settings: Record<string, unknown>; body: string; sign: (secret: string, body: string, at: number) => Record<string, string>; type: string; id?: string; timed: boolean }[] = [
  {
    preset: 'standard', settings: { preset: 'standard' }, body: '{"type":"user.created","data":{"n":1}}', type: 'user.created', id: 'msg_1', timed: true,
    sign: (secret, body, at) => ({ 'webhook-id': 'msg_1', 'webhook-timestamp': String(at), 'webhook-signature': new StandardWebhook(secret).sign('msg_1', at, body) }),
  },
  {
    preset: 'github', settings: { preset: 'github' }, body: '{"action":"opened","repository":{"full_name":"a/b"}}', type: 'github.issues.opened', id: 'guid-1', timed: false,
    sign: (secret, body) => ({ 'x-github-event': 'issues', 'x-github-delivery': 'guid-1', 'x-hub-signature-256': `sha256=${hmac(secret, body)}` }),
  },
  {
    preset: 'stripe', settings: { preset: 'stripe' }, body: '{"id":"evt_1","type":"charge.failed"}', type: 'stripe.charge.failed', id: 'evt_1', timed: true,
    sign: (secret, body, at) => ({ 'stripe-signature': `t=${String(at)},v1=${'0'.repeat(64)},v1=${hmac(secret, `${String(at)}.${body}`)},v0=aa` }),
  },
  {
    preset: 'slack', settings: { preset: 'slack' }, body: '{"type":"event_callback","event_id":"Ev1","team_id":"T1","event":{"type":"app_mention"}}', type: 'slack.app_mention', id: 'Ev1', timed: true,
    sign: (secret, body, at) => ({ 'x-slack-request-timestamp': String(at), 'x-slack-signature': `v0=${hmac(secret, `v0:${String(at)}:${body}`)}` }),
  },
  {
    preset: 'meta', settings: { preset: 'meta', verifyToken: 'verify-token' }, body: '{"object":"page","entry":[]}', type: 'meta.page', timed: false,
    sign: (secret, body) => ({ 'x-hub-signature-256': `sha256=${hmac(secret, body)}` }),
  },
  {
    preset: 'dropbox', settings: { preset: 'dropbox' }, body: '{"list_folder":{"accounts":["dbid:1"]}}', type: 'dropbox.changed', timed: false,
    sign: (secret, body) => ({ 'x-dropbox-signature': hmac(secret, body) }),
  },
  {
    preset: 'hmac', settings: { preset: 'hmac', header: 'X-Signature', algorithm: 'sha512', encoding: 'base64', prefix: 'v=', timestampHeader: 'X-Time', idHeader: 'X-Id', type: 'shop.order', typeHeader: 'X-Type' }, body: '{"order":7}', type: 'shop.paid', id: 'o-7', timed: true,
    sign: (secret, body, at) => ({ 'x-signature': `v=${hmac(secret, `${String(at)}.${body}`, 'sha512', 'base64')}`, 'x-time': String(at), 'x-id': 'o-7', 'x-type': 'shop.paid' }),
  },
];

describe.each(SENDERS)('the preset $preset', ({ settings, body, sign, type, id, timed }) => {
  it('takes in what is signed, once, and keeps the body as it was signed', async () => {
    const { id: hookId, url, secret } = await hook(settings);
    const first = await send(url, body, sign(secret, body, now()));
    expect([first.status, first.body]).toEqual([202, { accepted: 1, duplicates: 0, ids: [expect.any(String)] }]);
    const headers = sign(secret, body, now());
    expect((await send(url, body, headers)).body).toMatchObject({ accepted: 0, duplicates: 1 });
    expect(await signalsOf(hookId)).toMatchObject([{ type, envelope: { ...(id === undefined ? {} : { id }), data: JSON.parse(body) } }]);
    expect((await log(hookId)).map(({ status }) => status)).toEqual(['duplicate', 'accepted']);
    expect(JSON.stringify(await log(hookId))).not.toContain(Object.entries(headers).find(([name]) => name.includes('signature'))![1].slice(-20));
  });

  it('refuses everything else with one answer', async () => {
    const { id: hookId, url, secret } = await hook(settings);
    const foreign = await send(`/v1/hooks/${randomUUID()}`, body, sign(secret, body, now()));
    const answers = [
      await send(url, `${body} `, sign(secret, body, now())),
      await send(url, body, sign(settings['preset'] === 'standard' ? 'whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD' : 'another secret', body, now())),
      await send(url, body, {}),
      ...(timed ? [await send(url, body, sign(secret, body, now() - 301)), await send(url, body, sign(secret, body, now() + 305))] : []),
    ];
    for (const answer of answers) {
      expect(answer.status).toBe(401);
      expect({ ...answer.body, instance: '' }).toEqual({ ...foreign.body, instance: '' });
      expect(answer.headers.get('content-type')).toBe('application/problem+json');
    }
    expect(await signalsOf(hookId)).toEqual([]);
    const reasons = (await log(hookId)).map(({ status, reason }) => `${String(status)}: ${String(reason)}`).reverse();
    expect(reasons).toEqual(['refused: the signature does not match', 'refused: the signature does not match', expect.stringContaining('missing'), ...(timed ? ['refused: timestamp too old', 'refused: timestamp too new'] : [])].map((reason) => (reason === 'refused: the signature does not match' ? expect.stringMatching(/^refused: (the signature does not match|no matching signature)$/) : reason)));
  });

  it('accepts two secrets while one is rotated', async () => {
    const { id: hookId, url, secret: old } = await hook(settings);
    const rotated = await ask('POST', `/v1/webhooks/${hookId}/rotate`, { overlapSeconds: 600 });
    expect(rotated.status).toBe(201);
    expect(rotated.body['secrets']).toHaveLength(2);
    expect((await send(url, body, sign(old, body, now()))).status).toBe(202);
    expect((await send(url, body, sign(secretOf(rotated), body, now()))).status).toBe(202);
    const again = await ask('POST', `/v1/webhooks/${hookId}/rotate`, { overlapSeconds: 0 });
    expect((await send(url, body, sign(secretOf(rotated), body, now()))).status).toBe(401);
    expect((await send(url, body, sign(secretOf(again), body, now()))).status).toBe(202);
  });
});

describe('handshakes', () => {
  it('answer Slack\'s url_verification when it is signed', async () => {
    const { url, secret, id } = await hook({ preset: 'slack' });
    const body = '{"type":"url_verification","challenge":"c-1"}';
    const at = String(now());
    const answer = await send(url, body, { 'x-slack-request-timestamp': at, 'x-slack-signature': `v0=${hmac(secret, `v0:${at}:${body}`)}` });
    expect([answer.status, answer.text, answer.headers.get('content-type')]).toEqual([200, 'c-1', 'text/plain; charset=utf-8']);
    expect((await send(url, body, { 'x-slack-request-timestamp': at, 'x-slack-signature': 'v0=00' })).status).toBe(401);
    expect(await signalsOf(id)).toEqual([]);
  });

  it('repeat the challenge of Meta and Dropbox, and of nobody else', async () => {
    const meta = await hook({ preset: 'meta', verifyToken: 'verify-token' });
    const dropbox = await hook({ preset: 'dropbox' });
    const plain = await hook({ preset: 'github' });
    const get = async (url: string) => {
      const answer = await fetch(`${api.url}${url}`);
      return [answer.status, await answer.text()];
    };
    expect(await get(`${meta.url}?hub.mode=subscribe&hub.verify_token=verify-token&hub.challenge=42`)).toEqual([200, '42']);
    expect((await get(`${meta.url}?hub.mode=subscribe&hub.verify_token=wrong-token&hub.challenge=42`))[0]).toBe(404);
    expect(await get(`${dropbox.url}?challenge=abc`)).toEqual([200, 'abc']);
    expect((await get(`${plain.url}?challenge=abc`))[0]).toBe(404);
    expect((await get(`/v1/hooks/${randomUUID()}?challenge=abc`))[0]).toBe(404);
    expect((await ask('GET', `/v1/webhooks/${meta.id}`)).text).not.toContain('verify-token');
  });
});

describe('deliveries', () => {
  const signed = (secret: string, body: string): Record<string, string> => ({ 'x-github-event': 'push', 'x-github-delivery': `d-${body.length}`, 'x-hub-signature-256': `sha256=${hmac(secret, body)}` });

  it('that were accepted go in again under new ids when replayed', async () => {
    const { id, url, secret } = await hook({ preset: 'github' });
    const body = JSON.stringify({ filler: 'x'.repeat(50_000) });
    await send(url, body, signed(secret, body));
    const [delivery] = await log(id);
    expect(delivery).toMatchObject({ status: 'accepted', bodyBytes: body.length, replayable: true, deliveryId: `d-${body.length}`, headers: { 'x-github-event': 'push' } });
    const replayed = await ask('POST', `/v1/webhook-deliveries/${String(delivery!['id'])}/replay`);
    expect(replayed.body).toMatchObject({ status: 'accepted', replays: 1 });
    expect((await signalsOf(id)).map(({ envelope }) => envelope['id'])).toEqual([`d-${body.length}`, `d-${body.length}~replay-1`]);
  });

  it('that were refused go in once the secret is right', async () => {
    const { id, url } = await hook({ preset: 'github' });
    await send(url, '{"n":1}', signed('the secret GitHub has', '{"n":1}'));
    const [delivery] = await log(id);
    expect((await ask('POST', `/v1/webhook-deliveries/${String(delivery!['id'])}/replay`)).status).toBe(409);
    await ask('POST', `/v1/webhooks/${id}/rotate`, { secret: 'the secret GitHub has' });
    expect((await ask('POST', `/v1/webhook-deliveries/${String(delivery!['id'])}/replay`)).body).toMatchObject({ status: 'accepted' });
    expect(await signalsOf(id)).toHaveLength(1);
  });

  it('that cannot be opened any more say so when replayed, and stay as they are', async () => {
    const { id, url, secret } = await hook({ preset: 'github' });
    const [small, large] = ['{"n":2}', JSON.stringify({ filler: 'y'.repeat(50_000) })];
    await send(url, small, signed(secret, small));
    await send(url, large, signed(secret, large));
    const [ofLarge, ofSmall] = await log(id);
    const replay = async (what: Record<string, unknown> | undefined) => ask('POST', `/v1/webhook-deliveries/${String(what?.['id'])}/replay`);
    const change = async (set: string, values: readonly unknown[]) => api.database.database.withOrgClient(key.orgId, (client) => client.query(`update webhook_receipts set ${set} where id = $1`, [...values]));
    for (const [sealed, detail] of [[lost(RECEIPT_PURPOSE, String(ofSmall?.['id'])), 'no master key "lost" in the ring'], [Buffer.alloc(0), 'the sealed data is too short']] as const) {
      await change('sealed = $2', [ofSmall?.['id'], sealed]);
      expect(await replay(ofSmall)).toMatchObject({ status: 409, body: { type: '/problems/Unopenable', detail: expect.stringContaining(detail), remedy: expect.stringContaining('HAL9_MASTER_KEYS') } });
    }
    await change('blob_ref = $2', [ofLarge?.['id'], `blob:${'0'.repeat(64)}`]);
    expect(await replay(ofLarge)).toMatchObject({ status: 409, body: { type: '/problems/Conflict', detail: 'the body of this delivery was not kept' } });
    expect(await signalsOf(id)).toHaveLength(2);
    expect((await log(id)).map(({ replays }) => replays)).toEqual([0, 0]);
  });

  it('are bounded in size, and never compressed', async () => {
    const { url } = await hook({ preset: 'github' });
    const large = await send(url, Buffer.alloc(5 * 1024 * 1024 + 1), {});
    expect([large.status, large.body['type']]).toEqual([413, '/problems/BodyTooLarge']);
    expect((await send(url, 'x', { 'content-encoding': 'gzip' })).status).toBe(415);
  });

  it('of one organisation are hidden from another', async () => {
    const { id, url, secret } = await hook({ preset: 'github' });
    await send(url, '{}', signed(secret, '{}'));
    const [delivery] = await log(id);
    const stranger = await api.key(await api.database.organisation());
    for (const [method, path] of [['GET', `/v1/webhooks/${id}`], ['DELETE', `/v1/webhooks/${id}`], ['GET', `/v1/webhook-deliveries/${String(delivery!['id'])}`], ['POST', `/v1/webhook-deliveries/${String(delivery!['id'])}/replay`]] as const) {
      expect((await ask(method, path, undefined, stranger)).status).toBe(404);
    }
    expect((await ask('GET', '/v1/webhook-deliveries', undefined, stranger)).body['items']).toEqual([]);
  });

  it('stop when the webhook is switched off or removed', async () => {
    const { id, url, secret } = await hook({ preset: 'github' });
    const { body: before } = await ask('GET', `/v1/webhooks/${id}`);
    await ask('PUT', `/v1/webhooks/${id}`, { name: before['name'], settings: before['settings'], enabled: false });
    expect((await send(url, '{}', signed(secret, '{}'))).status).toBe(401);
    await ask('DELETE', `/v1/webhooks/${id}`);
    expect((await ask('GET', `/v1/webhooks/${id}`)).status).toBe(404);
    const acts = await api.database.database.withOrg(key.orgId, (tx) => tx.selectFrom('audit_acts').select('action').where('resource_id', '=', id).orderBy('at').execute());
    expect(acts.map(({ action }) => action)).toEqual(['webhook.create', 'webhook.update', 'webhook.delete']);
  });
});

/** Sealed with a master key that the API does not have. */
function lost(purpose: string, id: string): Buffer {
  return new KeyRing([{ id: 'lost', key: Buffer.alloc(32, 9) }]).seal(key.orgId, purpose, '{}', id);
}

describe('dead letters of brokers', () => {
  it('that cannot be opened any more say so when replayed', async () => {
    const source = randomUUID();
    const letters = [{ id: randomUUID(), sealed: Buffer.alloc(0) }, ...[randomUUID()].map((id) => ({ id, sealed: lost(DEAD_LETTER_PURPOSE, id) }))];
    await api.database.database.withOrg(key.orgId, async (tx) => {
      await sql`insert into broker_sources (org_id, id, name, enabled, draft) values (${key.orgId}, ${source}, ${source}, false, '{}')`.execute(tx);
      for (const { id, sealed } of letters) await sql`insert into broker_dead_letters (org_id, id, source_id, cause, sealed, bytes) values (${key.orgId}, ${id}, ${source}, 'it is no signal', ${sealed}, 1)`.execute(tx);
    });
    for (const { id } of letters) expect(await ask('POST', `/v1/sources/${source}/dead-letters/${id}/replay`)).toMatchObject({ status: 409, body: { type: '/problems/Unopenable' } });
    expect(itemsOf(await ask('GET', `/v1/sources/${source}/dead-letters`)).map(({ replayedAt }) => replayedAt)).toEqual([null, null]);
  });
});

describe('Alertmanager', () => {
  const alert = (fingerprint: string, status: 'firing' | 'resolved', startsAt = '2026-01-01T00:00:00.000Z') => ({ status, labels: { alertname: 'DiskFull' }, annotations: {}, startsAt, endsAt: status === 'firing' ? '0001-01-01T00:00:00Z' : '2026-01-01T01:00:00Z', generatorURL: '', fingerprint });
  const group = (...alerts: unknown[]) => JSON.stringify({ version: '4', groupKey: '{}:{alertname="DiskFull"}', truncatedAlerts: 0, status: 'firing', receiver: 'hal9', groupLabels: { alertname: 'DiskFull' }, commonLabels: {}, commonAnnotations: {}, externalURL: 'http://am', alerts });

  it('makes a signal of each alert, once however often it repeats', async () => {
    const { id, url, secret } = await hook({ preset: 'alertmanager' });
    const bearer = { authorization: `Bearer ${secret}` };
    expect((await send(url, group(alert('f1', 'firing'), alert('f2', 'firing')), bearer)).body).toMatchObject({ accepted: 2 });
    expect((await send(url, group(alert('f1', 'firing'), alert('f2', 'firing')), bearer)).body).toMatchObject({ accepted: 0, duplicates: 2 });
    expect((await send(url, group(alert('f1', 'resolved'), alert('f2', 'firing')), { authorization: `Basic ${Buffer.from(`prometheus:${secret}`).toString('base64')}` })).body).toMatchObject({ accepted: 1, duplicates: 1 });
    expect((await signalsOf(id)).map(({ type, envelope }) => [type, envelope['subject'], envelope['partitionkey']])).toEqual(expect.arrayContaining([['alertmanager.firing', 'DiskFull', 'f1'], ['alertmanager.firing', 'DiskFull', 'f2'], ['alertmanager.resolved', 'DiskFull', 'f1']]));
    expect((await signalsOf(id)).find(({ type }) => type === 'alertmanager.resolved')?.envelope['data']).toMatchObject({ firingSeen: true, group: { groupKey: '{}:{alertname="DiskFull"}' } });
    expect((await send(url, group(), { authorization: 'Bearer wrong' })).status).toBe(401);
    expect((await send(url, '{"alerts":[{"status":"odd"}]}', bearer)).status).toBe(422);
    expect((await send(url, '{"no":"alerts"}', bearer)).status).toBe(400);
  });

  it('takes thousands at once, the same twice as one', async () => {
    const { id, url, secret } = await hook({ preset: 'alertmanager' });
    const many = Array.from({ length: 3000 }, (_, n) => alert(`f${String(n % 2999)}`, 'firing'));
    expect((await send(url, group(...many), { authorization: `Bearer ${secret}` })).body).toMatchObject({ accepted: 2999, duplicates: 1 });
    expect(await signalsOf(id)).toHaveLength(2999);
  });

  it('leaves out a firing whose end came first', async () => {
    const { id, url, secret } = await hook({ preset: 'alertmanager' });
    const bearer = { authorization: `Bearer ${secret}` };
    await send(url, group(alert('f1', 'resolved')), bearer);
    expect((await send(url, group(alert('f1', 'firing')), bearer)).body).toMatchObject({ accepted: 0 });
    expect((await send(url, group(alert('f1', 'firing', '2026-01-02T00:00:00.000Z')), bearer)).body).toMatchObject({ accepted: 1 });
    expect((await signalsOf(id)).map(({ type }) => type)).toEqual(['alertmanager.resolved', 'alertmanager.firing']);
    expect((await log(id))[1]).toMatchObject({ reason: '1 alerts were resolved before their firing arrived' });
  });
});
