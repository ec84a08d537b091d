import { createHash } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { Egress } from '../../platform/connections/egress.ts';
import { explainFailure } from '../../platform/connections/failure.ts';
import type { ChangedTable, DataSource, ExportedRecords, Remainder, SourcePlan, SubjectInquiry } from '../../platform/privacy/data-source.ts';
import { readRecordAnnotations } from '../../platform/privacy/record-annotations.ts';
import type { OpenPrivacySource } from '../../platform/privacy/sources.ts';
import { HalError } from '../../schemas/errors.ts';
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

/** An API: declared calls find a person's records, page by page, and erase each. */
export class HttpDataSource implements DataSource {
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
