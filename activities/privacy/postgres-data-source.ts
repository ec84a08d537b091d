import type pg from 'pg';
import type { LegalHold } from '../../database/legal-holds.ts';
import type { Egress } from '../../platform/connections/egress.ts';
import { readAnnotations } from '../../platform/privacy/annotation-file.ts';
import { assignmentsOf, namesOf, type Assignment } from '../../platform/privacy/assignments.ts';
import { NO_RESTRICTION_FIELD, type ChangeInquiry, type ChangePlan, type ChangeTarget } from '../../platform/privacy/change-target.ts';
import { quotedRelation, type Catalog } from '../../platform/privacy/catalog.ts';
import { makeDataMap, type DataMap } from '../../platform/privacy/data-map.ts';
import type { ChangedTable, DataSource, ExportedRecords, Remainder, SourcePlan, SubjectInquiry } from '../../platform/privacy/data-source.ts';
import type { Identities } from '../../platform/privacy/identities.ts';
import { parseSourceAddress } from '../../platform/privacy/source-address.ts';
import type { OpenPrivacySource } from '../../platform/privacy/sources.ts';
import { HalError } from '../../schemas/errors.ts';
import type { Annotations } from '../../schemas/privacy/annotations.ts';
import { readCatalog } from './postgres-catalog.ts';
import { foreseeChange, remainingOf, writeChange } from './postgres-change.ts';
import { eraseStep, rehearse } from './postgres-erasure.ts';
import { exportRows } from './postgres-export.ts';
import { seedValues } from './postgres-rows.ts';
import { scanFor } from './postgres-scan.ts';
import { withPostgres } from './postgres-source.ts';

/** A PostgreSQL database: found along its foreign keys and annotations, rehearsed in a transaction that is taken back, erased in a transaction a step. */
export class PostgresDataSource implements DataSource, ChangeTarget {
  readonly id: string;
  readonly name: string;
  readonly turn = 'together';
  readonly #source: OpenPrivacySource;
  readonly #egress: Egress;

  constructor(source: OpenPrivacySource, egress: Egress) {
    this.id = source.id;
    this.name = source.name;
    this.#source = source;
    this.#egress = egress;
  }

  async plan(inquiry: SubjectInquiry): Promise<SourcePlan> {
    return this.#withMap(inquiry, async (client, _catalog, map) => {
      const looksUpBy = map.traversal.seeds.map(({ identity }) => identity);
      const refusals = refusalsOf(map);
      if (refusals.length > 0) return { refusals, looksUpBy, tables: [] };
      const outcomes = await rehearse(client, map, inquiry.identities, { key: inquiry.maskKey });
      const tables = outcomes.filter(({ found, shared }) => found > 0 || shared > 0).map(({ table, method, found, shared }) => ({ table, method, why: map.treatments.get(table)?.why ?? '', rows: found, shared }));
      return { refusals, looksUpBy, tables };
    });
  }

  async erase(inquiry: SubjectInquiry, count: (changed: readonly ChangedTable[]) => Promise<void>): Promise<void> {
    await this.#withMap(inquiry, async (client, _catalog, map) => {
      const [refusal] = refusalsOf(map);
      if (refusal !== undefined) throw new HalError('Conflict', refusal);
      for (const step of map.order) {
        inquiry.signal.throwIfAborted();
        await count(await eraseStep(client, map, step, inquiry.identities, { key: inquiry.maskKey }, `${inquiry.orgId}/${inquiry.requestId}/${this.id}`));
      }
      // Copies that the database makes by itself.
      for (const view of map.refreshes) await client.query(`refresh materialized view ${quotedRelation(view)}`);
    });
  }

  async rescan(inquiry: SubjectInquiry): Promise<readonly Remainder[]> {
    return this.#withMap(inquiry, (client, catalog, map) => scanFor(client, catalog, map, inquiry.identities));
  }

  async *export(inquiry: SubjectInquiry): AsyncIterable<ExportedRecords> {
    // A connection cannot be kept open across the portions of a generator that nobody ends: they are read, then handed out.
    yield* await this.#withMap(inquiry, (client, _catalog, map) => exportRows(client, map, inquiry.identities));
  }

  async planChange(inquiry: ChangeInquiry): Promise<ChangePlan> {
    return this.#withMap(inquiry, async (client, _catalog, map) => {
      const looksUpBy = map.traversal.seeds.map(({ identity }) => identity);
      const { assignments, knows } = this.#assignments(map, inquiry);
      const refusals = refusalsOf(map);
      if (refusals.length > 0) return { refusals, looksUpBy, knows, tables: [] };
      const found = await foreseeChange(client, map, assignments, inquiry.identities);
      const { change } = inquiry;
      const unmarked = change.kind === 'restriction' && change.state === 'on' && found.rows > 0 && found.concerned === 0;
      return { refusals: unmarked ? [`${found.rows} ${NO_RESTRICTION_FIELD}`] : found.refusals, looksUpBy, knows, tables: found.tables };
    });
  }

  async change(inquiry: ChangeInquiry, count: (changed: readonly ChangedTable[]) => Promise<void>): Promise<void> {
    await this.#withMap(inquiry, async (client, _catalog, map) => {
      const [refusal] = refusalsOf(map);
      if (refusal !== undefined) throw new HalError('Conflict', refusal);
      const { assignments } = this.#assignments(map, inquiry);
      await count(await writeChange(client, map, assignments, inquiry.identities, `${inquiry.orgId}/${inquiry.requestId}/${this.id}`));
      // Copies that the database makes by itself.
      for (const view of map.refreshes) await client.query(`refresh materialized view ${quotedRelation(view)}`);
    });
  }

  async recheck(inquiry: ChangeInquiry): Promise<readonly string[]> {
    return this.#withMap(inquiry, async (client, _catalog, map) => {
      const { assignments } = this.#assignments(map, inquiry);
      return remainingOf(client, map, assignments, inquiry.found ? withCorrected(inquiry.identities, assignments) : inquiry.identities);
    });
  }

  #assignments(map: DataMap, { change, holds }: ChangeInquiry): ReturnType<typeof assignmentsOf> {
    const { assignments, knows } = assignmentsOf(map, this.name, change);
    return { assignments: assignments.map((one) => this.#unlessHeld(map, one, holds)), knows };
  }

  #unlessHeld(map: DataMap, assignment: Assignment, holds: readonly LegalHold[]): Assignment {
    const table = map.schema.tables.get(assignment.table);
    const hold = table === undefined ? undefined : holds.find((one) => one.source === this.name && one.table !== null && namesOf(table).includes(one.table));
    return hold === undefined ? assignment : { ...assignment, refusal: `a legal hold protects the table (${hold.id}: ${hold.reason}): whoever placed it must release it` };
  }

  async recognise({ signal }: { readonly signal: AbortSignal }, isOne: (kind: string, value: string) => boolean): Promise<readonly { kind: string; value: string }[]> {
    return withPostgres(this.#egress, parseSourceAddress(this.#source.address), signal, async (client) => {
      const map = makeDataMap(await readCatalog(client), readAnnotations(this.#source.annotations));
      const found = new Map<string, { kind: string; value: string }>();
      await client.query('begin transaction isolation level repeatable read read only');
      for (const { identity: kind, table: id, path } of map.traversal.seeds) {
        const table = map.schema.tables.get(id);
        if (table === undefined) continue;
        for await (const values of seedValues(client, table, path)) for (const value of values) if (isOne(kind, value)) found.set(JSON.stringify([kind, value]), { kind, value });
      }
      await client.query('rollback');
      return [...found.values()];
    });
  }

  /** The live schema under the annotations of now, with what holds protect kept. */
  async #withMap<Answer>(inquiry: SubjectInquiry, work: (client: pg.Client, catalog: Catalog, map: DataMap) => Promise<Answer>): Promise<Answer> {
    return withPostgres(this.#egress, parseSourceAddress(this.#source.address), inquiry.signal, async (client) => {
      const catalog = await readCatalog(client);
      return work(client, catalog, makeDataMap(catalog, held(readAnnotations(this.#source.annotations), this.name, inquiry.holds)));
    });
  }
}

/** What a person is looked up by once identities of theirs are corrected. */
function withCorrected(identities: Identities, assignments: readonly Assignment[]): Identities {
  const all = new Map(Object.entries(identities).map(([kind, values]) => [kind, new Set(values)]));
  for (const { identity, value } of assignments) if (identity !== undefined && value !== null && all.has(identity)) all.get(identity)?.add(String(value));
  return Object.fromEntries([...all].map(([kind, values]) => [kind, [...values]]));
}

function held(annotations: Annotations, source: string, holds: readonly LegalHold[]): Annotations {
  const here = holds.filter((hold) => hold.source === source);
  return {
    ...annotations,
    tables: annotations.tables.map((table) => {
      const hold = here.find((one) => one.table === table.name || one.table === `${table.schema ?? 'public'}.${table.name}`);
      return hold === undefined ? table : { ...table, erase: 'keep', keepBecause: `legal hold ${hold.id}: ${hold.reason}` };
    }),
  };
}

function refusalsOf(map: DataMap): string[] {
  return map.findings.filter(({ severity }) => severity === 'refusal').map(({ table, column, reason }) => `${[table, column].filter((part) => part !== null).join(' ')}: ${reason}`);
}
