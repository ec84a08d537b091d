import { createHash, randomUUID } from 'node:crypto';
import { z } from 'zod';
import type { Database } from '../../database/database.ts';
import { MemoryStore, type MemoryFilter, type MemoryRecord } from '../../database/memories.ts';
import { HalError } from '../../schemas/errors.ts';
import type { MemoryDraft, MemoryKind } from '../../schemas/memories/definition.ts';
import { actOf } from '../audit/act.ts';
import type { Caller } from '../identity/caller.ts';
import type { KeyRing } from '../keys/key-ring.ts';
import { SubjectKeyDestroyed, type SubjectKeys } from '../keys/subject-keys.ts';
import { subjectHash } from '../privacy/identities.ts';
import { wordsOf } from './words.ts';

/** What memories that are about nobody are sealed for. */
export const MEMORY_PURPOSE = 'memories';
const WORDS_PURPOSE = 'memories/words';
/** Of a keyed hash of a word, bytes. */
const TOKEN_BYTES = 16;
/** Words of one search. */
const MOST_ASKED = 50;

/** What is asked for; undefined is anything. */
export interface MemoryQuestion {
  readonly kind?: MemoryKind | undefined;
  readonly topic?: string | undefined;
  /** `kind:value`; null: about nobody. */
  readonly subject?: string | null | undefined;
  readonly text?: string | undefined;
}

export interface Memory {
  readonly id: string;
  readonly kind: MemoryKind;
  readonly topic: string;
  /** Whether it is about somebody. */
  readonly about: boolean;
  readonly content: Readonly<Record<string, unknown>>;
  /** Nats. */
  readonly weight: number | null;
  /** SHA-256 of the sealed content, `0x` and 64 hexadecimal digits. */
  readonly digest: string;
  readonly writtenBy: string;
  readonly createdAt: Date;
}

/** What was recalled. */
export interface Recollection {
  readonly items: readonly Memory[];
  /** Sum of the weights of all that was asked for, nats. */
  readonly weight: number;
  /** Key of whom it is about; undefined for nobody's. What is made of the items belongs under it. */
  readonly subjectKey: string | undefined;
}

export interface MemoriesDependencies {
  readonly database: Database;
  readonly keys: KeyRing;
  readonly subjects: SubjectKeys;
}

/** What neurons and people remember for an organisation: sealed, found by keyed hashes, and gone with the key of whom it is about. */
export class Memories {
  readonly #store: MemoryStore;
  readonly #keys: KeyRing;
  readonly #subjects: SubjectKeys;

  constructor({ database, keys, subjects }: MemoriesDependencies) {
    this.#store = new MemoryStore(database);
    this.#keys = keys;
    this.#subjects = subjects;
  }

  /** @param id the same id is remembered once: what was written first stays. @throws {HalError} `InvalidInput` when the subject is not `kind:value`. */
  async remember(caller: Caller, { kind, topic, subject: about, content, weight: nats }: MemoryDraft, id: string = randomUUID()): Promise<Memory> {
    const { orgId, actor } = caller;
    const weight = nats ?? null;
    const subject = this.#subject(orgId, about);
    const subjectKey = subject === undefined ? undefined : await this.#subjects.keyOf(orgId, subject);
    const ring = await this.#subjects.ringOf(orgId, subjectKey);
    const sealed = ring.seal(orgId, MEMORY_PURPOSE, JSON.stringify(content), id);
    const writtenBy = `${actor.kind}:${actor.id}`;
    const { digest, createdAt } = await this.#store.insert(
      orgId,
      { id, kind, topic, subject: subject ?? null, subjectKey: subjectKey ?? null, sealed, digest: createHash('sha256').update(sealed).digest(), weight, writtenBy, tokens: tokensOf(ring, orgId, wordsOf(content)) },
      actOf(caller, 'memory.write', { kind: 'memory', id }, { kind, about: subject !== undefined }),
    );
    return { id, kind, topic, about: subject !== undefined, content, weight, digest: hexOf(digest), writtenBy, createdAt };
  }

  /** Newest first; `before` continues a page. @throws {HalError} `InvalidInput` when the text has no words or too many, or the subject is not `kind:value`. */
  async recall({ orgId }: Pick<Caller, 'orgId'>, question: MemoryQuestion, limit: number, before?: { readonly createdAt: Date; readonly id: string }): Promise<Recollection> {
    const subject = this.#subject(orgId, question.subject ?? undefined);
    const subjectKey = subject === undefined ? undefined : (await this.#subjects.idsOf(orgId, [subject])).find(({ living }) => living)?.id;
    const nothing: Recollection = { items: [], weight: 0, subjectKey };
    if (subject !== undefined && subjectKey === undefined) return nothing;
    try {
      const ring = await this.#subjects.ringOf(orgId, subjectKey);
      const tokens = question.text === undefined ? undefined : tokensOf(ring, orgId, asked(question.text));
      const filter: MemoryFilter = { kind: question.kind, topic: question.topic, subject: subject ?? (question.subject === null ? null : undefined), tokens };
      const [records, weight] = await Promise.all([this.#store.find(orgId, filter, limit, before), this.#store.weight(orgId, filter)]);
      const opened = await Promise.all(records.map((record) => this.#open(orgId, record)));
      return { items: opened.flatMap((memory) => memory ?? []), weight, subjectKey };
    } catch (error) {
      // Destroyed since it was looked up.
      if (error instanceof SubjectKeyDestroyed) return nothing;
      throw error;
    }
  }

  /** @throws {HalError} `NotFound`, also once the key of whom it is about was destroyed. */
  async get({ orgId }: Pick<Caller, 'orgId'>, id: string): Promise<Memory & { readonly sealed: Buffer }> {
    const record = await this.#store.get(orgId, id);
    const memory = record === undefined ? undefined : await this.#open(orgId, record);
    if (record === undefined || memory === undefined) throw noMemory();
    return { ...memory, sealed: record.sealed };
  }

  /** What is remembered of these people, for them. */
  async *about(orgId: string, subjects: readonly Buffer[]): AsyncIterable<Memory> {
    for (let after = '00000000-0000-0000-0000-000000000000'; ; ) {
      const page = await this.#store.about(orgId, subjects, 500, after);
      for (const record of page) {
        const memory = await this.#open(orgId, record);
        if (memory !== undefined) yield memory;
      }
      const last = page.at(-1);
      if (last === undefined) return;
      after = last.id;
    }
  }

  /** Removes a memory. What was anchored stays anchored: it is a hash of what nobody can read any more. @throws {HalError} `NotFound`. */
  async forget(caller: Caller, id: string): Promise<void> {
    if (!(await this.#store.remove(caller.orgId, id, actOf(caller, 'memory.forget', { kind: 'memory', id })))) throw noMemory();
  }

  #subject(orgId: string, text: string | undefined): Buffer | undefined {
    if (text === undefined) return undefined;
    const subject = subjectHash(this.#keys, orgId, text);
    if (subject === undefined) throw new HalError('InvalidInput', 'the subject is not kind:value', { errors: [{ path: '/subject', message: 'expected kind:value' }] });
    return subject;
  }

  /** Undefined once its key was destroyed. */
  async #open(orgId: string, record: MemoryRecord): Promise<Memory | undefined> {
    const { id, kind, topic, subjectKey, sealed, digest, weight, writtenBy, createdAt } = record;
    try {
      const ring = await this.#subjects.ringOf(orgId, subjectKey);
      const content = contentSchema.parse(JSON.parse(ring.open(orgId, MEMORY_PURPOSE, sealed, id).toString('utf8')));
      return { id, kind, topic, about: subjectKey !== null, content, weight, digest: hexOf(digest), writtenBy, createdAt };
    } catch (error) {
      if (error instanceof SubjectKeyDestroyed) return undefined;
      throw error;
    }
  }
}

const contentSchema = z.record(z.string(), z.unknown());

function asked(text: string): string[] {
  const words = wordsOf(text);
  if (words.length === 0 || words.length > MOST_ASKED) throw new HalError('InvalidInput', `search for 1 to ${String(MOST_ASKED)} words`, { errors: [{ path: '/text', message: words.length === 0 ? 'has no words' : 'has too many words' }] });
  return words;
}

function tokensOf(ring: KeyRing, orgId: string, words: readonly string[]): Buffer[] {
  return words.map((word) => ring.hmac(orgId, WORDS_PURPOSE, word).subarray(0, TOKEN_BYTES));
}

function hexOf(digest: Buffer): string {
  return `0x${digest.toString('hex')}`;
}

function noMemory(): HalError {
  return new HalError('NotFound', 'there is no such memory');
}
