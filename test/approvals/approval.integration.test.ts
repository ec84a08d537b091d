import { randomBytes, randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker';
import pino from 'pino';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { z } from 'zod';
import { createApprovalActivities } from '../../activities/approvals/index.ts';
import { ApiKeyStore } from '../../database/api-keys.ts';
import { ApprovalStore } from '../../database/approvals.ts';
import { startTemporal, type RunningTemporal } from '../../deploy/local/temporal.ts';
import { resolveTool, temporalTool } from '../../deploy/local/tools.ts';
import { Approvals } from '../../platform/approvals/approvals.ts';
import { proveAnswer } from '../../platform/approvals/proof.ts';
import { Connections } from '../../platform/connections/connections.ts';
import { Egress } from '../../platform/connections/egress.ts';
import { systemCaller, type Caller } from '../../platform/identity/caller.ts';
import { KeyRing } from '../../platform/keys/key-ring.ts';
import { createNotify } from '../../platform/notify/notify.ts';
import { createOperations } from '../../platform/operations/operations.ts';
import type { Operations } from '../../platform/operations/contract.ts';
import type { approvalRuleSchema } from '../../schemas/neurons/definition.ts';
import { TASK_QUEUES } from '../../schemas/names/task-queues.ts';
import contract, { type ApprovalResult } from '../../schemas/operations/approval.ts';
import { createTestDatabase, type TestDatabase } from '../environment/database.ts';
import { startHttpServer, type LocalServer } from '../environment/http-server.ts';
import { freePort } from '../../platform/telemetry/free-port.ts';

Runtime.install({ logger: new DefaultLogger('ERROR') });

/** A Temporal server of one's own: the activities are served by the queue `core`, which others use on the shared one. */
describe('approvals', () => {
  const keys = new KeyRing([{ id: 'a', key: randomBytes(32) }]);
  const egress = new Egress({ allowPrivate: true });
  const logger = pino({ level: 'silent' });
  let test: TestDatabase;
  let temporal: RunningTemporal;
  let native: NativeConnection;
  let connection: Connection;
  let worker: Worker;
  let running: Promise<void>;
  let operations: Operations;
  let connections: Connections;
  let approvals: Approvals;
  let slack: LocalServer;
  let caller: Caller;
  /** What the released effects started. */
  const started: { operation: string; input: unknown; uuid?: string }[] = [];

  beforeAll(async () => {
    test = await createTestDatabase();
    temporal = await startTemporal({ executable: await resolveTool(temporalTool(), { env: process.env, progress: () => undefined }), port: await freePort() });
    [native, connection] = await Promise.all([NativeConnection.connect({ address: temporal.address }), Connection.connect({ address: temporal.address })]);
    operations = createOperations({ client: new Client({ connection }), database: test.database, contracts: new Map([[contract.name, contract]]), keys, logger });
    connections = new Connections({ database: test.database, keys, egress });
    approvals = new Approvals({ database: test.database, keys, operations });
    slack = await startHttpServer();
    const activities = createApprovalActivities({
      store: new ApprovalStore(test.database),
      connections,
      notify: createNotify({ database: test.database, connections, egress }),
      operations: {
        describe: (asked, runId) => operations.describe(asked, runId),
        async start(_caller, request) {
          started.push(request);
          return { runId: `${request.operation}~${request.uuid ?? ''}`, workflowId: '', created: true };
        },
      },
      keys,
      publicUrl: 'https://hal9.example',
      logger,
    });
    worker = await Worker.create({
      connection: native,
      taskQueue: TASK_QUEUES.core,
      workflowsPath: join(import.meta.dirname, '../../workflows/approval/index.ts'),
      activities: { ...activities },
      shutdownForceTime: '5 seconds',
    });
    running = worker.run();
  });
  afterAll(async () => {
    worker.shutdown();
    await running;
    await operations.close();
    await Promise.all([native.close(), connection.close(), egress.close(), slack.close()]);
    await temporal.stop();
    await test.drop();
  });
  beforeEach(async () => {
    caller = systemCaller(await test.organisation(), 'test');
    slack.received.length = 0;
    started.length = 0;
  });

  const person = (id: string, scopes = ['approvals:*', 'prod:approve']): Caller => ({ ...caller, actor: { kind: 'api-key', id }, scopes });
  const effect = { operation: { type: 'rollout', input: { to: 3 } }, notify: null };
  const ask = async (rule: z.input<typeof approvalRuleSchema> = {}, input: object = {}, requester: Caller = caller) => {
    const { runId } = await operations.start(requester, { operation: 'approval', origin: 'decision', input: { summary: 'Roll out 3?', reason: 'tests passed', approval: rule, effect, ...input } });
    await expect.poll(async () => (await approvals.list(caller, {}, 10)).some((approval) => approval.runId === runId)).toBe(true);
    const approval = (await approvals.list(caller, {}, 10)).find((candidate) => candidate.runId === runId);
    if (approval === undefined) throw new Error('no approval');
    return approval;
  };
  const resultOf = async (runId: string): Promise<ApprovalResult> => {
    const outcome = await operations.result(caller, runId, 20_000);
    if (outcome.status !== 'completed') throw new Error(`the run is ${outcome.status}`);
    return contract.result.parse(outcome.result);
  };
  const decision = async (): Promise<string> => {
    const id = randomUUID();
    await test.database.withOrg(caller.orgId, (tx) =>
      tx
        .insertInto('decisions')
        .values({ org_id: caller.orgId, id, batch_id: randomUUID(), layer: 'L4', ordinal: 0, neuron_id: randomUUID(), neuron_version: 1, neuron_name: 'n', summary: 's', reason: 'r', severity: 'info', dedup_key: null, event_time: new Date(), evidence: null, causes: [], effect: null, effect_failure: null, state: 'awaiting-approval', run_id: null })
        .execute(),
    );
    return id;
  };
  const decisionState = (id: string) =>
    test.database.withOrg(caller.orgId, (tx) => tx.selectFrom('decisions').select(['state', 'run_id', 'effect_failure']).where('id', '=', id).executeTakeFirstOrThrow());

  it('releases the effect after enough distinct people with the permission, once', async () => {
    const decisionId = await decision();
    const approval = await ask({ permission: 'prod:approve', required: 2 }, { decisionId });
    await expect(approvals.answer(person('p0', ['approvals:*']), approval.id, { approved: true })).rejects.toMatchObject({ type: 'Forbidden' });
    await approvals.answer(person('p1'), approval.id, { approved: true, comment: 'looks good' });
    await expect(approvals.answer(person('p1'), approval.id, { approved: true })).rejects.toMatchObject({ type: 'UpdateRejected', message: expect.stringContaining('answered already') });
    expect(started).toEqual([]);
    await approvals.answer(person('p2'), approval.id, { approved: true });
    expect(await resultOf(approval.runId)).toEqual({ approvalId: approval.id, state: 'approved', reason: 'approved by 2 of 2', startedRunId: `rollout~${decisionId}` });
    expect(started).toMatchObject([{ operation: 'rollout', input: { to: 3 }, uuid: decisionId }]);
    expect(await decisionState(decisionId)).toEqual({ state: 'done', run_id: `rollout~${decisionId}`, effect_failure: null });
    expect(await approvals.get(caller, approval.id)).toMatchObject({ state: 'approved', answers: [{ approver: { id: 'p1' }, approved: true, comment: 'looks good' }, { approver: { id: 'p2' } }] });
    await expect(approvals.answer(person('p3'), approval.id, { approved: true })).rejects.toMatchObject({ type: 'Conflict' });
  });

  it('refuses on the first refusal, and after the deadline', async () => {
    const decisionId = await decision();
    const refused = await ask({ required: 3 }, { decisionId });
    await approvals.answer(person('p1'), refused.id, { approved: true });
    await approvals.answer(person('p2'), refused.id, { approved: false });
    expect(await resultOf(refused.runId)).toMatchObject({ state: 'refused', startedRunId: null });
    expect(await decisionState(decisionId)).toMatchObject({ state: 'refused', effect_failure: 'approval refused: refused' });
    const expired = await ask({ deadlineSeconds: 1, required: 2 });
    expect(await resultOf(expired.runId)).toMatchObject({ state: 'expired', reason: '0 of 2 approvals within 1 seconds' });
    expect(await approvals.get(caller, expired.id)).toMatchObject({ state: 'expired' });
    expect(started).toEqual([]);
  });

  it('counts one of many simultaneous answers of one approver', async () => {
    const approval = await ask({ required: 2 });
    const results = await Promise.allSettled(Array.from({ length: 6 }, () => approvals.answer(person('p1'), approval.id, { approved: true })));
    expect(results.filter((result) => result.status === 'fulfilled')).toHaveLength(1);
    expect(await approvals.get(caller, approval.id)).toMatchObject({ state: 'open', answers: [{ approver: { id: 'p1' } }] });
    await approvals.answer(person('p2'), approval.id, { approved: false });
    await resultOf(approval.runId);
  });

  it('takes no answer that HAL9 has not checked', async () => {
    const approval = await ask();
    const forged = { approvalId: approval.id, approved: true, approver: { kind: 'api-key' as const, id: 'boss' }, permission: approval.permission };
    const update = (proof: string) => operations.update(caller, approval.runId, 'approval', { ...forged, proof });
    await expect(update('made.up.proof')).rejects.toMatchObject({ type: 'UpdateRejected', message: expect.stringContaining('not given through HAL9') });
    await expect(update(proveAnswer(keys, { orgId: caller.orgId, ...forged, approver: { kind: 'api-key', id: 'other' } }))).rejects.toMatchObject({ type: 'UpdateRejected' });
    await expect(update(proveAnswer(keys, { orgId: randomUUID(), ...forged }))).rejects.toMatchObject({ type: 'UpdateRejected' });
    expect(await approvals.get(caller, approval.id)).toMatchObject({ state: 'open', answers: [] });
    await approvals.answer(person('p1'), approval.id, { approved: true });
    expect(await resultOf(approval.runId)).toMatchObject({ state: 'approved' });
  });

  it('closes when its run is cancelled or gone', async () => {
    const decisionId = await decision();
    const cancelled = await ask({}, { decisionId });
    await operations.cancel(caller, cancelled.runId);
    await expect.poll(async () => (await approvals.get(caller, cancelled.id)).state).toBe('cancelled');
    expect(await decisionState(decisionId)).toMatchObject({ state: 'refused' });
    const gone = await ask();
    await operations.terminate(caller, gone.runId, 'test');
    await expect(approvals.answer(person('p1'), gone.id, { approved: true })).rejects.toMatchObject({ type: 'Conflict' });
    expect(await approvals.get(caller, gone.id)).toMatchObject({ state: 'cancelled' });
  });

  it('is invisible to other organisations', async () => {
    const approval = await ask({ deadlineSeconds: 3 });
    const other = systemCaller(await test.organisation(), 'test');
    await expect(approvals.answer(other, approval.id, { approved: true })).rejects.toMatchObject({ type: 'NotFound' });
    expect(await approvals.list(other, {}, 10)).toEqual([]);
  });

  describe('by approvers it names', () => {
    /** Of the organisation, with the scopes of somebody who may answer; which roles and teams they are in is read from the database. */
    const user = async (of: { role?: string; team?: string; name?: string } = {}): Promise<Caller> => {
      const id = randomUUID();
      await test.database.withOrg(caller.orgId, async (tx) => {
        await tx.insertInto('users').values({ org_id: caller.orgId, id, user_name: of.name ?? id }).execute();
        if (of.role !== undefined) await tx.insertInto('role_bindings').values({ org_id: caller.orgId, id: randomUUID(), user_id: id, team_id: null, role: of.role }).execute();
        if (of.team !== undefined) await tx.insertInto('team_members').values({ org_id: caller.orgId, team_id: of.team, user_id: id }).execute();
      });
      return { ...caller, actor: { kind: 'user', id }, scopes: ['approvals:*', 'runs:*'] };
    };
    const team = async (name: string, parent: string | null = null): Promise<string> => {
      const id = randomUUID();
      await test.database.withOrg(caller.orgId, (tx) => tx.insertInto('teams').values({ org_id: caller.orgId, id, name, parent_id: parent }).execute());
      return id;
    };

    it('takes people by role, team and name, n of m, and says who may still answer', async () => {
      const [sre, night] = [await team('SRE'), await team('Night shift')];
      await test.database.withOrg(caller.orgId, (tx) => tx.updateTable('teams').set({ parent_id: sre }).where('id', '=', night).execute());
      const [admin, member, ada, stranger] = [await user({ role: 'admin' }), await user({ team: night }), await user({ name: 'ada' }), await user({ role: 'viewer' })];
      const approval = await ask({ required: 3, approvers: { roles: ['admin'], teams: [sre], users: [ada.actor.id] } });
      expect(approval).toMatchObject({ waitsFor: ['role admin', 'team SRE', 'ada'] });
      await expect(approvals.answer(stranger, approval.id, { approved: true })).rejects.toMatchObject({ type: 'Forbidden' });
      // A key has no role, whatever its scopes.
      await expect(approvals.answer(person('p1', ['*']), approval.id, { approved: true })).rejects.toMatchObject({ type: 'Forbidden', message: expect.stringContaining('not by a key') });
      expect(await approvals.view(stranger, approval.id)).toMatchObject({ mayAnswer: false });
      expect(await approvals.view(ada, approval.id)).toMatchObject({ mayAnswer: true });
      expect(await approvals.answer(ada, approval.id, { approved: true })).toMatchObject({ waitsFor: ['role admin', 'team SRE'], mayAnswer: false });
      await approvals.answer(member, approval.id, { approved: true });
      await approvals.answer(admin, approval.id, { approved: true });
      expect(await resultOf(approval.runId)).toMatchObject({ state: 'approved', reason: 'approved by 3 of 3' });
      expect(await approvals.view(admin, approval.id)).toMatchObject({ waitsFor: [], mayAnswer: false });
      const acts = await test.database.system.selectFrom('audit_acts').select(['action']).where('org_id', '=', caller.orgId).execute();
      expect(acts.map(({ action }) => action).filter((action) => action.startsWith('approval.'))).toEqual(['approval.open', 'approval.answer', 'approval.answer', 'approval.answer', 'approval.close']);
    });

    it('does not let the requester approve, not even by a key or in another name, unless it is allowed', async () => {
      const ada = await user();
      const key: Caller = { ...person(randomUUID()), scopes: ['*'] };
      await new ApiKeyStore(test.database).insert({ orgId: caller.orgId, id: key.actor.id, name: 'of ada', prefix: randomUUID(), secretHash: randomBytes(32), scopes: ['*'], expiresAt: null, createdBy: { orgId: caller.orgId, userId: ada.actor.id } });
      const byKey = await ask({}, {}, { ...key, scopes: ['*'] });
      expect(byKey).toMatchObject({ requester: `api-key:${key.actor.id}`, allowRequester: false });
      for (const self of [key, ada, { ...(await user()), impersonatorId: ada.actor.id }]) await expect(approvals.answer(self, byKey.id, { approved: true })).rejects.toMatchObject({ type: 'Forbidden', message: 'who asked may not approve' });
      await approvals.answer(await user(), byKey.id, { approved: true });
      expect(await resultOf(byKey.runId)).toMatchObject({ state: 'approved' });
      const regretted = await ask({ approvers: { roles: ['owner'] } }, {}, { ...ada, scopes: ['*'] });
      await approvals.answer(ada, regretted.id, { approved: false });
      expect(await resultOf(regretted.runId)).toMatchObject({ state: 'refused' });
      const own = await ask({ allowRequester: true }, {}, { ...ada, scopes: ['*'] });
      await approvals.answer(ada, own.id, { approved: true });
      expect(await resultOf(own.runId)).toMatchObject({ state: 'approved' });
    });

    it('turns to others when nobody answers, who may answer then', async () => {
      await connections.create(caller, { name: 'approvals', settings: { kind: 'slack', url: slack.url } }, { test: false, signal: AbortSignal.timeout(5000) });
      await connections.create(caller, { name: 'bosses', settings: { kind: 'slack', url: slack.url } }, { test: false, signal: AbortSignal.timeout(5000) });
      const [ada, boss] = [await user({ name: 'ada' }), await user({ name: 'boss' })];
      const approval = await ask({ approvers: { users: [ada.actor.id] }, escalation: { afterSeconds: 2, connection: 'bosses', approvers: { users: [boss.actor.id] } } });
      await expect(approvals.answer(boss, approval.id, { approved: true })).rejects.toMatchObject({ type: 'Forbidden' });
      await expect.poll(() => slack.received.length).toBe(2);
      const texts = slack.received.map(({ body }) => String(JSON.parse(body).text));
      expect(texts[1]).toContain('Nobody has answered: approval needed: Roll out 3?');
      // Named approvers sign in: a link would not tell who uses it.
      for (const text of texts) expect(text).toContain(`https://hal9.example/console/run.html?id=${encodeURIComponent(approval.runId)}`);
      expect(await approvals.view(boss, approval.id)).toMatchObject({ escalatedAt: expect.any(Date), waitsFor: ['ada', 'boss'], mayAnswer: true });
      await approvals.answer(boss, approval.id, { approved: true });
      expect(await resultOf(approval.runId)).toMatchObject({ state: 'approved' });
      const acts = await test.database.system.selectFrom('audit_acts').select(['action']).where('org_id', '=', caller.orgId).execute();
      expect(acts.map(({ action }) => action)).toContain('approval.escalate');
    });

    it('does not escalate what was answered in time', async () => {
      await connections.create(caller, { name: 'bosses', settings: { kind: 'slack', url: slack.url } }, { test: false, signal: AbortSignal.timeout(5000) });
      const approval = await ask({ escalation: { afterSeconds: 600, connection: 'bosses' } });
      await approvals.answer(await user(), approval.id, { approved: false });
      expect(await resultOf(approval.runId)).toMatchObject({ state: 'refused' });
      expect(slack.received).toEqual([]);
    });
  });

  describe('by link', () => {
    const linkOf = async (approvalId: string): Promise<string> => {
      await expect.poll(() => slack.received.length).toBe(1);
      const text: string = JSON.parse(slack.received[0]!.body).text;
      expect(text).toContain('Approval needed: Roll out 3?');
      const token = /https:\/\/hal9\.example\/approve\/([^|]+)\|/.exec(text)?.[1];
      if (token === undefined) throw new Error(`no link for ${approvalId}`);
      return token;
    };
    beforeEach(() => connections.create(caller, { name: 'approvals', settings: { kind: 'slack', url: slack.url } }, { test: false, signal: AbortSignal.timeout(5000) }));

    it('shows as often as one likes and answers once', async () => {
      const approval = await ask();
      const token = await linkOf(approval.id);
      for (let visit = 0; visit < 3; visit += 1) expect(await approvals.viewLink(token)).toMatchObject({ kind: 'open', approval: { summary: 'Roll out 3?' } });
      expect(await approvals.get(caller, approval.id)).toMatchObject({ state: 'open', answers: [] });
      const answers = await Promise.all(Array.from({ length: 5 }, () => approvals.answerLink(token, true)));
      expect(answers.filter((answer) => answer.kind === 'closed')).toHaveLength(1);
      expect(await resultOf(approval.runId)).toMatchObject({ state: 'approved' });
      expect(await approvals.viewLink(token)).toEqual({ kind: 'spent' });
      expect(await approvals.get(caller, approval.id)).toMatchObject({ answers: [{ approver: { kind: 'link', id: approval.id } }] });
    });

    it('refuses changed tokens, keeps only a hash, and names nobody', async () => {
      const approval = await ask();
      const token = await linkOf(approval.id);
      const [body = '', key = '', signature = ''] = token.split('.');
      const content = JSON.parse(Buffer.from(body, 'base64url').toString());
      expect(Object.keys(content.payload).sort()).toEqual(['approval', 'org']);
      const changed = Buffer.from(JSON.stringify({ ...content, expires: content.expires + 1 })).toString('base64url');
      for (const wrong of [`${changed}.${key}.${signature}`, `${body}.${key}.${signature.slice(0, -2)}AA`, 'x', '..', `${body}.nokey.${signature}`]) {
        expect(await approvals.viewLink(wrong)).toEqual({ kind: 'spent' });
        expect(await approvals.answerLink(wrong, true)).toEqual({ kind: 'spent' });
      }
      const rows = await test.database.withOrg(caller.orgId, (tx) => tx.selectFrom('approval_links').selectAll().execute());
      expect(JSON.stringify(rows)).not.toContain(signature);
      expect(await approvals.answerLink(token, false)).toMatchObject({ kind: 'closed' });
      expect(await resultOf(approval.runId)).toMatchObject({ state: 'refused' });
    });

    it('expires with the approval', async () => {
      const approval = await ask({ deadlineSeconds: 2 });
      const token = await linkOf(approval.id);
      await resultOf(approval.runId);
      await expect.poll(() => approvals.viewLink(token)).toEqual({ kind: 'spent' });
      expect(await approvals.answerLink(token, true)).toEqual({ kind: 'spent' });
    });

    it('keeps secrets and link tokens out of the history', async () => {
      const approval = await ask();
      const token = await linkOf(approval.id);
      await approvals.answerLink(token, true);
      await resultOf(approval.runId);
      const workflowId = `${caller.orgId}/approval/${approval.runId.split('~')[1] ?? ''}`;
      const history = JSON.stringify(await new Client({ connection }).workflow.getHandle(workflowId).fetchHistory());
      const payloads = [...history.matchAll(/"data":"([A-Za-z0-9+/=]+)"/g)].map(([, encoded = '']) => Buffer.from(encoded, 'base64').toString('utf8')).join('\n');
      expect(payloads).toContain(approval.id);
      for (const secret of [token, slack.url]) expect(`${history}\n${payloads}`).not.toContain(secret);
    });
  });
});
