import { setTimeout as delay } from 'node:timers/promises';
import { OwnPersonalDataStore, type OwnInquiry, type SealedRow, type SealedTable } from '../../database/own-personal-data.ts';
import type { Database } from '../../database/database.ts';
import { isBlobRef, type BlobRef, type BlobStore } from '../../platform/blobs/blob-store.ts';
import { DEAD_LETTER_PURPOSE } from '../../platform/brokers/intake.ts';
import type { Connections } from '../../platform/connections/connections.ts';
import { systemCaller } from '../../platform/identity/caller.ts';
import type { KeyRing } from '../../platform/keys/key-ring.ts';
import type { SubjectKeys } from '../../platform/keys/subject-keys.ts';
import { MEMORY_PURPOSE, Memories } from '../../platform/memory/memories.ts';
import type { ChangedTable, DataSource, ExportedRecords, PlannedTable, Remainder, SourcePlan, SubjectInquiry } from '../../platform/privacy/data-source.ts';
import { normalised } from '../../platform/privacy/identities.ts';
import { OWN_SOURCE } from '../../platform/privacy/sources.ts';
import { RECEIPT_PURPOSE } from '../../platform/webhooks/intake.ts';
import { HalError } from '../../schemas/errors.ts';
import { formatRunId, formatWorkflowId, parseRunId, parseWorkflowId } from '../../schemas/names/workflow-id.ts';
import type { Execution, Histories } from './hal9-histories.ts';
import { SharedScan, type Scanned } from './shared-scan.ts';

/** Shorter values are found by chance. Characters. */
const SHORTEST = 4;
const HISTORIES = 'temporal_histories';
const BLOBS = 'blobs';
const KEYS = 'subject_keys';
const SEALED: readonly { readonly table: SealedTable; readonly purpose: string }[] = [
  { table: 'webhook_receipts', purpose: RECEIPT_PURPOSE },
  { table: 'broker_dead_letters', purpose: DEAD_LETTER_PURPOSE },
  { table: 'memories', purpose: MEMORY_PURPOSE },
];
/** Tables people write themselves: nothing is changed in them behind their backs. */
const WRITTEN_BY_PEOPLE = 'somebody wrote it there: change it, or delete it';

export interface Hal9SourceParts {
  readonly database: Database;
  readonly keys: KeyRing;
  readonly subjects: SubjectKeys;
  readonly blobs: BlobStore;
  readonly histories: Histories;
  readonly connections: Pick<Connections, 'list'>;
}

/**
 * HAL9 itself: signals and what rests on them, memories, runs with their histories, browser evidence, deliveries, personal fields of the audit log, blobs,
 * and the keys of people. Its turn is last: with the keys the way to the person's runs goes.
 */
export class Hal9DataSource implements DataSource {
  readonly id = OWN_SOURCE;
  readonly name = OWN_SOURCE;
  readonly turn = 'last';
  readonly #parts: Hal9SourceParts;
  readonly #store: OwnPersonalDataStore;
  readonly #blobs: SharedScan<BlobRef>;
  readonly #memories: Memories;

  constructor(parts: Hal9SourceParts) {
    this.#parts = parts;
    this.#store = new OwnPersonalDataStore(parts.database);
    this.#memories = new Memories(parts);
    this.#blobs = new SharedScan((orgId) => this.#everyBlob(orgId));
  }

  async plan(inquiry: SubjectInquiry): Promise<SourcePlan> {
    const own = await this.#own(inquiry);
    const [accounts, connections, rows, naming, blobs, sealed] = [await this.#store.accounts(own), await this.#connections(own), await this.#store.count(own), await this.#undeclared(own), await this.#blobsOf(own), await this.#sealed(own)];
    const under = await this.#under(inquiry);
    const refusals = [
      ...accounts.map((id) => `the person has an account here: delete it first (DELETE /v1/users/${id})`),
      ...connections.map((id) => `the connection ${id} names the person: change or delete it`),
      ...naming.filter(({ open }) => open).map((execution) => `the open run ${nameOf(execution)} names the person and was not started as theirs: let it end, or cancel it`),
    ];
    const tables: PlannedTable[] = rows.map(({ table, method, rows: count }) => ({ table, method, why: 'data of people', rows: count, shared: 0 }));
    const add = (table: string, count: number, why: string): void => {
      const known = tables.findIndex((planned) => planned.table === table);
      const rows = count + (tables[known]?.rows ?? 0);
      if (count > 0) tables.splice(known === -1 ? tables.length : known, 1, { table, method: 'delete', why, rows, shared: 0 });
    };
    add(HISTORIES, under.length + naming.length, 'sealed with a key of the person, which is destroyed, or deleted where they name the person');
    add(BLOBS, blobs.length, 'pictures and checkpoints of the person\'s runs, and blobs that name the person');
    for (const { table, found } of sealed) add(table, found.length, 'sealed, and names the person');
    add(KEYS, (await this.#living(inquiry)).length, 'seals everything that is declared to be about the person');
    return { refusals, looksUpBy: 'any', tables };
  }

  async erase(inquiry: SubjectInquiry, count: (changed: readonly ChangedTable[]) => Promise<void>): Promise<void> {
    const { histories, subjects, blobs } = this.#parts;
    const { signal } = inquiry;
    const own = await this.#own(inquiry);
    const [undeclared, under] = [await this.#undeclared(own), await this.#under(inquiry)];
    const open = undeclared.find((execution) => execution.open);
    if (open !== undefined) throw new HalError('Conflict', `the open run ${nameOf(open)} names the person and was not started as theirs: let it end, or cancel it`);
    // What still runs would go on writing.
    for (const execution of await histories.openUnder(own.orgId, own.keyIds)) await histories.close(execution, signal);
    for (const ref of await this.#blobsOf(own)) {
      signal.throwIfAborted();
      await blobs.delete(own.orgId, ref);
      await count([{ table: BLOBS, changed: 1 }]);
    }
    for (const { table, found } of await this.#sealed(own)) await count([{ table, changed: await this.#store.removeSealed(own.orgId, table, found) }]);
    await count([await this.#store.eraseStepsAcrossOrganisations(own), ...(await this.#store.erase(own))].map(({ table, rows }) => ({ table, changed: rows })));
    for (const execution of undeclared) {
      signal.throwIfAborted();
      await histories.remove(execution, signal);
      await count([{ table: HISTORIES, changed: 1 }]);
    }
    await count([{ table: KEYS, changed: await subjects.destroy(own.orgId, inquiry.subjects) }, { table: HISTORIES, changed: under.length }]);
    // Processes that read a key a moment ago may still use it.
    const usable = Math.max(0, ...(await subjects.idsOf(own.orgId, inquiry.subjects)).filter(({ living }) => !living).map(({ usableMs }) => usableMs));
    if (usable > 0) await delay(usable, undefined, { signal });
  }

  async rescan(inquiry: SubjectInquiry): Promise<readonly Remainder[]> {
    const own = await this.#own(inquiry);
    const { histories } = this.#parts;
    const left: Remainder[] = (await this.#store.scan(own)).map(({ table, column, rows }) => ({ table, column, rows, kept: null, remedy: WRITTEN_BY_PEOPLE }));
    const add = (table: string, column: string, rows: number, remedy: string): void => void (rows > 0 && left.push({ table, column, rows, kept: null, remedy }));
    add(KEYS, 'wrapped', (await this.#living(inquiry)).length, 'somebody started something about the person meanwhile: try again');
    add(HISTORIES, 'open', (await histories.openUnder(own.orgId, own.keyIds)).length, 'a run about the person does not end: terminate it');
    add(HISTORIES, 'payloads', (await histories.naming(own.orgId, own.texts)).length, 'runs that were not started as theirs name the person: try again once they have ended');
    add(BLOBS, 'content', (await this.#blobs.find(own.orgId, own.texts)).length, 'written meanwhile: try again');
    for (const { table, found } of await this.#sealed(own)) add(table, 'sealed', found.length, 'written meanwhile: try again');
    add('connections', 'settings', (await this.#connections(own)).length, WRITTEN_BY_PEOPLE);
    return left;
  }

  async *export(inquiry: SubjectInquiry): AsyncIterable<ExportedRecords> {
    const own = await this.#own(inquiry);
    const { histories, blobs, keys } = this.#parts;
    for (const { table, rows } of await this.#store.read(own)) yield { table, rows };
    for await (const { id, kind, topic, content, weight, createdAt } of this.#memories.about(own.orgId, own.subjects)) yield { table: 'memories', rows: [{ id, kind, topic, content, weight, createdAt }] };
    for (const execution of [...(await this.#under(inquiry)), ...(await this.#undeclared(own))]) {
      const history = await histories.read(execution);
      if (history !== undefined) yield { table: HISTORIES, rows: [{ run: nameOf(execution), payloads: history.payloads.filter((text) => /^[[{"\d]/.test(text)) }] };
    }
    for (const { table, purpose, found } of await this.#sealed(own)) {
      for await (const row of this.#everySealed(own.orgId, table)) if (found.includes(row.id)) yield { table, rows: [{ id: row.id, content: sealedText(keys, own.orgId, purpose, row) }] };
    }
    for (const ref of await this.#blobsOf(own)) yield { table: BLOBS, rows: [{ blob: ref, content: await blobs.get(own.orgId, ref) }] };
  }

  async #own({ orgId, identities, subjects }: SubjectInquiry): Promise<OwnInquiry> {
    const texts = Object.values(identities).flat().map(normalised).filter((text) => text.length >= SHORTEST);
    return { orgId, texts, subjects, keyIds: (await this.#parts.subjects.idsOf(orgId, subjects)).map(({ id }) => id) };
  }

  async #living({ orgId, subjects }: SubjectInquiry): Promise<string[]> {
    return (await this.#parts.subjects.idsOf(orgId, subjects)).filter(({ living }) => living).map(({ id }) => id);
  }

  /** Runs under keys of the person that can still be read, by the read model: Temporal would have to list everybody's. */
  async #under(inquiry: SubjectInquiry): Promise<Execution[]> {
    const runs = await this.#store.runsOf(inquiry.orgId, await this.#living(inquiry));
    return runs.flatMap(({ runId, open }) => {
      const parts = parseRunId(runId);
      return parts === undefined ? [] : [{ workflowId: formatWorkflowId({ orgId: inquiry.orgId, ...parts }), runId: undefined, open }];
    });
  }

  /** Executions that name the person without being under a key of theirs. */
  async #undeclared({ orgId, texts, keyIds }: OwnInquiry): Promise<Execution[]> {
    return (await this.#parts.histories.naming(orgId, texts)).filter(({ workflowId }) => !keyIds.some((id) => workflowId.endsWith(`/k:${id}`)));
  }

  async #blobsOf(own: OwnInquiry): Promise<BlobRef[]> {
    return [...new Set([...(await this.#store.blobs(own)).filter(isBlobRef), ...(await this.#blobs.find(own.orgId, own.texts))])];
  }

  async #connections({ orgId, texts }: OwnInquiry): Promise<string[]> {
    const found: string[] = [];
    for (let after: string | undefined; ; ) {
      const page = await this.#parts.connections.list(systemCaller(orgId, 'privacy'), 200, after);
      found.push(...page.filter(({ name, settings }) => texts.some((text) => `${name}\n${JSON.stringify(settings)}`.toLowerCase().includes(text))).map(({ id }) => id));
      after = page.at(-1)?.name;
      if (page.length < 200) return found;
    }
  }

  async #sealed({ orgId, texts }: OwnInquiry): Promise<{ table: SealedTable; purpose: string; found: string[] }[]> {
    const places: { table: SealedTable; purpose: string; found: string[] }[] = [];
    for (const { table, purpose } of texts.length === 0 ? [] : SEALED) {
      const found: string[] = [];
      for await (const row of this.#everySealed(orgId, table)) {
        const content = sealedText(this.#parts.keys, orgId, purpose, row).toLowerCase();
        if (texts.some((text) => content.includes(text))) found.push(row.id);
      }
      if (found.length > 0) places.push({ table, purpose, found });
    }
    return places;
  }

  async *#everySealed(orgId: string, table: SealedTable): AsyncIterable<SealedRow> {
    for (let after = '00000000-0000-0000-0000-000000000000'; ; ) {
      const page = await this.#store.sealed(orgId, table, after);
      yield* page;
      const last = page.at(-1);
      if (last === undefined) return;
      after = last.id;
    }
  }

  async *#everyBlob(orgId: string): AsyncIterable<Scanned<BlobRef>> {
    const { blobs } = this.#parts;
    for await (const ref of blobs.list(orgId)) {
      const bytes = await blobs.get(orgId, ref).catch((error: unknown) => {
        // Deleted meanwhile, or erased with its key.
        if (error instanceof HalError && error.type === 'NotFound') return undefined;
        throw error;
      });
      if (bytes !== undefined) yield { hit: ref, text: bytes.toString('utf8').toLowerCase() };
    }
  }
}

/** As people name the run; children by Temporal's name for them. */
function nameOf({ workflowId }: Execution): string {
  const parts = parseWorkflowId(workflowId);
  return parts === undefined ? workflowId.slice(workflowId.indexOf('/') + 1) : formatRunId(parts);
}

/** Bodies of messages are base64 in there. */
function sealedText(keys: KeyRing, orgId: string, purpose: string, { id, sealed }: SealedRow): string {
  const text = keys.open(orgId, purpose, sealed, id).toString('utf8');
  const [, body] = /"body":"([A-Za-z0-9+/=]*)"/.exec(text) ?? [];
  return body === undefined ? text : `${text}\n${Buffer.from(body, 'base64').toString('utf8')}`;
}
