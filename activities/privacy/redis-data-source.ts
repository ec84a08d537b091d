import { createClient, ErrorReply, RESP_TYPES, type RedisClientType } from '@redis/client';
import type { Egress } from '../../platform/connections/egress.ts';
import { explainFailure } from '../../platform/connections/failure.ts';
import type { ChangedTable, DataSource, ExportedRecords, Remainder, SourcePlan, SubjectInquiry } from '../../platform/privacy/data-source.ts';
import { normalised, type Identities } from '../../platform/privacy/identities.ts';
import { KeyTemplate } from '../../platform/privacy/key-template.ts';
import { readRecordAnnotations } from '../../platform/privacy/record-annotations.ts';
import type { OpenPrivacySource } from '../../platform/privacy/sources.ts';
import { HalError } from '../../schemas/errors.ts';
import { redisAnnotationsSchema, type RedisAnnotations } from '../../schemas/privacy/record-annotations.ts';
import { textsIn } from './json-member.ts';

const SCANNED = 500;
const CONNECT_MS = 10_000;
/** Shorter values are found by chance. Characters. */
const SHORTEST = 4;

type Rule = RedisAnnotations['keys'][number];
type Connected = RedisClientType<Record<string, never>, Record<string, never>, Record<string, never>, 2>;

/** What of a person one key holds. */
interface Found {
  readonly rule: Rule;
  readonly key: string;
  /** Members of a collection that go; undefined: the key, or the fields of `remove`. */
  readonly members?: readonly string[];
}

/** A Redis database (7 and later; Valkey): keys whose name, fields or members say whose they are. */
export class RedisDataSource implements DataSource {
  readonly id: string;
  readonly name: string;
  readonly turn = 'together';
  readonly #address: string;
  readonly #rules: readonly Rule[];
  readonly #egress: Egress;

  constructor(source: OpenPrivacySource, egress: Egress) {
    this.id = source.id;
    this.name = source.name;
    this.#address = source.address;
    this.#rules = readRecordAnnotations(redisAnnotationsSchema, source.annotations).keys;
    this.#egress = egress;
  }

  async plan(inquiry: SubjectInquiry): Promise<SourcePlan> {
    const tables = await this.#connected(inquiry.signal, async (redis) => {
      const counts = new Map<Rule, number>();
      for await (const { rule, members } of this.#findAll(redis, inquiry)) counts.set(rule, (counts.get(rule) ?? 0) + (members?.length ?? 1));
      return [...counts].map(([rule, rows]) => ({ table: rule.key, method: keptBy(rule, this.name, inquiry) === undefined ? ('delete' as const) : ('none' as const), why: keptBy(rule, this.name, inquiry) ?? rule.category ?? 'data of people', rows, shared: 0 }));
    });
    return { refusals: [], looksUpBy: [...new Set(this.#rules.flatMap(kindsOf))], tables };
  }

  async erase(inquiry: SubjectInquiry, count: (changed: readonly ChangedTable[]) => Promise<void>): Promise<void> {
    await this.#connected(inquiry.signal, async (redis) => {
      for await (const found of this.#findAll(redis, inquiry)) {
        inquiry.signal.throwIfAborted();
        const { rule } = found;
        if (keptBy(rule, this.name, inquiry) !== undefined) continue;
        const changed = await eraseFound(redis, found);
        if (changed > 0) await count([{ table: rule.key, changed }]);
      }
    });
  }

  /** Looks at every key: its name, and its value whatever it is. */
  async rescan(inquiry: SubjectInquiry): Promise<readonly Remainder[]> {
    const values = Object.values(inquiry.identities).flat().map(normalised).filter((value) => value.length >= SHORTEST);
    const names = (text: string): boolean => values.some((value) => text.toLowerCase().includes(value) || text.toLowerCase().includes(encodeURIComponent(value).toLowerCase()));
    if (values.length === 0) return [];
    return this.#connected(inquiry.signal, async (redis) => {
      const left = new Map<string, Remainder>();
      for await (const keys of redis.scanIterator({ COUNT: SCANNED })) {
        for (const key of keys) {
          inquiry.signal.throwIfAborted();
          const column = names(key) ? 'name' : (await contentOf(redis, key)).some(names) ? 'value' : undefined;
          if (column === undefined) continue;
          const rule = this.#rules.find((one) => new KeyTemplate(one.key).match(key) !== undefined);
          // Names of keys may be of people.
          const table = rule?.key ?? (names(key) ? 'keys that nobody annotated' : key);
          const kept = rule === undefined ? null : (keptBy(rule, this.name, inquiry) ?? null);
          left.set(`${table} ${column}`, { table, column, rows: (left.get(`${table} ${column}`)?.rows ?? 0) + 1, kept, remedy: 'annotate the key, or delete it by hand' });
        }
      }
      return [...left.values()];
    });
  }

  async *export(inquiry: SubjectInquiry): AsyncIterable<ExportedRecords> {
    yield* await this.#connected(inquiry.signal, async (redis) => {
      const portions: ExportedRecords[] = [];
      for await (const { rule, key, members } of this.#findAll(redis, inquiry)) portions.push({ table: rule.key, ...(rule.category === undefined ? {} : { about: rule.category }), rows: [{ key, value: members ?? (await contentOf(redis, key)) }] });
      return portions;
    });
  }

  async recognise({ signal }: { readonly signal: AbortSignal }, isOne: (kind: string, value: string) => boolean): Promise<readonly { kind: string; value: string }[]> {
    return this.#connected(signal, async (redis) => {
      const found = new Map<string, { kind: string; value: string }>();
      for (const rule of this.#rules) {
        for await (const keys of redis.scanIterator({ MATCH: new KeyTemplate(rule.key).pattern, COUNT: SCANNED })) {
          for (const key of keys) for (const [kind, value] of await identitiesOf(redis, rule, key)) if (isOne(kind, value)) found.set(`${kind} ${value}`, { kind, value });
        }
      }
      return [...found.values()];
    });
  }

  async *#findAll(redis: Connected, { identities, signal }: SubjectInquiry): AsyncGenerator<Found> {
    for (const rule of this.#rules) {
      if (!kindsOf(rule).some((kind) => (identities[kind] ?? []).length > 0)) continue;
      for await (const keys of redis.scanIterator({ MATCH: new KeyTemplate(rule.key).pattern, COUNT: SCANNED })) {
        for (const key of keys) {
          signal.throwIfAborted();
          const found = await findIn(redis, rule, key, identities);
          if (found !== undefined) yield found;
        }
      }
    }
  }

  async #connected<Answer>(signal: AbortSignal, work: (redis: Connected) => Promise<Answer>): Promise<Answer> {
    const url = new URL(this.#address);
    const host = url.hostname.replace(/^\[|\]$/g, '');
    let redis: Connected | undefined;
    const abort = (): void => redis?.destroy();
    try {
      const socket = { host: await this.#egress.address(host), port: Number(url.port === '' ? 6379 : url.port), connectTimeout: CONNECT_MS, reconnectStrategy: false as const };
      redis = createClient({
        RESP: 2,
        socket: url.protocol === 'rediss:' ? { ...socket, tls: true, servername: host } : socket,
        ...(url.username === '' ? {} : { username: decodeURIComponent(url.username) }),
        ...(url.password === '' ? {} : { password: decodeURIComponent(url.password) }),
        database: Number(url.pathname.slice(1) || 0),
        commandOptions: { typeMapping: { [RESP_TYPES.BLOB_STRING]: String } },
      });
      // A connection that breaks while nobody waits for it: the next command fails, and says so.
      redis.on('error', () => undefined);
      signal.addEventListener('abort', abort, { once: true });
      await redis.connect();
      return await work(redis);
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof HalError) throw error;
      if (error instanceof ErrorReply) {
        const code = /^[A-Z]+/.exec(error.message)?.[0] ?? 'ERR';
        if (['NOPERM', 'NOAUTH', 'WRONGPASS', 'READONLY'].includes(code)) throw new HalError('Conflict', `Redis refuses: ${code}`, { cause: error });
        throw new HalError('ExternalCallFailed', `Redis answered ${code}`, { cause: error });
      }
      throw new HalError('ExternalCallFailed', explainFailure(error).message, { cause: error });
    } finally {
      signal.removeEventListener('abort', abort);
      if (redis?.isOpen === true) redis.destroy();
    }
  }
}

function keptBy(rule: Rule, source: string, { holds }: SubjectInquiry): string | undefined {
  const hold = holds.find((one) => one.source === source && one.table === rule.key);
  return hold === undefined ? rule.keep : `legal hold ${hold.id}: ${hold.reason}`;
}

function kindsOf(rule: Rule): readonly string[] {
  if ('members' in rule) return [rule.members];
  return 'identity' in rule ? [rule.identity] : new KeyTemplate(rule.key).kinds;
}

async function findIn(redis: Connected, rule: Rule, key: string, identities: Identities): Promise<Found | undefined> {
  const isOwn = (kind: string, value: string): boolean => identities[kind]?.some((own) => normalised(own) === normalised(value)) === true;
  if ('members' in rule) {
    const members = (await membersOf(redis, key)).filter((member) => isOwn(rule.members, member));
    return members.length === 0 ? undefined : { rule, key, members };
  }
  if ('identity' in rule) {
    if (!(await fieldOf(redis, key, rule.field)).some((value) => isOwn(rule.identity, value))) return undefined;
    // Fields that were removed before are not there to be counted.
    if (rule.remove !== undefined && (await redis.type(key)) === 'hash' && (await redis.hmGet(key, rule.remove)).every((value) => value === null)) return undefined;
    return { rule, key };
  }
  return new KeyTemplate(rule.key).isOf(key, identities) ? { rule, key } : undefined;
}

async function identitiesOf(redis: Connected, rule: Rule, key: string): Promise<[string, string][]> {
  if ('members' in rule) return (await membersOf(redis, key)).map((member) => [rule.members, member]);
  if ('identity' in rule) return (await fieldOf(redis, key, rule.field)).map((value) => [rule.identity, value]);
  return Object.entries(new KeyTemplate(rule.key).match(key) ?? {});
}

async function eraseFound(redis: Connected, { rule, key, members }: Found): Promise<number> {
  if (members !== undefined) {
    switch (await redis.type(key)) {
      case 'set':
        return redis.sRem(key, [...members]);
      case 'zset':
        return redis.zRem(key, [...members]);
      case 'list': {
        let removed = 0;
        for (const member of new Set(members)) removed += await redis.lRem(key, 0, member);
        return removed;
      }
      default:
        return 0;
    }
  }
  if ('remove' in rule && rule.remove !== undefined && (await redis.type(key)) === 'hash') return (await redis.hDel(key, rule.remove)) > 0 ? 1 : 0;
  return redis.unlink(key);
}

async function fieldOf(redis: Connected, key: string, field: string): Promise<string[]> {
  switch (await redis.type(key)) {
    case 'hash': {
      const value = await redis.hGet(key, field);
      return value === null ? [] : [value];
    }
    case 'string':
      return textsIn((await redis.get(key)) ?? '', field);
    default:
      return [];
  }
}

async function membersOf(redis: Connected, key: string): Promise<string[]> {
  const type = await redis.type(key);
  if (type === 'set' || type === 'zset' || type === 'list') return contentOf(redis, key);
  return [];
}

/** Everything in a key that is text. */
async function contentOf(redis: Connected, key: string): Promise<string[]> {
  switch (await redis.type(key)) {
    case 'string':
      return [(await redis.get(key)) ?? ''];
    case 'hash':
      return Object.entries(await redis.hGetAll(key)).flat();
    case 'set':
      return redis.sMembers(key);
    case 'zset':
      return redis.zRange(key, 0, -1);
    case 'list':
      return redis.lRange(key, 0, -1);
    case 'stream':
      return ((await redis.xRange(key, '-', '+')) ?? []).map(({ message }) => JSON.stringify(message));
    default:
      return [];
  }
}
