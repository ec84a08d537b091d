import { DOMParser } from '@xmldom/xmldom';
import { AwsClient } from 'aws4fetch';
import type { Egress } from '../../platform/connections/egress.ts';
import { explainFailure } from '../../platform/connections/failure.ts';
import type { ChangedTable, DataSource, ExportedRecords, Remainder, SourcePlan, SubjectInquiry } from '../../platform/privacy/data-source.ts';
import { normalised, type Identities } from '../../platform/privacy/identities.ts';
import { KeyTemplate } from '../../platform/privacy/key-template.ts';
import { readRecordAnnotations } from '../../platform/privacy/record-annotations.ts';
import type { OpenPrivacySource } from '../../platform/privacy/sources.ts';
import { HalError } from '../../schemas/errors.ts';
import { s3AnnotationsSchema, type S3Annotations } from '../../schemas/privacy/record-annotations.ts';
import { textsIn } from './json-member.ts';

const CALL_MS = 60_000;
/** Longer objects are looked at by their names only. Bytes. */
const READ_BYTES = 4 * 1024 * 1024;
/** Of one answer, for exports. Bytes. */
const LONGEST_ANSWER = 256 * 1024 * 1024;
const SHORTEST = 4;

type Rule = S3Annotations['objects'][number];

/** A version of an object; in buckets without versions there is one, named `null`. */
interface StoredObject {
  readonly key: string;
  readonly version: string;
  /** A deletion marker holds nothing but its name. */
  readonly marker: boolean;
  readonly bytes: number;
}

/** A bucket of S3 or of a server that speaks its protocol: objects whose name, or JSON, says whose they are, with all their versions. */
export class S3DataSource implements DataSource {
  readonly id: string;
  readonly name: string;
  readonly turn = 'together';
  readonly #bucket: string;
  readonly #signer: AwsClient;
  readonly #fetch: typeof globalThis.fetch;
  readonly #rules: readonly Rule[];

  constructor(source: OpenPrivacySource, egress: Egress) {
    this.id = source.id;
    this.name = source.name;
    const url = new URL(source.address);
    this.#bucket = `${url.searchParams.get('tls') === 'disable' ? 'http' : 'https'}://${url.host}/${url.pathname.slice(1)}`;
    this.#signer = new AwsClient({ accessKeyId: decodeURIComponent(url.username), secretAccessKey: decodeURIComponent(url.password), service: 's3', region: url.searchParams.get('region') ?? 'us-east-1', retries: 0 });
    this.#fetch = egress.limited(LONGEST_ANSWER);
    this.#rules = readRecordAnnotations(s3AnnotationsSchema, source.annotations).objects;
  }

  async plan(inquiry: SubjectInquiry): Promise<SourcePlan> {
    const counts = new Map<Rule, number>();
    for await (const { rule } of this.#findAll(inquiry)) counts.set(rule, (counts.get(rule) ?? 0) + 1);
    return {
      refusals: [],
      looksUpBy: [...new Set(this.#rules.flatMap((rule) => ('identity' in rule ? [rule.identity] : new KeyTemplate(rule.key).kinds)))],
      tables: [...counts].map(([rule, rows]) => ({ table: rule.key, method: this.#keptBy(rule, inquiry) === undefined ? ('delete' as const) : ('none' as const), why: this.#keptBy(rule, inquiry) ?? rule.category ?? 'data of people', rows, shared: 0 })),
    };
  }

  async erase(inquiry: SubjectInquiry, count: (changed: readonly ChangedTable[]) => Promise<void>): Promise<void> {
    for await (const { rule, object } of this.#findAll(inquiry)) {
      inquiry.signal.throwIfAborted();
      if (this.#keptBy(rule, inquiry) !== undefined) continue;
      const response = await this.#call('DELETE', this.#at(object), inquiry.signal);
      if (response.status === 403) throw new HalError('Conflict', `${rule.key}: the bucket refuses to delete an object: it is locked, or the account may not`);
      if (!response.ok && response.status !== 404) throw unexpected(response);
      await count([{ table: rule.key, changed: 1 }]);
    }
  }

  /** Looks at the names of all objects, and into those that are not longer than 4 MiB. */
  async rescan(inquiry: SubjectInquiry): Promise<readonly Remainder[]> {
    const values = Object.values(inquiry.identities).flat().map(normalised).filter((value) => value.length >= SHORTEST);
    const names = (text: string): boolean => values.some((value) => text.toLowerCase().includes(value) || text.toLowerCase().includes(encodeURIComponent(value).toLowerCase()));
    const left = new Map<string, Remainder>();
    if (values.length === 0) return [];
    for await (const object of this.#objects('', inquiry.signal)) {
      const column = names(object.key) ? 'name' : !object.marker && object.bytes <= READ_BYTES && names(await this.#read(object, inquiry.signal)) ? 'content' : undefined;
      if (column === undefined) continue;
      const rule = this.#rules.find((one) => new KeyTemplate(one.key).match(object.key) !== undefined);
      const table = rule?.key ?? 'objects that nobody annotated';
      left.set(`${table} ${column}`, { table, column, rows: (left.get(`${table} ${column}`)?.rows ?? 0) + 1, kept: rule === undefined ? null : (this.#keptBy(rule, inquiry) ?? null), remedy: 'annotate the objects, or delete them by hand with all their versions' });
    }
    return [...left.values()];
  }

  async *export(inquiry: SubjectInquiry): AsyncIterable<ExportedRecords> {
    for await (const { rule, object } of this.#findAll(inquiry)) {
      if (object.marker) continue;
      const response = await this.#call('GET', this.#at(object), inquiry.signal);
      if (!response.ok) throw unexpected(response);
      yield { table: rule.key, ...(rule.category === undefined ? {} : { about: rule.category }), rows: [{ key: object.key, version: object.version, content: new Uint8Array(await response.arrayBuffer()) }] };
    }
  }

  async recognise({ signal }: { readonly signal: AbortSignal }, isOne: (kind: string, value: string) => boolean): Promise<readonly { kind: string; value: string }[]> {
    const found = new Map<string, { kind: string; value: string }>();
    for (const rule of this.#rules) {
      const template = new KeyTemplate(rule.key);
      for await (const object of this.#objects(template.prefix, signal)) {
        const match = template.match(object.key);
        if (match === undefined) continue;
        const said = 'identity' in rule ? (object.marker ? [] : textsIn(await this.#read(object, signal), rule.member).map((value): [string, string] => [rule.identity, value])) : Object.entries(match);
        for (const [kind, value] of said) if (isOne(kind, value)) found.set(`${kind} ${value}`, { kind, value });
      }
    }
    return [...found.values()];
  }

  #keptBy(rule: Rule, { holds }: SubjectInquiry): string | undefined {
    const hold = holds.find((one) => one.source === this.name && one.table === rule.key);
    return hold === undefined ? rule.keep : `legal hold ${hold.id}: ${hold.reason}`;
  }

  async *#findAll({ identities, signal }: SubjectInquiry): AsyncGenerator<{ rule: Rule; object: StoredObject }> {
    for (const rule of this.#rules) {
      const template = new KeyTemplate(rule.key);
      for await (const object of this.#objects(template.prefix, signal)) {
        if (template.match(object.key) === undefined) continue;
        if ('identity' in rule ? await this.#isOf(object, rule, identities, signal) : template.isOf(object.key, identities)) yield { rule, object };
      }
    }
  }

  async #isOf(object: StoredObject, { member, identity }: Extract<Rule, { identity: string }>, identities: Identities, signal: AbortSignal): Promise<boolean> {
    if (object.marker || object.bytes > READ_BYTES) return false;
    const own = (identities[identity] ?? []).map(normalised);
    return textsIn(await this.#read(object, signal), member).some((value) => own.includes(normalised(value)));
  }

  async #read(object: StoredObject, signal: AbortSignal): Promise<string> {
    const response = await this.#call('GET', this.#at(object), signal);
    // Deleted meanwhile, or archived: its name was looked at.
    if (response.status === 404 || response.status === 403) return '';
    if (!response.ok) throw unexpected(response);
    return response.text();
  }

  /** Every version of every object, https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectVersions.html. */
  async *#objects(prefix: string, signal: AbortSignal): AsyncGenerator<StoredObject> {
    for (let after: Readonly<Record<string, string>> | undefined = {}; after !== undefined; ) {
      const response = await this.#call('GET', `${this.#bucket}?${new URLSearchParams({ versions: '', prefix, ...after }).toString().replaceAll('+', '%20')}`, signal);
      if (response.status === 403 || response.status === 404) throw new HalError('Conflict', response.status === 404 ? 'there is no such bucket' : 'the account may not list the versions of the bucket (s3:ListBucketVersions)');
      if (!response.ok) throw unexpected(response);
      const page = new DOMParser().parseFromString(await response.text(), 'text/xml');
      const text = (of: { getElementsByTagName: (name: string) => { item: (at: number) => { textContent: string | null } | null } }, name: string): string => of.getElementsByTagName(name).item(0)?.textContent ?? '';
      for (const kind of ['Version', 'DeleteMarker']) {
        for (const entry of page.getElementsByTagName(kind)) yield { key: text(entry, 'Key'), version: text(entry, 'VersionId'), marker: kind === 'DeleteMarker', bytes: Number(text(entry, 'Size') || 0) };
      }
      after = text(page, 'IsTruncated') === 'true' ? { 'key-marker': text(page, 'NextKeyMarker'), 'version-id-marker': text(page, 'NextVersionIdMarker') } : undefined;
    }
  }

  #at({ key, version }: StoredObject): string {
    const path = key.split('/').map((part) => encodeURIComponent(part)).join('/');
    return `${this.#bucket}/${path}${version === '' || version === 'null' ? '' : `?versionId=${encodeURIComponent(version)}`}`;
  }

  async #call(method: string, url: string, signal: AbortSignal): Promise<Response> {
    try {
      const signed = await this.#signer.sign(url, { method });
      const response = await this.#fetch(signed.url, { method, headers: Object.fromEntries(signed.headers), signal: AbortSignal.any([signal, AbortSignal.timeout(CALL_MS)]) });
      if (response.status >= 500 || response.status === 429) throw new HalError('ExternalCallFailed', `the bucket answered ${response.status}`);
      return response;
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof HalError) throw error;
      throw new HalError('ExternalCallFailed', explainFailure(error).message, { cause: error });
    }
  }
}

function unexpected(response: Response): HalError {
  return new HalError('Conflict', `the bucket answered ${response.status}: check address, region and account`);
}
