import { createHash } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { Egress } from '../../platform/connections/egress.ts';
import { explainFailure } from '../../platform/connections/failure.ts';
import { isOutstanding } from '../../platform/privacy/assignments.ts';
import { NO_RESTRICTION_FIELD, SEVERAL_VALUES, type ChangeInquiry, type ChangePlan, type ChangeTarget } from '../../platform/privacy/change-target.ts';
import type { ChangedTable, DataSource, ExportedRecords, Remainder, SourcePlan, SubjectInquiry } from '../../platform/privacy/data-source.ts';
import { normalised } from '../../platform/privacy/identities.ts';
import { textOf } from '../../platform/privacy/masks.ts';
import { readRecordAnnotations } from '../../platform/privacy/record-annotations.ts';
import type { OpenPrivacySource } from '../../platform/privacy/sources.ts';
import { HalError } from '../../schemas/errors.ts';
import type { FlagValue } from '../../schemas/privacy/annotations.ts';
import type { SubjectChange } from '../../schemas/privacy/change.ts';
import { httpAnnotationsSchema, type HttpAnnotations } from '../../schemas/privacy/record-annotations.ts';
import { membersAt } from './json-member.ts';

const CALL_MS = 30_000;
const LONGEST_ANSWER = 8 * 1024 * 1024;
/** Pages of one search; more is an API that never says it is done. */
const MOST_PAGES = 10_000;
/** Attempts of one call that the API puts off. */
const ATTEMPTS = 6;
/** Longest that one waits because an API says so, milliseconds. */
const LONGEST_WAIT_MS = 120_000;

type Calls = HttpAnnotations['records'][string];

interface FoundRecord {
  readonly id: string;
  readonly value: Readonly<Record<string, unknown>>;
}

/** What a member of a person's records is to hold. */
interface WantedMember {
  readonly member: string;
  readonly value: FlagValue;
  readonly was: string | undefined;
}

/** An API: declared calls find a person's records, page by page, and erase or change each. */
export class HttpDataSource implements DataSource, ChangeTarget {
  readonly id: string;
  readonly name: string;
  readonly turn = 'together';
  readonly #base: URL;
  readonly #annotations: HttpAnnotations;
  readonly #fetch: typeof globalThis.fetch;
  #next = 0;

  constructor(source: OpenPrivacySource, egress: Egress) {
    this.id = source.id;
    this.name = source.name;
    this.#base = new URL(source.address);
    this.#annotations = readRecordAnnotations(httpAnnotationsSchema, source.annotations);
    this.#fetch = egress.limited(LONGEST_ANSWER);
  }

  async plan(inquiry: SubjectInquiry): Promise<SourcePlan> {
    const tables: SourcePlan['tables'][number][] = [];
    for (const [table, calls] of Object.entries(this.#annotations.records)) {
      const rows = (await this.#find(calls, inquiry)).length;
      if (rows === 0) continue;
      const kept = this.#keptBy(table, calls, inquiry);
      tables.push({ table, method: kept === undefined ? 'delete' : 'none', why: kept ?? calls.category ?? 'data of people', rows, shared: 0 });
    }
    const refusals = tables.filter(({ table, method }) => method === 'delete' && this.#annotations.records[table]?.erase === undefined).map(({ table, rows }) => `${table}: ${rows} records, and no call erases them: erase them by hand, or declare the call`);
    return { refusals, looksUpBy: [...new Set(Object.values(this.#annotations.records).flatMap(({ find }) => kindsIn(find.path)))], tables };
  }

  async erase(inquiry: SubjectInquiry, count: (changed: readonly ChangedTable[]) => Promise<void>): Promise<void> {
    for (const [table, calls] of Object.entries(this.#annotations.records)) {
      const { erase } = calls;
      if (erase === undefined || this.#keptBy(table, calls, inquiry) !== undefined) continue;
      for (const { id } of await this.#find(calls, inquiry)) {
        inquiry.signal.throwIfAborted();
        // The same record in the same erasure is the same call, however often it is sent.
        const key = createHash('sha256').update(`${inquiry.requestId}\0${this.id}\0${table}\0${id}`).digest('hex');
        const { status } = await this.#call(erase.method, this.#at(erase.path.replaceAll('{id}', encodeURIComponent(id))), inquiry.signal, { key, body: erase.body });
        // Gone already is gone.
        if (status === 404 || status === 410) continue;
        if (status < 200 || status > 299) throw new HalError('Conflict', `${table}: the API answered ${status} to ${erase.method}: whoever runs it must say why`);
        await count([{ table, changed: 1 }]);
      }
    }
  }

  async rescan(inquiry: SubjectInquiry): Promise<readonly Remainder[]> {
    const left: Remainder[] = [];
    for (const [table, calls] of Object.entries(this.#annotations.records)) {
      const rows = (await this.#find(calls, inquiry)).length;
      if (rows > 0) left.push({ table, column: calls.find.id, rows, kept: this.#keptBy(table, calls, inquiry) ?? null, remedy: 'the API still finds them: whoever runs it must erase them' });
    }
    return left;
  }

  async *export(inquiry: SubjectInquiry): AsyncIterable<ExportedRecords> {
    for (const [table, calls] of Object.entries(this.#annotations.records)) {
      const rows = (await this.#find(calls, inquiry)).map(({ value }) => value);
      if (rows.length > 0) yield { table, ...(calls.category === undefined ? {} : { about: calls.category }), rows };
    }
  }

  async planChange(inquiry: ChangeInquiry): Promise<ChangePlan> {
    const { change, holds } = inquiry;
    const tables: ChangePlan['tables'][number][] = [];
    const refusals: string[] = [];
    let [found, marked] = [0, 0];
    for (const [table, calls] of Object.entries(this.#annotations.records)) {
      const records = await this.#find(calls, inquiry);
      const wanted = wantedOf(calls, change, this.name, table);
      found += records.length;
      if (wanted.length > 0) marked += records.length;
      const outstanding = records.filter(({ value }) => outstandingIn(value, wanted).length > 0);
      if (outstanding.length === 0) continue;
      tables.push({ table, rows: outstanding.length });
      const hold = holds.find((one) => one.source === this.name && one.table === table);
      if (hold !== undefined) refusals.push(`${table}: a legal hold protects it (${hold.id}: ${hold.reason}): whoever placed it must release it`);
      else if (calls.update === undefined) refusals.push(`${table}: ${outstanding.length} records, and no call changes them: declare \`update\`, or a manual source for it`);
      if (change.kind !== 'rectification') continue;
      for (const one of wanted) {
        const values = new Set(outstanding.flatMap(({ value }) => (outstandingIn(value, [one]).length > 0 ? [textAt(value, one.member)] : [])).filter((text) => text !== null).map(normalised));
        if (one.was === undefined && values.size > 1) refusals.push(`${table} ${one.member} ${SEVERAL_VALUES}`);
      }
    }
    if (change.kind === 'restriction' && change.state === 'on' && found > 0 && marked === 0) refusals.push(`${found} ${NO_RESTRICTION_FIELD}`);
    const records = Object.entries(this.#annotations.records);
    return {
      refusals,
      looksUpBy: [...new Set(records.flatMap(([, { find }]) => kindsIn(find.path)))],
      knows: records.flatMap(([table, calls]) => wantedOf(calls, change, this.name, table).map(({ topic }) => topic)),
      tables,
    };
  }

  async change(inquiry: ChangeInquiry, count: (changed: readonly ChangedTable[]) => Promise<void>): Promise<void> {
    for (const [table, calls] of Object.entries(this.#annotations.records)) {
      const { update } = calls;
      const wanted = wantedOf(calls, inquiry.change, this.name, table);
      if (update === undefined || wanted.length === 0) continue;
      for (const { id, value } of await this.#find(calls, inquiry)) {
        inquiry.signal.throwIfAborted();
        const outstanding = outstandingIn(value, wanted);
        if (outstanding.length === 0) continue;
        const key = createHash('sha256').update(`${inquiry.requestId}\0${this.id}\0${table}\0${id}`).digest('hex');
        const body = outstanding.reduce((so, { member, value: next }) => withMember(so, member.split('.'), next), update.body ?? {});
        const { status } = await this.#call(update.method, this.#at(update.path.replaceAll('{id}', encodeURIComponent(id))), inquiry.signal, { key, body });
        if (status === 404 || status === 410) continue;
        if (status < 200 || status > 299) throw new HalError('Conflict', `${table}: the API answered ${status} to ${update.method}: whoever runs it must say why`);
        await count([{ table, changed: 1 }]);
      }
    }
  }

  async recheck(inquiry: ChangeInquiry): Promise<readonly string[]> {
    const left: string[] = [];
    for (const [table, calls] of Object.entries(this.#annotations.records)) {
      const wanted = wantedOf(calls, inquiry.change, this.name, table);
      if (wanted.length === 0) continue;
      const records = await this.#find(calls, inquiry);
      for (const one of wanted) {
        const rows = records.filter(({ value }) => outstandingIn(value, [one]).length > 0).length;
        if (rows > 0) left.push(`${rows} records of ${table} still hold something else in ${one.member}: whoever runs the API must say why`);
      }
    }
    return left;
  }

  #keptBy(table: string, { keep }: Calls, { holds }: SubjectInquiry): string | undefined {
    const hold = holds.find((one) => one.source === this.name && one.table === table);
    return hold === undefined ? keep : `legal hold ${hold.id}: ${hold.reason}`;
  }

  /** All records of a person, each once, from all pages. */
  async #find({ find }: Calls, { identities, signal }: SubjectInquiry): Promise<FoundRecord[]> {
    const kinds = kindsIn(find.path);
    const found = new Map<string, FoundRecord>();
    for (const values of combinations(kinds, identities)) {
      let url: URL | undefined = this.#at(find.path.replaceAll(/\{([a-z][a-z0-9_]*)\}/gi, (_, kind: string) => encodeURIComponent(values[kind] ?? '')));
      for (let page = 1; url !== undefined; page += 1) {
        if (page > MOST_PAGES) throw new HalError('Conflict', `the API has more than ${MOST_PAGES} pages for one person`);
        const { status, text } = await this.#call('GET', url, signal);
        if (status === 404) break;
        if (status < 200 || status > 299) throw new HalError('Conflict', `the API answered ${status} to a search: check the declared path and the credentials`);
        const answer = parsed(text);
        for (const item of find.items === undefined ? membersAt({ items: answer }, 'items') : membersAt(answer, find.items)) {
          const [id] = membersAt(item, find.id);
          if (typeof item !== 'object' || item === null || (typeof id !== 'string' && typeof id !== 'number')) throw new HalError('Conflict', `a record of the API has no ${find.id}: check the declaration`);
          found.set(String(id), { id: String(id), value: Object.fromEntries(Object.entries(item)) });
        }
        url = this.#nextPage(find, url, answer);
      }
    }
    return [...found.values()];
  }

  #nextPage({ next }: Calls['find'], url: URL, answer: unknown): URL | undefined {
    if (next === undefined) return undefined;
    const [where] = membersAt(answer, next.member);
    if ((typeof where !== 'string' && typeof where !== 'number') || where === '') return undefined;
    if ('parameter' in next) {
      const following = new URL(url);
      following.searchParams.set(next.parameter, String(where));
      return following;
    }
    const following = new URL(String(where), url);
    // Credentials go to the declared server only.
    if (following.origin !== this.#base.origin) throw new HalError('Conflict', 'the next page is on another server than the declared one');
    return following;
  }

  #at(path: string): URL {
    return new URL(`${this.#base.origin}${this.#base.pathname.replace(/\/$/, '')}${path}`);
  }

  /** One call, at the declared pace, again when the API puts it off. @throws {HalError} ExternalCallFailed while it does not answer. */
  async #call(method: string, url: URL, signal: AbortSignal, write?: { key: string; body: Readonly<Record<string, unknown>> | undefined }): Promise<{ status: number; text: string }> {
    for (let attempt = 1; ; attempt += 1) {
      await this.#turn(signal);
      let response: Response;
      let text: string;
      try {
        response = await this.#fetch(url, {
          method,
          headers: { accept: 'application/json', 'user-agent': 'HAL9', ...this.#credentials(), ...(write === undefined ? {} : { 'idempotency-key': write.key }), ...(write?.body === undefined ? {} : { 'content-type': 'application/json' }) },
          body: write?.body === undefined ? null : JSON.stringify(write.body),
          signal: AbortSignal.any([signal, AbortSignal.timeout(CALL_MS)]),
        });
        text = await response.text();
      } catch (error) {
        signal.throwIfAborted();
        throw new HalError('ExternalCallFailed', explainFailure(error).message, { cause: error });
      }
      const { status } = response;
      if (status !== 429 && status < 500) return { status, text };
      if (attempt === ATTEMPTS || (status !== 429 && status !== 503)) throw new HalError('ExternalCallFailed', `the API answered ${status}`);
      await delay(waitOf(response.headers.get('retry-after'), attempt), undefined, { signal });
    }
  }

  async #turn(signal: AbortSignal): Promise<void> {
    const now = performance.now();
    const at = Math.max(now, this.#next);
    this.#next = at + 1000 / this.#annotations.perSecond;
    if (at > now) await delay(at - now, undefined, { signal });
  }

  /** `bearer:<token>@`, `header-<name>:<value>@`, or a user and a password. */
  #credentials(): Readonly<Record<string, string>> {
    const [user, password] = [decodeURIComponent(this.#base.username), decodeURIComponent(this.#base.password)];
    if (user === '') return {};
    if (user === 'bearer') return { authorization: `Bearer ${password}` };
    const header = /^header-(.+)$/.exec(user)?.[1];
    return header === undefined ? { authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}` } : { [header]: password };
  }
}

/** Members of records that a change is about. */
function wantedOf({ members }: Calls, change: SubjectChange, source: string, table: string): (WantedMember & { readonly topic: string })[] {
  return Object.entries(members ?? {}).flatMap(([member, { category, consent, restriction }]): (WantedMember & { readonly topic: string })[] => {
    switch (change.kind) {
      case 'rectification':
        return change.corrections
          .filter((one) => one.category === category && (one.source ?? source) === source && (one.table ?? table) === table && (one.column ?? member) === member)
          .map(({ category: topic, value, was }) => ({ topic, member, value, was }));
      case 'consent':
        return consent?.purpose === change.purpose ? [{ topic: change.purpose, member, value: consent[change.state], was: undefined }] : [];
      case 'restriction':
        return restriction === undefined ? [] : [{ topic: 'processing', member, value: restriction[change.state], was: undefined }];
      default:
        return change satisfies never;
    }
  });
}

function outstandingIn(record: FoundRecord['value'], wanted: readonly WantedMember[]): WantedMember[] {
  return wanted.filter((one) => isOutstanding(one, textAt(record, one.member), one.value === null ? null : String(one.value)));
}

function textAt(record: FoundRecord['value'], member: string): string | null {
  const [value] = membersAt(record, member);
  return value === undefined || value === null ? null : textOf(value);
}

function withMember(body: Readonly<Record<string, unknown>>, [member = '', ...rest]: readonly string[], value: FlagValue): Readonly<Record<string, unknown>> {
  const below = body[member];
  return { ...body, [member]: rest.length === 0 ? value : withMember(typeof below === 'object' && below !== null ? Object.fromEntries(Object.entries(below)) : {}, rest, value) };
}

function kindsIn(path: string): string[] {
  return [...path.matchAll(/\{([a-z][a-z0-9_]*)\}/gi)].flatMap(([, kind]) => kind ?? []);
}

/** One search for each identity; none where a kind is not known of the person. */
function combinations(kinds: readonly string[], identities: SubjectInquiry['identities']): Readonly<Record<string, string>>[] {
  let all: Readonly<Record<string, string>>[] = [{}];
  for (const kind of new Set(kinds)) all = all.flatMap((values) => (identities[kind] ?? []).map((value) => ({ ...values, [kind]: value.trim() })));
  return all;
}

function parsed(text: string): unknown {
  try {
    return text === '' ? [] : JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) throw new HalError('Conflict', 'the API answers no JSON: check the declared path');
    throw error;
  }
}

/** RFC 9110 10.2.3: seconds or a date; otherwise a second, doubled each time. Milliseconds. */
function waitOf(retryAfter: string | null, attempt: number): number {
  const given = retryAfter === null ? Number.NaN : /^\d+$/.test(retryAfter) ? Number(retryAfter) * 1000 : Date.parse(retryAfter) - Date.now();
  return Math.min(LONGEST_WAIT_MS, Math.max(0, Number.isNaN(given) ? 500 * 2 ** attempt : given));
}
