import { execFile } from 'node:child_process';
import { chmod, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import pg from 'pg';
import { z } from 'zod';
import { endProcess, spawnOwned } from '../../deploy/local/child-process.ts';
import { startStack, type Stack } from '../../deploy/local/stack.ts';
import { createDataConverter } from '../../platform/codec/data-converter.ts';
import { loadConfig } from '../../platform/config/config.ts';
import { loadKeyRing } from '../../platform/keys/load.ts';
import { connectTemporalClient } from '../../platform/temporal/connect.ts';
import { formatWorkflowId, parseRunId } from '../../schemas/names/workflow-id.ts';
import { BOOKING_LOGIN, bookingFlow, startBookingSite } from '../browser/sites/booking.ts';
import { startHttpServer } from '../environment/http-server.ts';
import { findPostgresPrograms, POSTGRES_PROGRAMS_MISSING } from '../environment/postgres-programs.ts';
import { recordHistory } from './recorder.ts';

/**
 * `npm run record:operations`: records the standard cases of HAL9's own operations from a fresh stack; with names of operations (or `take-over`), of
 * those alone. For a release, and when a workflow changed before it had one.
 */
const chosen = new Set(process.argv.slice(2));
const isChosen = (operation: string): boolean => chosen.size === 0 || chosen.has(operation);
const runsSchema = z.object({ items: z.array(z.object({ runId: z.string(), status: z.string(), operation: z.string() })) });
const createdSchema = z.object({ id: z.uuid() });
const firingsSchema = z.object({ items: z.array(z.object({ state: z.string() })) });
const startedSchema = z.object({ runId: z.string() });
const approvalsSchema = z.object({ items: z.array(z.object({ id: z.string() })) });

const folder = await mkdtemp(join(tmpdir(), 'hal9-record-'));
await chmod(folder, 0o755);
const stack = await startStack({ settings: { HAL9_DATA: join(folder, 'data'), HAL9_PORT: '0', HAL9_ALLOW_PRIVATE_ADDRESSES: 'true', HAL9_BACKUPS: join(folder, 'backups') }, progress: (line) => process.stderr.write(`${line}\n`) });
try {
  await record(stack);
} finally {
  await stack.stop();
  await rm(folder, { recursive: true, force: true });
}

async function record({ first, url, hostId, environment, databaseUrl }: Stack): Promise<void> {
  if (first === undefined) throw new Error('a fresh stack makes an organisation');
  const config = loadConfig(environment);
  const keys = await loadKeyRing(config);
  const temporal = await connectTemporalClient(config, createDataConverter(keys));
  const call = async (method: string, path: string, body?: unknown): Promise<unknown> => {
    const response = await fetch(`${url}${path}`, { method, headers: { authorization: `Bearer ${first.apiKey}`, 'content-type': 'application/json' }, ...(body === undefined ? {} : { body: JSON.stringify(body) }), signal: AbortSignal.timeout(60_000) });
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
    const text = await response.text();
    return text === '' ? undefined : JSON.parse(text);
  };
  const closed = async (operation: string, known: readonly string[]): Promise<string> => {
    for (let attempt = 0; attempt < 120; attempt += 1) {
      const { items } = runsSchema.parse(await call('GET', `/v1/runs?type=${operation}&status=completed&limit=50`));
      const found = items.find(({ runId }) => !known.includes(runId));
      if (found !== undefined) return found.runId;
      await delay(500);
    }
    throw new Error(`no run of ${operation} ended`);
  };
  const keep = async (runId: string, name: string): Promise<void> => {
    const parts = parseRunId(runId);
    if (parts === undefined) throw new Error(`${runId} is no run id`);
    process.stdout.write(`${await recordHistory(temporal.client, keys, formatWorkflowId({ orgId: first.orgId, ...parts }), name)}\n`);
  };

  if (isChosen('cascade')) await cascades();
  if (isChosen('remediate')) await remedies();
  if (isChosen('approval')) await approvals();
  if (isChosen('compliance-evidence')) await evidence();
  if (isChosen('webhook-delivery')) await webhookDeliveries();
  if (isChosen('scheduled-run')) await firings();
  if (isChosen('bulk')) await bulks();
  if (isChosen('erasure')) await erasures();
  if (isChosen('retention')) await retentions();
  if (isChosen('access-export')) await exports_();
  if (isChosen('privacy-change')) await changes();
  if (isChosen('memory')) await memories();
  if (isChosen('browser')) await flows();
  if (isChosen('browser-session')) await browserSessions();
  if (isChosen('take-over')) await takeOvers();
  if (isChosen('drill')) await drills();
  await temporal.close();

  async function cascades(): Promise<void> {
    await call('POST', '/v1/signals?wait=true', { id: 'recorded-1', source: 'test', type: 'test.recorded', data: { value: 1 } });
    const interactive = await closed('cascade', []);
    await keep(interactive, 'interactive');
    await call('POST', '/v1/signals', { id: 'recorded-2', source: 'test', type: 'test.recorded', data: { value: 2 } });
    await keep(await closed('cascade', [interactive]), 'batch');
  }

  async function remedies(): Promise<void> {
    const input = { incidentId: 'recorded', cause: 'cpu-hog', hostId, dryRun: true };
    const { runId } = startedSchema.parse(await call('POST', '/v1/workflows/remediate/runs', { input }));
    await call('GET', `/v1/runs/${runId}/result?waitSeconds=50`);
    await keep(runId, 'dry-run');
  }

  /** A receiver that fails once, so that the run sleeps until the next attempt. */
  async function webhookDeliveries(): Promise<void> {
    let failures = 1;
    const receiver = await startHttpServer((_, response) => response.writeHead(failures-- > 0 ? 503 : 204).end());
    const { id } = createdSchema.parse(await call('POST', '/v1/webhook-endpoints', { name: 'recorded', url: receiver.url, events: ['approval.*'] }));
    await call('POST', `/v1/webhook-endpoints/${id}/ping`, {});
    await keep(await closed('webhook-delivery', []), 'retried');
    await receiver.close();
  }

  async function evidence(): Promise<void> {
    const { runId } = startedSchema.parse(await call('POST', '/v1/workflows/compliance-evidence/runs', { input: { controls: ['tenant-isolation', 'statements-are-intact'] } }));
    await call('GET', `/v1/runs/${runId}/result?waitSeconds=50`);
    await keep(runId, 'collected');
    await paused();
    await queued();
  }

  /** One that people agree to after something stood in its way. */
  async function erasures(): Promise<void> {
    const own = new pg.Client({ connectionString: databaseUrl });
    await own.connect();
    await own.query('create schema recorded');
    await own.query('create table recorded.customer (id int primary key, email text)');
    await own.query("insert into recorded.customer values (1, 'recorded@example.com')");
    await own.end();
    await call('PUT', '/v1/privacy/policy', { approvals: 1, deadlineDays: 30, remindDays: [7], connection: null });
    const { id } = createdSchema.parse(await call('POST', '/v1/privacy/erasures', { identities: { email: ['recorded@example.com'] }, verification: 'recorded' }));
    const inState = async (state: string): Promise<void> => {
      for (let attempt = 0; attempt < 120; attempt += 1) {
        if (z.object({ state: z.string() }).parse(await call('GET', `/v1/privacy/erasures/${id}`)).state === state) return;
        await delay(500);
      }
      throw new Error(`the erasure is not ${state}`);
    };
    await inState('blocked');
    await call('POST', '/v1/privacy/sources', { name: 'recorded', address: `${databaseUrl}?sslmode=disable`, annotations: 'source: recorded\ntables:\n  recorded.customer: {columns: {id: {category: user.unique_id}, email: {category: user.contact.email, identity: email}}}\n' });
    await call('POST', `/v1/privacy/erasures/${id}/resume`, {});
    await inState('waiting');
    await call('POST', `/v1/approvals/${await openApproval()}/approve`, {});
    await inState('complete');
    await keep(await closed('erasure', []), 'agreed');
  }

  /** Collected, then ended before it expires. */
  async function exports_(): Promise<void> {
    const view = z.object({ id: z.uuid(), runId: z.string(), state: z.string() });
    const { id, runId } = view.parse(await call('POST', '/v1/privacy/exports', { identities: { email: ['nobody@example.com'] }, verification: 'recorded', recipient: { passphrase: 'recorded passphrase' } }));
    for (let attempt = 0; attempt < 120 && view.parse(await call('GET', `/v1/privacy/exports/${id}`)).state !== 'ready'; attempt += 1) await delay(500);
    await delay(2000);
    await call('POST', `/v1/runs/${runId}/cancel`, {});
    await call('GET', `/v1/runs/${runId}/result?waitSeconds=50`);
    await keep(runId, 'handed-out');
  }

  /** A value that is corrected after something stood in the way. */
  async function changes(): Promise<void> {
    const view = z.object({ id: z.uuid(), runId: z.string(), state: z.string() });
    const own = new pg.Client({ connectionString: databaseUrl });
    await own.connect();
    await own.query('create schema corrected');
    await own.query('create table corrected.reader (id int primary key, email text, name text)');
    await own.query("insert into corrected.reader values (1, 'corrected@example.com', 'wrong')");
    await own.end();
    const { id, runId } = view.parse(await call('POST', '/v1/privacy/changes', { identities: { email: ['corrected@example.com'] }, verification: 'recorded', change: { kind: 'rectification', corrections: [{ category: 'user.name', value: 'right' }] } }));
    for (let attempt = 0; attempt < 120 && view.parse(await call('GET', `/v1/privacy/changes/${id}`)).state !== 'blocked'; attempt += 1) await delay(500);
    await call('POST', '/v1/privacy/sources', { name: 'corrected', address: `${databaseUrl}?sslmode=disable`, annotations: 'source: corrected\ntables:\n  corrected.reader: {columns: {id: {category: user.unique_id}, email: {category: user.contact.email, identity: email}, name: {category: user.name}}}\n' });
    await call('POST', `/v1/privacy/changes/${id}/resume`, {});
    await call('GET', `/v1/runs/${runId}/result?waitSeconds=50`);
    await keep(runId, 'corrected');
  }

  /** Two tables, of which one goes before the other. */
  async function retentions(): Promise<void> {
    const own = new pg.Client({ connectionString: databaseUrl });
    await own.connect();
    await own.query('create schema expired');
    await own.query('create table expired.visit (id int primary key, at date); create table expired.page (visit_id int references expired.visit, at date)');
    await own.query("insert into expired.visit values (1, '2020-01-01'); insert into expired.page values (1, '2020-01-01')");
    await own.end();
    await call('POST', '/v1/privacy/sources', { name: 'expired', address: `${databaseUrl}?sslmode=disable`, annotations: 'source: expired\ntables:\n  expired.visit: {retention: {keep: P1Y, since: at}, columns: {id: {category: system}, at: {category: system}}}\n  expired.page: {retention: {keep: P1Y, since: at}, columns: {visit_id: {category: system}, at: {category: system}}}\n' });
    const { runId } = startedSchema.parse(await call('POST', '/v1/workflows/retention/runs', { input: { source: 'expired' } }));
    await call('GET', `/v1/runs/${runId}/result?waitSeconds=50`);
    await keep(runId, 'swept');
  }

  /** A backup of the stack itself, restored. */
  async function drills(): Promise<void> {
    const programs = await findPostgresPrograms();
    if (programs === undefined) throw new Error(POSTGRES_PROGRAMS_MISSING);
    const backups = join(folder, 'backups');
    await mkdir(join(backups, 'wal'), { recursive: true });
    const env = { ...process.env, PATH: `${programs.folder}:${process.env['PATH'] ?? ''}`, BACKUP_URL: databaseUrl };
    await promisify(execFile)('pg_receivewal', ['--dbname', databaseUrl, '--slot', 'hal9', '--create-slot'], { env });
    const receiving = spawnOwned(join(programs.folder, 'pg_receivewal'), ['--dbname', databaseUrl, '--slot', 'hal9', '--directory', join(backups, 'wal'), '--synchronous'], { deathSignal: 'KILL', env });
    try {
      await promisify(execFile)('sh', [join(import.meta.dirname, '../../deploy/recovery/backup.sh'), backups, '1'], { env });
      const { runId } = startedSchema.parse(await call('POST', '/v1/workflows/drill/runs', { input: {} }));
      for (let attempt = 0; attempt < 5; attempt += 1) await call('GET', `/v1/runs/${runId}/result?waitSeconds=50`);
      await keep(runId, 'restored');
    } finally {
      await endProcess(receiving, 'SIGKILL', 5000);
    }
  }

  /** What a decision says was learned. */
  async function memories(): Promise<void> {
    const { runId } = startedSchema.parse(await call('POST', '/v1/workflows/memory/runs', { input: { topic: 'recorded', content: { what: 'recorded' } } }));
    await call('GET', `/v1/runs/${runId}/result?waitSeconds=50`);
    await keep(runId, 'remembered');
  }

  /** Held before a step, then let go on. */
  async function paused(): Promise<void> {
    const { runId } = startedSchema.parse(await call('POST', '/v1/workflows/compliance-evidence/runs', { input: {} }));
    await call('POST', `/v1/runs/${runId}/pause`, {});
    await delay(2000);
    await call('POST', `/v1/runs/${runId}/resume`, {});
    await call('GET', `/v1/runs/${runId}/result?waitSeconds=50`);
    await keep(runId, 'paused');
  }

  /** The second of two with one key. */
  async function queued(): Promise<void> {
    const body = { input: { controls: ['tenant-isolation'] }, concurrency: { key: 'recorded', limit: 1, onConflict: 'queue' } };
    await call('POST', '/v1/workflows/compliance-evidence/runs', body);
    const { runId } = startedSchema.parse(await call('POST', '/v1/workflows/compliance-evidence/runs', body));
    await call('GET', `/v1/runs/${runId}/result?waitSeconds=50`);
    await keep(runId, 'queued');
  }

  /** A schedule that starts an operation, fired by hand. */
  async function firings(): Promise<void> {
    const action = { kind: 'operation', operation: 'remediate', input: { incidentId: 'recorded', cause: 'cpu-hog', hostId, dryRun: true } };
    const { id } = createdSchema.parse(await call('POST', '/v1/schedules', { name: 'recorded', cron: ['@yearly'], action }));
    await call('POST', `/v1/schedules/${id}/trigger`, {});
    const { items } = await ended(() => call('GET', `/v1/schedules/${id}/firings`));
    if (items[0]?.state !== 'done') throw new Error('the firing did not succeed');
    const { info } = await temporal.client.schedule.getHandle(`${first?.orgId ?? ''}/schedule/${id}`).describe();
    const fired = info.recentActions.at(-1)?.action;
    if (fired?.type !== 'startWorkflow') throw new Error('Temporal knows of no firing');
    await temporal.client.workflow.getHandle(fired.workflow.workflowId).result();
    process.stdout.write(`${await recordHistory(temporal.client, keys, fired.workflow.workflowId, 'fired')}\n`);
  }

  async function ended(ask: () => Promise<unknown>): Promise<z.infer<typeof firingsSchema>> {
    for (let attempt = 0; attempt < 120; attempt += 1) {
      const found = firingsSchema.parse(await ask());
      if (found.items.length > 0 && found.items.every(({ state }) => state !== 'running')) return found;
      await delay(500);
    }
    throw new Error('the firing did not end');
  }

  /** A bulk action over one run that ends and one that is not there. */
  async function bulks(): Promise<void> {
    const { runId } = startedSchema.parse(await call('POST', '/v1/workflows/compliance-evidence/runs', { input: { controls: ['tenant-isolation'] } }));
    const bulk = startedSchema.parse(await call('POST', '/v1/runs/bulk', { action: 'cancel', runIds: [runId, 'compliance-evidence~00000000-0000-4000-8000-000000000000'], perSecond: 20 }));
    await call('GET', `/v1/runs/${bulk.runId}/result?waitSeconds=50`);
    await keep(bulk.runId, 'cancelled');
  }

  /** A decision whose effect people agree to, and one whose effect they refuse. */
  async function approvals(): Promise<void> {
    const decide = {
      summary: '"recorded"', reason: '"the recording asks"', severity: 'warning', approval: { permission: 'approvals:write', required: 1, deadlineSeconds: 3600 },
      operation: { type: 'remediate', input: `{"incidentId": "recorded", "cause": "cpu-hog", "hostId": "${hostId}", "dryRun": true}` },
    };
    await call('POST', '/v1/neurons', { name: 'recorded-approval', layer: 'L2', subscription: { types: ['test.approval'] }, behaviour: { kind: 'rules', rules: [{ when: 'true', decide }] } });
    const known: string[] = [];
    for (const [verb, name] of [['approve', 'approved'], ['refuse', 'refused']] as const) {
      await call('POST', '/v1/signals?wait=true', { id: `recorded-${name}`, source: 'test', type: 'test.approval' });
      await call('POST', `/v1/approvals/${await openApproval()}/${verb}`, {});
      const runId = await closed('approval', known);
      known.push(runId);
      await keep(runId, name);
    }
    // Whom it escalates to does not exist: what counts is that the run turned to them.
    const escalating = { ...decide, approval: { ...decide.approval, escalation: { afterSeconds: 1, connection: 'nobody' } } };
    await call('POST', '/v1/neurons', { name: 'recorded-escalation', layer: 'L2', subscription: { types: ['test.escalation'] }, behaviour: { kind: 'rules', rules: [{ when: 'true', decide: escalating }] } });
    await call('POST', '/v1/signals?wait=true', { id: 'recorded-escalated', source: 'test', type: 'test.escalation' });
    const waiting = await openApproval();
    await delay(5_000);
    await call('POST', `/v1/approvals/${waiting}/approve`, {});
    await keep(await closed('approval', known), 'escalated');
  }

  /** One to its end, one that a person took over, one whose worker was killed, one that was cancelled and one that failed. */
  async function flows(): Promise<void> {
    const site = await startBookingSite();
    await call('POST', '/v1/connections?test=false', { name: 'booking', settings: { kind: 'website', origins: [site.url], ...BOOKING_LOGIN } });
    const begin = async (flow: unknown, input: object = {}): Promise<string> => startedSchema.parse(await call('POST', '/v1/workflows/browser/runs', { input: { flow, input } })).runId;
    const end = async (runId: string): Promise<void> => {
      for (let attempt = 0; attempt < 10; attempt += 1) {
        if (z.object({ status: z.string() }).parse(await call('GET', `/v1/runs/${runId}/result?waitSeconds=50`)).status !== 'running') return;
      }
      throw new Error('the flow did not end');
    };
    const login = { do: 'navigate', url: `${site.url}/login` };
    const title = { do: 'extract', as: 'title', from: 'title' };

    const booked = await begin(bookingFlow(site.url), { reference: 'recorded' });
    await end(booked);
    await keep(booked, 'booked');

    const handedOver = await begin({ steps: [login, { do: 'hand-over', reason: 'recorded', deadlineSeconds: 600 }, title] });
    await call('POST', `/v1/approvals/${await openApproval()}/approve`, {});
    await end(handedOver);
    await keep(handedOver, 'handed-over');

    const lasting = { steps: [login, { do: 'pause', seconds: 8 }, title] };
    const takenUp = await begin(lasting);
    await stepsOf(takenUp, 1);
    stack.kill('browser', 'SIGKILL');
    await end(takenUp);
    await keep(takenUp, 'taken-up');

    const cancelled = await begin(lasting);
    await stepsOf(cancelled, 1);
    await call('POST', `/v1/runs/${cancelled}/cancel`, {});
    await end(cancelled);
    await keep(cancelled, 'cancelled');

    const failed = await begin({ stepSeconds: 1, steps: [login, { do: 'click', on: { role: 'button', name: 'Sign out' } }] });
    await end(failed);
    await keep(failed, 'failed');
    await site.close();
  }

  /** One that is told what to do, fails at a step, asks a person and is ended; one that nobody tells anything. */
  async function browserSessions(): Promise<void> {
    const site = await startBookingSite();
    const begin = async (input: object): Promise<string> => startedSchema.parse(await call('POST', '/v1/workflows/browser-session/runs', { input })).runId;
    const turn = (runId: string, body: object): Promise<unknown> => call('POST', `/v1/runs/${runId}/browser-turns`, body);

    const told = await begin({ settings: { stepSeconds: 1 } });
    await turn(told, { step: { do: 'navigate', url: `${site.url}/login` }, look: { snapshot: true } });
    await turn(told, { step: { do: 'click', on: { role: 'button', name: 'Sign out' } } });
    const handedOver = turn(told, { step: { do: 'hand-over', reason: 'recorded', deadlineSeconds: 600 } });
    await call('POST', `/v1/approvals/${await openApproval()}/approve`, {});
    await handedOver;
    await call('POST', `/v1/runs/${told}/updates/end`, {});
    await call('GET', `/v1/runs/${told}/result?waitSeconds=50`);
    await keep(told, 'told');

    const idle = await begin({ idleMinutes: 0.1 });
    await turn(idle, { step: { do: 'navigate', url: `${site.url}/login` } });
    await call('GET', `/v1/runs/${idle}/result?waitSeconds=50`);
    await keep(idle, 'idle');
    await site.close();
  }

  /** A flow that a person takes over and gives back, and an interactive session whose browser was let go before. */
  async function takeOvers(): Promise<void> {
    const site = await startBookingSite();
    const login = { do: 'navigate', url: `${site.url}/login` };
    const begin = async (operation: string, input: object): Promise<string> => startedSchema.parse(await call('POST', `/v1/workflows/${operation}/runs`, { input })).runId;
    const takenOver = async (runId: string): Promise<void> => {
      await call('POST', `/v1/runs/${runId}/browser-take-over`, {});
      await delay(20_000);
      await call('POST', `/v1/runs/${runId}/browser-hand-back`);
    };

    const told = await begin('browser-session', {});
    for (const step of [login, { do: 'type', into: { label: 'User' }, text: 'recorded' }]) await call('POST', `/v1/runs/${told}/browser-turns`, { step });
    const flow = await begin('browser', { flow: { steps: [login, ...Array.from({ length: 20 }, () => ({ do: 'pause', seconds: 1 })), { do: 'extract', as: 'title', from: 'title' }] } });
    await stepsOf(flow, 2);
    await takenOver(flow);
    await call('GET', `/v1/runs/${flow}/result?waitSeconds=50`);
    await keep(flow, 'taken-over');

    // Two minutes after the last step its browser serves others.
    await delay(110_000);
    await takenOver(told);
    await call('POST', `/v1/runs/${told}/browser-turns`, { look: { snapshot: true } });
    await call('POST', `/v1/runs/${told}/updates/end`, {});
    await call('GET', `/v1/runs/${told}/result?waitSeconds=50`);
    await keep(told, 'taken-over');
    await site.close();
  }

  async function stepsOf(runId: string, count: number): Promise<void> {
    for (let attempt = 0; attempt < 240; attempt += 1) {
      const response = await fetch(`${url}/v1/runs/${runId}/browser-steps`, { headers: { authorization: `Bearer ${first?.apiKey ?? ''}` } });
      // No session yet is a 404.
      if (response.ok && z.object({ items: z.array(z.unknown()) }).parse(await response.json()).items.length >= count) return;
      await delay(250);
    }
    throw new Error(`the session took no ${count} steps`);
  }

  async function openApproval(): Promise<string> {
    for (let attempt = 0; attempt < 120; attempt += 1) {
      const [found] = approvalsSchema.parse(await call('GET', '/v1/approvals?state=open')).items;
      if (found !== undefined) return found.id;
      await delay(500);
    }
    throw new Error('nobody was asked');
  }
}
