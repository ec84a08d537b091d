import { cancellationSignal } from '@temporalio/activity';
import type { Act } from '../../database/audit-acts.ts';
import { AuditLogStore } from '../../database/audit-log.ts';
import { ErasureStore, type ErasureRecord } from '../../database/erasures.ts';
import { LegalHoldStore } from '../../database/legal-holds.ts';
import { actOf } from '../../platform/audit/act.ts';
import { loadAuditSigner } from '../../platform/audit/signer.ts';
import { Connections } from '../../platform/connections/connections.ts';
import { Egress } from '../../platform/connections/egress.ts';
import { systemCaller } from '../../platform/identity/caller.ts';
import type { KeyRing } from '../../platform/keys/key-ring.ts';
import { loadKeyRing } from '../../platform/keys/load.ts';
import { createNotify, type Notify } from '../../platform/notify/notify.ts';
import type { DataSource, SubjectInquiry } from '../../platform/privacy/data-source.ts';
import { DEFAULT_POLICY, openSubject } from '../../platform/privacy/erasures.ts';
import { OWN_SOURCE } from '../../platform/privacy/sources.ts';
import { auditOrigin } from '../../schemas/audit/note.ts';
import { HalError } from '../../schemas/errors.ts';
import { TASK_QUEUES } from '../../schemas/names/task-queues.ts';
import type { KeptValue } from '../../schemas/privacy/erasure.ts';
import { RECEIPT_TYPE, statementHash, type ErasureStatement, type ReceiptPayload } from '../../schemas/privacy/receipt.ts';
import { activityOrganisation } from '../activity-run.ts';
import { beating } from '../beating.ts';
import type { ActivityDependencies, RegisteredActivities } from '../dependencies.ts';
import { effectKey } from '../effect-key.ts';
import type { ErasureActivities, ErasurePlan } from './activity-contract.ts';
import { openAllSources, type AllSources } from './all-sources.ts';
import { named, told } from './reasons.ts';


/** Discovered: what an erasure does to sources and to the ledger. */
export default async function register({ config, database }: ActivityDependencies): Promise<RegisteredActivities> {
  const egress = new Egress({ allowPrivate: config.HAL9_ALLOW_PRIVATE_ADDRESSES });
  const keys = await loadKeyRing(config);
  const notify = createNotify({ database, egress, connections: new Connections({ database, keys, egress }) });
  const signer = await loadAuditSigner(config);
  const sources = await openAllSources({ config, database, keys });
  const parts: Parts = { keys, notify, store: new ErasureStore(database), holds: new LegalHoldStore(database), sources, log: new AuditLogStore(database) };
  const sign = (orgId: string, payload: ReceiptPayload): Promise<string> => signer.jws(auditOrigin(orgId), RECEIPT_TYPE, payload);
  return {
    queues: { [TASK_QUEUES.core]: { ...createErasureActivities(parts, sign) } },
    async shutdown() {
      await sources.close();
      await egress.close();
    },
  };
}

interface Parts {
  readonly keys: KeyRing;
  readonly notify: Notify;
  readonly store: ErasureStore;
  readonly holds: LegalHoldStore;
  readonly sources: AllSources;
  readonly log: AuditLogStore;
}

function createErasureActivities(parts: Parts, sign: (orgId: string, payload: ReceiptPayload) => Promise<string>): ErasureActivities {
  const { store, log } = parts;
  return {
    async openErasure(erasureId) {
      const orgId = activityOrganisation();
      const { dueAt, state } = await ledgerRow(store, orgId, erasureId);
      const { approvals, remindDays, connection } = (await store.policy(orgId)) ?? DEFAULT_POLICY;
      return { approvals, dueAtMs: dueAt.getTime(), remindDays, connection, ...(state === 'complete' || state === 'denied' ? { ended: state } : {}) };
    },

    async noteErasure(erasureId, state, reasons) {
      await store.move(activityOrganisation(), erasureId, state, reasons);
    },

    async planErasure(erasureId) {
      const orgId = activityOrganisation();
      const { inquiry, protectedBy } = await inquire(parts, orgId, erasureId);
      const all = await parts.sources.of(orgId);
      const whole = [...protectedBy];
      if (all.every(({ id }) => id === OWN_SOURCE)) whole.push('no source is declared: declare one with POST /v1/privacy/sources');
      if (whole.length > 0) return blocked(whole, false);
      const plans = await beating(() => Promise.all(all.map((source) => planSource(parts, source, inquiry))));
      const kinds = Object.keys(inquiry.identities).filter((kind) => !plans.some(({ looksUpBy }) => looksUpBy.includes(kind)));
      const reasons = [...plans.flatMap((plan) => plan.reasons), ...(plans.every((plan) => plan.reasons.length === 0) ? kinds.map((kind) => `no source looks people up by ${kind}: annotate an identity of this kind`) : [])];
      if (reasons.length > 0) return blocked(reasons, plans.some(({ passing }) => passing));
      const last = all.filter(({ turn }) => turn === 'last').map(({ id }) => id);
      return {
        reasons: [],
        sources: all.filter(({ turn }) => turn === 'together').map(({ id }) => id),
        ...(last.length === 0 ? {} : { last }),
        rows: sum(plans.map(({ rows }) => rows)),
        summary: plans.map(({ name, rows, tables }) => `${name}: ${rows} rows in ${tables} tables`).join('; '),
        passing: false,
      };
    },

    async eraseSource(erasureId, sourceId) {
      const orgId = activityOrganisation();
      const { inquiry, protectedBy } = await inquire(parts, orgId, erasureId);
      const source = (await parts.sources.of(orgId)).find(({ id }) => id === sourceId);
      if (source === undefined) throw new HalError('Conflict', 'a source was taken away meanwhile');
      if (protectedBy.length > 0) throw new HalError('Conflict', 'a legal hold was placed meanwhile');
      await beating(() => named(source, () => source.erase(inquiry, (changed) => store.count(orgId, erasureId, source.name, changed))));
    },

    async verifyErasure(erasureId) {
      const orgId = activityOrganisation();
      const { inquiry } = await inquire(parts, orgId, erasureId);
      const kept: KeptValue[] = [];
      const left: string[] = [];
      for (const source of await parts.sources.of(orgId)) {
        for (const { table, column, rows, kept: why, remedy } of await beating(() => named(source, () => source.rescan(inquiry)))) {
          if (why === null) left.push(`${source.name}: ${rows} rows of ${table} still name the person in ${column}: ${remedy ?? 'annotate the column, or erase it by hand'}`);
          else kept.push({ source: source.name, table, column, rows, why });
        }
      }
      await store.keep(orgId, erasureId, kept);
      return told(left);
    },

    async finishErasure(erasureId, state, reasons) {
      const orgId = activityOrganisation();
      const erasure = await ledgerRow(store, orgId, erasureId);
      const at = new Date();
      const statement = await statementOf(store, orgId, { ...erasure, finishedAt: at });
      const rows = sum(statement.tables.map((table) => table.rows));
      const details: Act['details'] = state === 'complete' ? { statement: statementHash(statement), rows, kept: statement.kept.length } : { reasons };
      await store.finish(orgId, erasureId, state, { reasons, at }, actOf(systemCaller(orgId, 'privacy'), state === 'complete' ? 'erasure.complete' : 'erasure.deny', { kind: 'erasure', id: erasureId }, details));
      return { rows };
    },

    async issueReceipt(erasureId) {
      const orgId = activityOrganisation();
      const erasure = await ledgerRow(store, orgId, erasureId);
      if (erasure.receipt !== null) return;
      const [logged] = await log.list(orgId, { action: 'erasure.complete', resource: erasureId }, 1);
      const inclusion = logged === undefined ? undefined : await log.inclusion(orgId, logged.entry.seq);
      if (logged === undefined || inclusion === undefined || inclusion.checkpoint === null) throw new HalError('DependencyUnavailable', 'no checkpoint of the audit log covers the end of the erasure yet', { retryAfterSeconds: 1 });
      const payload: ReceiptPayload = {
        statement: await statementOf(store, orgId, erasure),
        audit: { entry: logged.entry, treeSize: inclusion.treeSize, proof: inclusion.proof.map((hash) => Buffer.from(hash).toString('hex')), checkpoint: inclusion.checkpoint },
      };
      await store.keepReceipt(orgId, erasureId, await sign(orgId, payload));
    },

    async remindOfErasure(erasureId, days) {
      const orgId = activityOrganisation();
      const { state, reasons } = await ledgerRow(store, orgId, erasureId);
      const { connection } = (await store.policy(orgId)) ?? DEFAULT_POLICY;
      await store.record(actOf(systemCaller(orgId, 'privacy'), 'erasure.remind', { kind: 'erasure', id: erasureId }, { days }));
      if (connection === null) return;
      const title = days > 0 ? `An erasure is due in ${days} days` : days === 0 ? 'An erasure is due now' : `An erasure is ${-days} days late`;
      await parts.notify.deliver({ orgId }, { connection, title, message: [`Erasure ${erasureId} is ${state}.`, ...reasons].join('\n'), severity: days > 2 ? 'warning' : 'critical', dedupKey: `erasure/${effectKey()}` }, cancellationSignal());
    },
  };
}

async function ledgerRow(store: ErasureStore, orgId: string, erasureId: string): Promise<ErasureRecord> {
  const row = await store.find(orgId, erasureId);
  if (row === undefined) throw new HalError('NotFound', 'no such erasure');
  return row;
}

function blocked(reasons: readonly string[], passing: boolean): ErasurePlan {
  return { reasons: told(reasons), sources: [], rows: 0, summary: '', passing };
}

/** Who an erasure is about, as sources are asked. */
async function inquire({ store, keys, holds }: Parts, orgId: string, erasureId: string): Promise<{ inquiry: SubjectInquiry; protectedBy: readonly string[] }> {
  const { subjects } = await ledgerRow(store, orgId, erasureId);
  const { identities, maskKey } = await openSubject(store, keys, orgId, erasureId);
  const inForce = await holds.inForce(orgId, subjects);
  return {
    inquiry: { orgId, requestId: erasureId, identities, subjects, maskKey, holds: inForce.filter(({ table }) => table !== null), signal: cancellationSignal() },
    protectedBy: inForce.filter(({ table }) => table === null).map(({ id, reason }) => `a legal hold protects the person (${id}: ${reason}): whoever placed it must release it`),
  };
}

interface PlanOfSource {
  readonly name: string;
  readonly reasons: readonly string[];
  readonly passing: boolean;
  readonly looksUpBy: readonly string[];
  readonly rows: number;
  readonly tables: number;
}

/** Rehearses the erasure in one source. What fails is a reason, for other sources are still worth a look. */
async function planSource({ store }: Parts, source: DataSource, inquiry: SubjectInquiry): Promise<PlanOfSource> {
  const { name } = source;
  try {
    const plan = await named(source, () => source.plan(inquiry));
    await store.plan(inquiry.orgId, inquiry.requestId, name, plan.tables.map((table) => ({ source: name, ...table })));
    return { name, reasons: plan.refusals.map((refusal) => `${name}: ${refusal}`), passing: false, looksUpBy: plan.looksUpBy === 'any' ? [] : plan.looksUpBy, rows: sum(plan.tables.map(({ rows }) => rows)), tables: plan.tables.length };
  } catch (error) {
    if (!(error instanceof HalError)) throw error;
    return { name, reasons: [error.message], passing: error.failure.retryable, looksUpBy: [], rows: 0, tables: 0 };
  }
}

async function statementOf(store: ErasureStore, orgId: string, erasure: ErasureRecord): Promise<ErasureStatement> {
  const { id, subjects, requestedAt, finishedAt, kept } = erasure;
  if (finishedAt === null) throw new HalError('Conflict', 'the erasure has not ended');
  return {
    v: 1,
    orgId,
    erasureId: id,
    subjects: subjects.map((hash) => hash.toString('hex')),
    requestedAt: requestedAt.toISOString(),
    finishedAt: finishedAt.toISOString(),
    tables: await store.tables(orgId, id),
    kept: [...kept],
    left: 0,
  };
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
