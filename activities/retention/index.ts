import { cancellationSignal } from '@temporalio/activity';
import type pg from 'pg';
import { LegalHoldStore } from '../../database/legal-holds.ts';
import { RetentionReportStore } from '../../database/retention-reports.ts';
import { actOf } from '../../platform/audit/act.ts';
import { Egress } from '../../platform/connections/egress.ts';
import { systemCaller } from '../../platform/identity/caller.ts';
import type { KeyRing } from '../../platform/keys/key-ring.ts';
import { loadKeyRing } from '../../platform/keys/load.ts';
import { readAnnotations } from '../../platform/privacy/annotation-file.ts';
import { qualified, quotedRelation, type Catalog } from '../../platform/privacy/catalog.ts';
import { makeDataMap, type DataMap } from '../../platform/privacy/data-map.ts';
import { planRetention, type ExpiringTable } from '../../platform/privacy/retention-plan.ts';
import { parseSourceAddress } from '../../platform/privacy/source-address.ts';
import { PrivacySources } from '../../platform/privacy/sources.ts';
import { HalError } from '../../schemas/errors.ts';
import { TASK_QUEUES } from '../../schemas/names/task-queues.ts';
import type { RetentionInput } from '../../schemas/operations/retention.ts';
import { activityRun } from '../activity-run.ts';
import { beating } from '../beating.ts';
import type { ActivityDependencies, RegisteredActivities } from '../dependencies.ts';
import { readCatalog } from '../privacy/postgres-catalog.ts';
import { withPostgres } from '../privacy/postgres-source.ts';
import type { RetentionActivities } from './activity-contract.ts';
import { HeldPeople } from './held-people.ts';
import { countExpired, sweep, type Sweep } from './sweep.ts';

/** Deleted rows are counted in HAL9 so often; what a crash loses of it is made up at the end. */
const COUNT_MS = 2_000;
const SHARE = 0.1;

/** Discovered: deletes from sources what has had its time. */
export default async function register({ config, database }: ActivityDependencies): Promise<RegisteredActivities> {
  const egress = new Egress({ allowPrivate: config.HAL9_ALLOW_PRIVATE_ADDRESSES });
  const keys = await loadKeyRing(config);
  const activities = createRetentionActivities({ egress, keys, sources: new PrivacySources({ database, keys }), holds: new LegalHoldStore(database), reports: new RetentionReportStore(database) });
  return {
    queues: { [TASK_QUEUES.core]: { ...activities } },
    async shutdown() {
      await egress.close();
    },
  };
}

interface Parts {
  readonly egress: Egress;
  readonly keys: KeyRing;
  readonly sources: PrivacySources;
  readonly holds: LegalHoldStore;
  readonly reports: RetentionReportStore;
}

function createRetentionActivities(parts: Parts): RetentionActivities {
  const { holds, reports } = parts;
  return {
    async planRetention(input) {
      const { orgId, uuid: id } = activityRun();
      const dryRun = input.dryRun === true;
      if ((await reports.find(orgId, id)) !== undefined) return { tables: await swept(reports, orgId, id), reasons: [] };
      try {
        return await withMap(parts, orgId, input, async (client, _catalog, map) => {
          const unknown = missing(map, input);
          if (unknown.length > 0) throw new HalError('InvalidInput', unknown.join('; '));
          const plan = planRetention(map, input.source, await holds.allInForce(orgId), new Date(), input.tables);
          const reasons = plan.kept.map(({ table, why }) => `${table}: ${why}`);
          const counts = await countExpired({ client, map, tables: plan.tables, held: heldIn(parts, orgId, input, client, map) });
          const none = { due: 0, held: 0, referenced: 0 };
          await reports.open(orgId, { id, source: input.source, dryRun }, [
            ...plan.tables.map(({ table, policy, cutoff }) => ({ table: table.id, ...policy, cutoff, ...(counts.get(table.id) ?? none), why: null })),
            ...plan.kept.map(({ table, policy, why }) => ({ table, ...policy, cutoff: new Date(0), ...none, why })),
          ]);
          if (plan.tables.length === 0) return { tables: [], reasons: reasons.length > 0 ? reasons : ['no annotation of the source has a retention policy'] };
          return { tables: plan.tables.map(({ table }) => table.id), reasons: [] };
        });
      } catch (error) {
        if (!(error instanceof HalError) || error.failure.retryable) throw error;
        await reports.open(orgId, { id, source: input.source, dryRun }, []);
        return { tables: [], reasons: [error.message] };
      }
    },

    async sweepTable(input, name) {
      const { orgId, uuid: id } = activityRun();
      await withMap(parts, orgId, input, async (client, catalog, map) => {
        const tables = await expiringOf(parts, orgId, id, input, map);
        const expiring = tables.find(({ table }) => table.id === name);
        if (expiring === undefined) throw new HalError('Conflict', 'a legal hold was placed meanwhile, or the policy was changed');
        await counting(parts, orgId, id, name, (count) =>
          sweep({ client, map, tables, held: heldIn(parts, orgId, input, client, map), share: input.share ?? SHARE, signal: cancellationSignal(), count }, expiring),
        );
        for (const view of copiesOf(catalog, expiring)) await client.query(`refresh materialized view ${view}`);
      });
    },

    async finishRetention(input, reasons) {
      const { orgId, uuid: id } = activityRun();
      const dryRun = input.dryRun === true;
      const tables = await reports.tables(orgId, id);
      const left = dryRun || tables.every(({ why }) => why !== null) ? new Map<string, number>() : await leftOver(parts, orgId, id, input);
      const kept = tables.flatMap(({ table, why }) => (why === null ? [] : [`${table}: ${why}`]));
      const remaining = [...left].filter(([, rows]) => rows > 0).map(([table, rows]) => `${table}: ${rows} rows that have expired are still there`);
      const all = [...new Set([...reasons, ...kept, ...remaining])];
      const nothing = tables.every(({ why }) => why !== null);
      const state = nothing ? 'refused' : dryRun ? 'counted' : reasons.length > 0 || remaining.length > 0 ? 'incomplete' : 'done';
      const { due, deleted } = await reports.finish(orgId, id, state, all, left, (rows) => actOf(systemCaller(orgId, 'privacy'), dryRun ? 'retention.count' : 'retention.run', { kind: 'retention-report', id }, { rows, state }));
      return { reportId: id, state, due, deleted, reasons: all };
    },
  };
}

/** The live schema under the annotations of now. @throws {HalError} NotFound, InvalidInput for a source that is none of PostgreSQL. */
async function withMap<Answer>({ sources, egress }: Parts, orgId: string, { source: name }: RetentionInput, work: (client: pg.Client, catalog: Catalog, map: DataMap) => Promise<Answer>): Promise<Answer> {
  const source = await sources.openByName(orgId, name);
  if (source.kind !== 'postgres') throw new HalError('InvalidInput', 'only PostgreSQL sources have retention policies');
  return beating((signal) =>
    withPostgres(egress, parseSourceAddress(source.address), signal, async (client) => {
      const catalog = await readCatalog(client);
      return work(client, catalog, makeDataMap(catalog, readAnnotations(source.annotations)));
    }),
  );
}

/** Tables that were asked for and have no policy. */
function missing(map: DataMap, { tables = [] }: RetentionInput): string[] {
  const withPolicy = [...map.schema.tables.values()].filter(({ annotation }) => annotation?.retention !== undefined);
  return tables.filter((name) => !withPolicy.some(({ id, annotation, relation }) => [id, annotation?.name, `${relation.schema}.${relation.name}`].includes(name))).map((name) => `${name}: no annotation gives it a retention policy`);
}

function heldIn({ holds, keys }: Parts, orgId: string, { source }: RetentionInput, client: pg.Client, map: DataMap): Sweep['held'] {
  const people = new HeldPeople({ client, map, source, orgId, keys, holds: () => holds.allInForce(orgId) });
  return () => people.rows();
}

async function swept(reports: RetentionReportStore, orgId: string, id: string): Promise<string[]> {
  return (await reports.tables(orgId, id)).filter(({ why }) => why === null).map(({ table }) => table);
}

/** The tables of the report with its cutoffs, but for those that a hold keeps by now. */
async function expiringOf({ holds, reports }: Parts, orgId: string, id: string, { source, tables: only }: RetentionInput, map: DataMap): Promise<ExpiringTable[]> {
  const known = new Map((await reports.tables(orgId, id)).map((table) => [table.table, table]));
  return planRetention(map, source, await holds.allInForce(orgId), new Date(), only).tables.flatMap((expiring) => {
    const before = known.get(expiring.table.id);
    return before === undefined || before.why !== null || before.since !== expiring.policy.since || before.keep !== expiring.policy.keep ? [] : [{ ...expiring, cutoff: before.cutoff }];
  });
}

/** Counts in HAL9 what was deleted, every now and then and at the end. */
async function counting({ reports }: Parts, orgId: string, id: string, table: string, work: (count: Sweep['count']) => Promise<void>): Promise<void> {
  let [rows, partitions, flushed]: [number, string[], Promise<void>] = [0, [], Promise.resolve()];
  const flush = (): void => {
    if (rows === 0 && partitions.length === 0) return;
    const [some, dropped] = [rows, partitions];
    [rows, partitions] = [0, []];
    flushed = flushed.then(() => reports.count(orgId, id, table, some, dropped));
    // A failure is told by the wait at the end; until then nobody else hears of it.
    flushed.catch(() => undefined);
  };
  const often = setInterval(flush, COUNT_MS);
  try {
    await work((more, partition) => {
      rows += more;
      if (partition !== undefined) partitions.push(partition);
    });
  } finally {
    clearInterval(often);
    flush();
    await flushed;
  }
}

/** Counts again by the same rules. */
async function leftOver(parts: Parts, orgId: string, id: string, input: RetentionInput): Promise<Map<string, number>> {
  return withMap(parts, orgId, input, async (client, _catalog, map) => {
    const tables = await expiringOf(parts, orgId, id, input, map);
    const counts = await countExpired({ client, map, tables, held: heldIn(parts, orgId, input, client, map) });
    return new Map([...counts].map(([table, { due }]) => [table, due]));
  });
}

/** Materialized views that are copies of the table. */
function copiesOf(catalog: Catalog, { table }: ExpiringTable): string[] {
  return catalog.relations.filter(({ kind, reads }) => kind === 'materialized-view' && reads.some((name) => qualified(name) === table.id)).map(quotedRelation);
}
