import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { LegalHoldStore } from '../../database/legal-holds.ts';
import { PrivacyChangeStore, type PrivacyChangeRecord } from '../../database/privacy-changes.ts';
import { actOf } from '../../platform/audit/act.ts';
import { systemCaller } from '../../platform/identity/caller.ts';
import type { KeyRing } from '../../platform/keys/key-ring.ts';
import { loadKeyRing } from '../../platform/keys/load.ts';
import type { ChangeInquiry, ChangePlan, ChangeTarget } from '../../platform/privacy/change-target.ts';
import { openChange } from '../../platform/privacy/changes.ts';
import { OWN_SOURCE } from '../../platform/privacy/sources.ts';
import { HalError } from '../../schemas/errors.ts';
import { TASK_QUEUES } from '../../schemas/names/task-queues.ts';
import { isWhole, topicsOf, type SubjectChange } from '../../schemas/privacy/change.ts';
import { activityOrganisation } from '../activity-run.ts';
import { beating } from '../beating.ts';
import type { ActivityDependencies, RegisteredActivities } from '../dependencies.ts';
import { openAllSources, type AllSources } from '../privacy/all-sources.ts';
import type { PrivacyChangeActivities, PrivacyChangePlan } from './activity-contract.ts';
import { named, told } from '../privacy/reasons.ts';

/** How long a change waits for an earlier one that is just being carried out before it says so, and how often it looks. Milliseconds. */
const TURN_MS = 120_000;
const LOOK_MS = 250;

/** Discovered: what a change of a person's data does to sources and to the ledger. */
export default async function register({ config, database }: ActivityDependencies): Promise<RegisteredActivities> {
  const keys = await loadKeyRing(config);
  const sources = await openAllSources({ config, database, keys });
  return {
    queues: { [TASK_QUEUES.core]: { ...createPrivacyChangeActivities({ keys, sources, store: new PrivacyChangeStore(database), holds: new LegalHoldStore(database) }) } },
    shutdown: () => sources.close(),
  };
}

interface Parts {
  readonly keys: KeyRing;
  readonly sources: AllSources;
  readonly store: PrivacyChangeStore;
  readonly holds: LegalHoldStore;
}

function createPrivacyChangeActivities(parts: Parts): PrivacyChangeActivities {
  const { store } = parts;
  return {
    async planPrivacyChange(changeId) {
      const orgId = activityOrganisation();
      const row = await rowOf(store, orgId, changeId);
      if (row.finishedAt !== null) return endedPlan(row);
      const plan = await beating((signal) => planAll(parts, orgId, row, signal));
      if (plan.reasons.length > 0 || (await store.begin(orgId, changeId))) return plan;
      return endedPlan(await rowOf(store, orgId, changeId));
    },

    async notePrivacyChange(changeId, reasons) {
      await store.block(activityOrganisation(), changeId, reasons);
    },

    async changeSource(changeId, sourceId) {
      const orgId = activityOrganisation();
      const row = await rowOf(store, orgId, changeId);
      const target = (await parts.sources.targetsOf(orgId)).find(({ id }) => id === sourceId);
      if (target === undefined) throw new HalError('Conflict', 'a source was taken away meanwhile');
      await beating(async (signal) => {
        const { inquiry, protectedBy } = await inquire(parts, orgId, row, signal);
        if (protectedBy.length > 0) throw new HalError('Conflict', 'a legal hold was placed meanwhile');
        await named(target, () => target.change(inquiry(target.name), (changed) => store.count(orgId, changeId, target.name, changed)));
      });
    },

    async verifyPrivacyChange(changeId) {
      const orgId = activityOrganisation();
      const row = await rowOf(store, orgId, changeId);
      return beating(async (signal) => {
        const { inquiry } = await inquire(parts, orgId, row, signal);
        const left: string[] = [];
        for (const target of await parts.sources.targetsOf(orgId)) for (const reason of await named(target, () => target.recheck(inquiry(target.name)))) left.push(`${target.name}: ${reason}`);
        return told(left);
      });
    },

    async finishPrivacyChange(changeId) {
      const orgId = activityOrganisation();
      const { kind, wanted } = await rowOf(store, orgId, changeId);
      const rows = (await store.tables(orgId, changeId)).reduce((sum, table) => sum + table.rows, 0);
      await store.finish(orgId, changeId, actOf(systemCaller(orgId, 'privacy'), 'privacy-change.complete', { kind: 'privacy-change', id: changeId }, { kind, wanted, rows }));
      return { rows };
    },
  };
}

async function planAll(parts: Parts, orgId: string, row: PrivacyChangeRecord, signal: AbortSignal): Promise<PrivacyChangePlan> {
  const { inquiry, protectedBy, change } = await inquire(parts, orgId, row, signal);
  const waitsFor = await awaitTurn(parts.store, orgId, row, change, signal);
  if (waitsFor.length > 0) return blocked(waitsFor.map((id) => `the earlier change ${id} of the same data has not ended: do what its reasons say`), true);
  const targets = await parts.sources.targetsOf(orgId);
  const whole = [...protectedBy];
  if (targets.every(({ id }) => id === OWN_SOURCE)) whole.push('no source is declared: declare one with POST /v1/privacy/sources');
  if (whole.length > 0) return blocked(whole, false);
  const plans = await Promise.all(targets.map((target) => planTarget(parts.store, target, inquiry(target.name))));
  const reasons = plans.flatMap((plan) => plan.reasons);
  if (reasons.length > 0) return blocked(reasons, plans.some(({ passing }) => passing));
  const unknown = [...unknownKinds(plans, Object.keys(inquiry('').identities)), ...unknownTopics(plans, change)];
  if (unknown.length > 0) return blocked(unknown, false);
  return { reasons: [], sources: targets.map(({ id }) => id), passing: false };
}

/** Waits while an earlier change of the same data is being carried out. @returns ids of those that stand in the way. */
async function awaitTurn(store: PrivacyChangeStore, orgId: string, { id }: PrivacyChangeRecord, change: SubjectChange, signal: AbortSignal): Promise<string[]> {
  const act = (superseded: string) => actOf(systemCaller(orgId, 'privacy'), 'privacy-change.supersede', { kind: 'privacy-change', id: superseded }, { by: id });
  const until = performance.now() + TURN_MS;
  for (;;) {
    const earlier = await store.overtake(orgId, id, isWhole(change), act);
    if (earlier.length === 0 || performance.now() > until) return earlier;
    await delay(LOOK_MS, undefined, { signal });
  }
}

interface PlanOfTarget {
  readonly reasons: readonly string[];
  readonly passing: boolean;
  readonly looksUpBy: ChangePlan['looksUpBy'];
  readonly knows: ChangePlan['knows'];
}

/** What fails is a reason, for other sources are still worth a look. */
async function planTarget(store: PrivacyChangeStore, target: ChangeTarget, inquiry: ChangeInquiry): Promise<PlanOfTarget> {
  const { name } = target;
  try {
    const { refusals, looksUpBy, knows, tables } = await named(target, () => target.planChange(inquiry));
    await store.plan(inquiry.orgId, inquiry.requestId, name, tables);
    return { reasons: refusals.map((refusal) => `${name}: ${refusal}`), passing: false, looksUpBy, knows };
  } catch (error) {
    if (!(error instanceof HalError)) throw error;
    return { reasons: [error.message], passing: error.failure.retryable, looksUpBy: [], knows: [] };
  }
}

/** Of HAL9's own look and of people's nobody can say that a kind was misspelt: somebody must know it. */
function unknownKinds(plans: readonly PlanOfTarget[], kinds: readonly string[]): string[] {
  const everybody = plans.some(({ looksUpBy }) => looksUpBy === 'any');
  return everybody ? [] : kinds.filter((kind) => !plans.some(({ looksUpBy }) => looksUpBy.includes(kind))).map((kind) => `no source looks people up by ${kind}: annotate an identity of this kind`);
}

function unknownTopics(plans: readonly PlanOfTarget[], change: SubjectChange): string[] {
  if (change.kind === 'restriction' || plans.some(({ knows }) => knows === 'any')) return [];
  const what = change.kind === 'rectification' ? 'of the category' : 'that keeps the consent';
  return topicsOf(change).filter((topic) => !plans.some(({ knows }) => knows.includes(topic))).map((topic) => `no source has a field ${what} ${topic}: annotate it where it is kept`);
}

function blocked(reasons: readonly string[], passing: boolean): PrivacyChangePlan {
  return { reasons: told(reasons), sources: [], passing };
}

function endedPlan({ state }: PrivacyChangeRecord): PrivacyChangePlan {
  return { ended: state === 'complete' ? 'complete' : 'superseded', reasons: [], sources: [], passing: false };
}

async function rowOf(store: PrivacyChangeStore, orgId: string, changeId: string): Promise<PrivacyChangeRecord> {
  const row = await store.find(orgId, changeId);
  if (row === undefined) throw new HalError('NotFound', 'no such change');
  return row;
}

/** Who a change is about, as sources are asked. Holds forbid to overwrite what may be evidence; flags beside it may be set. */
async function inquire({ store, keys, holds }: Parts, orgId: string, row: PrivacyChangeRecord, signal: AbortSignal): Promise<{ inquiry: (source: string) => ChangeInquiry; protectedBy: readonly string[]; change: SubjectChange }> {
  const { identities, change } = openChange(keys, orgId, row);
  const before = await store.tables(orgId, row.id);
  const inForce = change.kind === 'rectification' ? (await holds.inForce(orgId, row.subjects)).filter(({ restrictionId }) => restrictionId === null) : [];
  return {
    inquiry: (source) => ({
      orgId, requestId: row.id, identities, change, subjects: row.subjects, maskKey: randomBytes(32), holds: inForce.filter(({ table }) => table !== null), signal,
      found: before.some((table) => table.source === source && table.rows > 0),
    }),
    protectedBy: inForce.filter(({ table }) => table === null).map(({ id, reason }) => `a legal hold protects the person (${id}: ${reason}): whoever placed it must release it`),
    change,
  };
}
