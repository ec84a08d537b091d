import { randomUUID } from 'node:crypto';
import { sql } from 'kysely';
import { expect } from 'vitest';
import { MerkleBatch } from '../../platform/chain/merkle-batch.ts';
import { rootOf } from '../../platform/content/cid.ts';
import { Visitor, createPerson } from '../identity/person.ts';
import type { TestApi, TestKey } from './running-api.ts';

/** An organisation that has one of everything, each named after `marker`. */
export interface House {
  readonly orgId: string;
  readonly key: TestKey;
  readonly owner: { readonly userId: string; readonly userName: string };
  readonly slug: string;
  readonly marker: string;
  /** Values of the parameters of paths, by the beginning of the path up to the parameter. The longest beginning counts. */
  readonly resources: ReadonlyMap<string, string>;
}

/**
 * Beginnings of paths whose parameter names nothing of an organisation: a catalogue, a month, a number in one's own log. Whoever may ask is
 * answered, so that only what is answered can be looked at.
 */
export const NOBODYS: Readonly<Record<string, string>> = {
  '/v1/workflows/:type': 'greet',
  '/v1/compliance/:id': 'tenant-isolation',
  '/v1/statements/:month': '2026-01',
  '/scim/v2/ResourceTypes/:id': 'User',
  '/scim/v2/Schemas/:id': 'urn:ietf:params:scim:schemas:core:2.0:User',
  '/v1/audit/entries/:seq': '0',
  '/codec/:namespace': 'default',
};

const DOMAIN = 'access.example';

export async function createHouse(test: TestApi, parentId?: string): Promise<House> {
  const marker = `marker-${randomUUID()}`;
  const slug = `house-${randomUUID().slice(0, 8)}`;
  const orgId = await test.database.organisation(marker);
  if (parentId !== undefined) await test.database.database.system.updateTable('organisations').set({ parent_id: parentId }).where('org_id', '=', orgId).execute();
  const key = await test.key(orgId);
  const send = async (method: string, path: string, body: unknown): Promise<Record<string, unknown>> => {
    const answer = await fetch(test.url + path, { method, headers: { authorization: `Bearer ${key.text}`, 'content-type': path.startsWith('/scim') ? 'application/scim+json' : 'application/json' }, body: JSON.stringify(body) });
    const json = (await answer.json()) as Record<string, unknown>;
    expect(answer.ok, `${path} ${JSON.stringify(json)}`).toBe(true);
    return json;
  };
  const made = async (path: string, body: unknown): Promise<string> => String((await send('POST', path, body))['id']);
  const low = marker.toLowerCase();

  const owner = await createPerson(test.database, orgId, { role: 'owner', slug });
  const signedIn = new Visitor(test.url);
  await signedIn.signIn(slug, owner.userName);
  const session = String((await signedIn.ask('GET', '/v1/session')).body['id']);
  const user = await made('/v1/users', { userName: marker });
  const team = await made('/v1/teams', { name: marker });
  const role = `role-${randomUUID().slice(0, 8)}`;
  await send('POST', '/v1/roles', { name: role, description: marker });
  const run = String((await send('POST', '/v1/workflows/greet/runs', { input: { name: 'Ada', waitFor: true }, tags: [marker] }))['runId']);
  const signal = String(((await send('POST', '/v1/signals', { id: marker, source: marker, type: 'test.access' }))['ids'] as string[])[0]);
  const webhook = await made('/v1/webhooks', { name: marker, settings: { preset: 'standard' } });
  const endpoint = await made('/v1/webhook-endpoints', { name: marker, url: 'https://hooks.example.com/hook', events: ['run.failed'], enabled: false });
  const provider = await made('/v1/identity-providers?test=false', { name: low, settings: { kind: 'oidc', issuer: 'https://idp.example', clientId: marker, clientSecret: marker } });
  await send('POST', `/v1/identity-providers/${provider}/domains`, { domain: DOMAIN });
  const automation = await made('/v1/automations', AUTOMATION(low));
  const connection = await made('/v1/connections?test=false', { name: low, settings: CONNECTION });
  const chain = await made('/v1/chains', { name: marker, chainId: 31337, rpcUrls: ['https://node.example.com'] });
  const signer = await made('/v1/chain-signers', { name: marker, chain });
  const transaction = await made('/v1/chain-transactions', { signer, to: `0x${'11'.repeat(20)}`, reference: marker });
  const [network, consensus, anchors] = [randomUUID(), randomUUID(), randomUUID()];
  const anchored = `0x${randomUUID().replaceAll('-', '').repeat(2)}`;
  await test.database.database.withOrg(orgId, async (tx) => {
    const address = `0x${'22'.repeat(20)}`;
    await sql`insert into chain_networks (org_id, id, chain, name, token, registry, market, anchor) values (${orgId}, ${network}, ${chain}, ${marker}, ${address}, ${address}, ${address}, ${address})`.execute(tx);
    await sql`insert into consensus_requests (org_id, id, network_id, requester, mode, spec) values (${orgId}, ${consensus}, ${network}, ${signer}, 'on-chain', ${marker})`.execute(tx);
    await sql`insert into anchor_streams (org_id, id, name, network_id, signer_id, source, stream) values (${orgId}, ${anchors}, ${marker}, ${network}, ${signer}, 'hashes', ${`0x${'33'.repeat(32)}`})`.execute(tx);
    await sql`insert into anchor_batches (org_id, stream_id, position, root, count) values (${orgId}, ${anchors}, 0, ${new MerkleBatch([anchored]).root}, 1)`.execute(tx);
    await sql`insert into anchor_hashes (org_id, stream_id, hash, position) values (${orgId}, ${anchors}, decode(${anchored.slice(2)}, 'hex'), 0)`.execute(tx);
  });
  const stored = randomUUID();
  await test.database.database.withOrg(orgId, (tx) => sql`insert into contents (org_id, id, media_type, bytes, root, digests, written_by) values (${orgId}, ${stored}, ${marker}, 0, ${rootOf([]).cid}, '', ${marker})`.execute(tx));
  const rows = await otherRows(test, { orgId, run, userId: user, webhook, endpoint, automation, connection, marker });

  const report = randomUUID();
  await test.database.database.withOrg(orgId, (tx) => sql`insert into retention_reports (org_id, id, source, dry_run, state, reasons) values (${orgId}, ${report}, 'shop', true, 'counted', ${[marker]})`.execute(tx));
  const [task, forgotten] = [randomUUID(), await made('/v1/privacy/erasures', { identities: { email: [`task-${marker}`] }, verification: marker })];
  await test.database.database.withOrg(orgId, (tx) => sql`insert into privacy_tasks (org_id, id, erasure_id, source, name, instructions, state, due_at) values (${orgId}, ${task}, ${forgotten}, 'paper', ${marker}, ${marker}, 'open', now())`.execute(tx));
  const resources = new Map<string, string>([
    ['/v1/api-keys/:id', await made('/v1/api-keys', { name: marker, scopes: ['runs:read'] })],
    ['/v1/runs/:id', run],
    ['/v1/signals/:id', signal],
    ['/v1/neurons/:id', await made('/v1/neurons', NEURON(marker))],
    ['/v1/automations/:id', automation],
    ['/v1/chains/:id', chain],
    ['/v1/chain-signers/:id', signer],
    ['/v1/chain-transactions/:id', transaction],
    ['/v1/chain-networks/:id', network],
    ['/v1/chain-networks/:id/accounts/:address', `0x${'55'.repeat(20)}`],
    ['/v1/consensus/:id', consensus],
    ['/v1/anchor-streams/:id', anchors],
    ['/v1/anchor-streams/:id/proofs/:hash', anchored],
    ['/v1/memories/:id', await made('/v1/memories', { topic: 'access', subject: `email:${low}`, content: { marker } })],
    ['/v1/contents/:id', stored],
    ['/v1/connections/:id', connection],
    ['/v1/webhooks/:id', webhook],
    ['/v1/webhook-endpoints/:id', endpoint],
    ['/v1/privacy/sources/:id', await made('/v1/privacy/sources', { name: low, address: 'postgres://hal9:x@db.example/shop', annotations: 'source: shop\ntables: {}\n' })],
    ['/v1/privacy/holds/:id', await made('/v1/privacy/holds', { identities: { email: [marker] }, reason: marker })],
    ['/v1/privacy/erasures/:id', await made('/v1/privacy/erasures', { identities: { email: [marker] }, verification: marker })],
    ['/v1/privacy/changes/:id', await made('/v1/privacy/changes', { identities: { email: [marker] }, verification: marker, change: { kind: 'restriction', state: 'on' } })],
    ['/v1/privacy/exports/:id', await made('/v1/privacy/exports', { identities: { email: [marker] }, verification: marker, recipient: { passphrase: marker } })],
    ['/v1/privacy/retention-reports/:id', report],
    ['/v1/privacy/tasks/:id', task],
    ['/v1/schedules/:id', await made('/v1/schedules', SCHEDULE(low))],
    ['/v1/users/:id', user],
    ['/v1/teams/:id', team],
    ['/v1/teams/:id/shares/:kind', 'runs'],
    ['/v1/teams/:id/shares/:kind/:resourceId', 'shared'],
    ['/v1/roles/:name', role],
    ['/v1/role-bindings/:id', await made('/v1/role-bindings', { userId: user, role: 'viewer' })],
    ['/v1/organisations/:id', orgId],
    ['/v1/organisations/:id/domains/:domain', DOMAIN],
    ['/v1/platform/organisations/:organisation', orgId],
    ['/v1/invitations/:id', await made('/v1/invitations', { email: `${low}@example.org`, roles: ['viewer'] })],
    ['/v1/identity-providers/:id', provider],
    ['/v1/identity-providers/:id/domains/:domain', DOMAIN],
    ['/v1/sessions/:id', session],
    ['/v1/users/:id/sessions', user],
    ['/scim/v2/Users/:id', await made('/scim/v2/Users', { schemas: ['urn:ietf:params:scim:schemas:core:2.0:User'], userName: `scim-${marker}` })],
    ['/scim/v2/Groups/:id', await made('/scim/v2/Groups', { schemas: ['urn:ietf:params:scim:schemas:core:2.0:Group'], displayName: `scim-${marker}` })],
    ...rows,
  ]);
  await send('PUT', `/v1/teams/${team}/shares/runs/shared`, { access: 'read' });
  return { orgId, key, owner, slug, marker, resources };
}

/** What only background work writes. */
async function otherRows(test: TestApi, of: { orgId: string; run: string; userId: string; webhook: string; endpoint: string; automation: string; connection: string; marker: string }): Promise<[string, string][]> {
  const [bulk, source, undelivered, factor, receipt, message, approval, decision, letter, browsing, baseline] = [randomUUID(), randomUUID(), randomUUID(), randomUUID(), randomUUID(), randomUUID(), randomUUID(), randomUUID(), randomUUID(), randomUUID(), randomUUID()];
  const { orgId, marker } = of;
  const rollout = `rollout~${randomUUID()}`;
  let stepSeq = '0';
  const has = (path: string): boolean => test.api.routes.some((route) => route.path === path);
  await test.database.database.withOrg(orgId, async (tx) => {
    await sql`insert into user_factors (org_id, id, user_id, kind, name, sealed) values (${orgId}, ${factor}, ${of.userId}, 'totp', ${marker}, ${Buffer.from(marker)})`.execute(tx);
    await sql`insert into webhook_receipts (org_id, id, webhook_id, received_at, status, delivery_id, body_bytes, headers) values (${orgId}, ${receipt}, ${of.webhook}, now(), 'refused', ${marker}, 1, '{}')`.execute(tx);
    await sql`insert into webhook_messages (org_id, id, endpoint_id, type, data, state) values (${orgId}, ${message}, ${of.endpoint}, 'run.completed', ${JSON.stringify({ marker })}, 'failed')`.execute(tx);
    await sql`insert into approvals (org_id, id, run_id, summary, reason, permission, required, deadline_at) values (${orgId}, ${approval}, ${`greet~${randomUUID()}`}, ${marker}, ${marker}, 'approvals:write', 1, now() + interval '1 day')`.execute(tx);
    await sql`insert into decisions (org_id, id, batch_id, layer, ordinal, neuron_id, neuron_version, neuron_name, summary, reason, severity, event_time, causes, state)
      values (${orgId}, ${decision}, ${randomUUID()}, 'L2', 0, ${randomUUID()}, 1, ${marker}, ${marker}, ${marker}, 'info', now(), '{}', 'none')`.execute(tx);
    await sql`insert into automation_firings (org_id, id, automation_id, automation_version, signal_key, signal_type, state, reason) values (${orgId}, ${randomUUID()}, ${of.automation}, 1, ${randomUUID()}, 'test.access', 'skipped', ${marker})`.execute(tx);
    await sql`insert into notifications (org_id, id, connection_id, connection_name, kind, dedup_key, action, severity, title, state) values (${orgId}, ${randomUUID()}, ${of.connection}, ${marker}, 'slack', ${marker}, 'trigger', 'info', ${marker}, 'delivered')`.execute(tx);
    await sql`insert into bulk_actions (org_id, id, action, actor_kind, actor_id, scopes) values (${orgId}, ${bulk}, 'cancel', 'user', ${of.userId}, '{}')`.execute(tx);
    await sql`insert into bulk_items (org_id, bulk_id, n, run_id) values (${orgId}, ${bulk}, 1, ${marker})`.execute(tx);
    await sql`insert into browser_sessions (org_id, id, run_id, flow) values (${orgId}, ${browsing}, ${of.run}, ${marker})`.execute(tx);
    const { rows: [step] } = await sql<{ seq: string }>`insert into browser_steps (org_id, session_id, key, path, verb, name, outcome, url, started_at, ended_at) values (${orgId}, ${browsing}, '0', 'steps/0', 'click', ${marker}, 'done', '', now(), now()) returning seq`.execute(tx);
    stepSeq = step?.seq ?? '0';
    await sql`insert into browser_baselines (org_id, id, flow, name, viewport, width, height, picture, run_id, step_key) values (${orgId}, ${baseline}, ${marker}, 'cart', '1280x800@1', 1, 1, ${`blob:${'0'.repeat(64)}`}, ${of.run}, '0')`.execute(tx);
    if (has('/v1/sources')) {
      await sql`insert into broker_sources (org_id, id, name, enabled, draft) values (${orgId}, ${source}, ${marker}, false, '{}')`.execute(tx);
      await sql`insert into broker_dead_letters (org_id, id, source_id, cause, sealed, bytes) values (${orgId}, ${undelivered}, ${source}, ${marker}, ${Buffer.from(marker)}, 1)`.execute(tx);
    }
    await sql`insert into rollouts (org_id, run_id) values (${orgId}, ${rollout})`.execute(tx);
    await sql`insert into rollout_units (org_id, run_id, service, cluster, wave, namespace, workload, replicas, strategy, from_images, to_images) values (${orgId}, ${rollout}, ${marker}, 'cluster', 'all', 'shop', 'Deployment/web', 3, 'rolling', '{}', '{}')`.execute(tx);
    await sql`insert into rollout_verdicts (org_id, run_id, key, at, service, cluster, step, metric, outcome, reason, queries, samples, statistic, threshold) values (${orgId}, ${rollout}, 'k', now(), ${marker}, 'cluster', 'canary', 'errors', 'pass', ${marker}, '{}', '{}', '{}', '{}')`.execute(tx);
    await sql`insert into dead_letters (org_id, id, batch_id, layer, ref, failure, cause) values (${orgId}, ${letter}, ${randomUUID()}, 'L2', ${randomUUID()}, 'NeuronFailed', ${marker})`.execute(tx);
  });
  return [
    ['/v1/runs/bulk/:id', bulk],
    ['/v1/runs/:id/browser-steps/:seq', stepSeq],
    ['/v1/runs/:id/browser-steps/:seq/compared/:picture', 'actual'],
    ['/v1/runs/:id/browser-steps/:seq/files/:number', '1'],
    ['/v1/browser-baselines/:id', baseline],
    ['/v1/rollouts/:id', rollout],
    ['/v1/sources/:id', source],
    ['/v1/sources/:id/dead-letters/:letterId', undelivered],
    ['/v1/factors/:id', factor],
    ['/v1/webhook-deliveries/:id', receipt],
    ['/v1/endpoint-deliveries/:id', message],
    ['/v1/approvals/:id', approval],
    ['/v1/decisions/:id', decision],
    ['/v1/dead-letters/:id', letter],
  ];
}

export const NEURON = (name: string) => ({ name, layer: 'L2', subscription: { types: ['test.access'] }, behaviour: { kind: 'rules', rules: [{ when: 'true', emit: { type: 'test.seen' } }] } });
export const AUTOMATION = (name: string) => ({ name, trigger: { kind: 'signal', types: ['test.access'] }, effect: { kind: 'signal', type: 'test.seen' } });
export const SCHEDULE = (name: string) => ({ name, intervals: [{ everySeconds: 31_000_000 }], action: { kind: 'operation', operation: 'greet', input: { name: 'Ada' } } });
export const CONNECTION = { kind: 'slack', url: 'https://hooks.example.com/services/x' };

/** Every row that is the organisation's, by table: what must be the same after others asked for it. */
export async function rowsOf(test: TestApi, orgId: string): Promise<Record<string, string>> {
  const { rows: tables } = await sql<{ name: string }>`
    select c.relname as name from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attname = 'org_id' and not a.attisdropped
    where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition order by 1`.execute(test.database.database.system);
  const digests: Record<string, string> = {};
  await test.database.database.withOrg(orgId, async (tx) => {
    for (const { name } of tables) {
      const table = sql.table(name);
      const allowed = await sql<{ may: boolean }>`select has_table_privilege(${name}, 'select') as may`.execute(tx);
      if (allowed.rows[0]?.may !== true) continue;
      const { rows } = await sql<{ digest: string }>`select count(*) || ' ' || md5(coalesce(string_agg(t::text, '|' order by t::text), '')) as digest from ${table} t where org_id = ${orgId}`.execute(tx);
      digests[name] = rows[0]?.digest ?? '';
    }
  });
  return digests;
}
