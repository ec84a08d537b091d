import { createHash, randomUUID } from 'node:crypto';
import { ContentStore, type ContentRecord, type Pin } from '../../database/contents.ts';
import type { Database } from '../../database/database.ts';
import { HalError } from '../../schemas/errors.ts';
import { CONTENT_BYTES } from '../../schemas/rest/contents.ts';
import { actOf } from '../audit/act.ts';
import type { Connections } from '../connections/connections.ts';
import type { Egress } from '../connections/egress.ts';
import type { Caller } from '../identity/caller.ts';
import { KeyError, type KeyRing } from '../keys/key-ring.ts';
import { SubjectKeyDestroyed, type SubjectKeys } from '../keys/subject-keys.ts';
import { subjectHash } from '../privacy/identities.ts';
import { blockOf, cidsOf, DIGEST_BYTES, isOf, rootOf, type Block, type Cid } from './cid.ts';
import { EMBEDDED, embedded } from './embedded.ts';
import { kubo } from './kubo.ts';
import { pinningService } from './pinning-service.ts';
import { ProviderFailed, type ContentProvider } from './provider.ts';

const PURPOSE = 'contents';
/** Of the clear in one block, bytes: sealed, it stays below the mebibyte that every node takes. */
const BLOCK_BYTES = 1_000_000;
/** Longest time for deleting blocks of content that nobody keeps, milliseconds. */
const CLEANING_MS = 60_000;
/** Connections looked at for providers. */
const MOST_CONNECTIONS = 500;

export interface Content extends Omit<ContentRecord, 'digests' | 'subjectKey'> {
  readonly about: boolean;
  readonly blocks: number;
  readonly pins: readonly Pin[];
}

export interface ContentDraft {
  readonly mediaType: string;
  /** `kind:value`. */
  readonly subject?: string | undefined;
}

export interface ContentsDependencies {
  readonly database: Database;
  readonly keys: KeyRing;
  readonly subjects: SubjectKeys;
  readonly connections: Connections;
  readonly egress: Pick<Egress, 'limited'>;
  /** Of this machine: blocks of organisations that have no node. */
  readonly folder: string;
}

/**
 * Content of an organisation on IPFS: sealed in blocks, each checked by its identifier when it comes back, kept by every provider there is a connection to; by HAL9
 * itself where none of them is a node.
 */
export class Contents {
  readonly #store: ContentStore;
  readonly #dependencies: ContentsDependencies;

  constructor(dependencies: ContentsDependencies) {
    this.#store = new ContentStore(dependencies.database);
    this.#dependencies = dependencies;
  }

  /**
   * Keeps it with every provider that takes it.
   * @throws {HalError} `BodyTooLarge` beyond {@link CONTENT_BYTES}; `ExternalCallFailed` when nobody keeps it: then nothing is written.
   */
  async add(caller: Caller, { mediaType, subject: about }: ContentDraft, stream: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<Content> {
    const { orgId, actor } = caller;
    const subject = this.#subject(orgId, about);
    const connected = await this.#connected(caller);
    const own = this.#own(orgId);
    const providers = hasNode(connected) ? connected : [own, ...connected];
    const working = new Map(providers.filter(({ takesBlocks }) => takesBlocks).map((provider) => [provider, true]));
    const failures = new Map<ContentProvider, string>();
    const each = async (of: readonly ContentProvider[], work: (provider: ContentProvider) => Promise<void>): Promise<void> => {
      await Promise.all(of.map((provider) => work(provider).catch((error: unknown) => {
        if (!(error instanceof ProviderFailed)) throw error;
        working.delete(provider);
        failures.set(provider, error.message);
      })));
      if (working.size === 0) throw new HalError('ExternalCallFailed', `no provider keeps the content: ${[...failures].map(([{ name }, why]) => `${name}: ${why}`).join('; ')}`);
    };
    const id = randomUUID();
    const subjectKey = subject === undefined ? undefined : await this.#dependencies.subjects.keyOf(orgId, subject);
    const ring = await this.#dependencies.subjects.ringOf(orgId, subjectKey);
    const digests: Buffer[] = [];
    let bytes = 0;
    let root: Block;
    try {
      for await (const clear of inBlocks(stream)) {
        bytes += clear.length;
        const block = blockOf('raw', ring.seal(orgId, PURPOSE, clear, `${id}/${String(digests.length)}`));
        digests.push(createHash('sha256').update(block.bytes).digest());
        await each([...working.keys()], (provider) => provider.put(block, signal));
      }
      root = rootOf(cidsOf(Buffer.concat(digests)));
      await each([...working.keys()], (provider) => provider.put(root, signal));
      await each([...working.keys()], (provider) => provider.pin(root.cid, [], signal));
    } catch (error) {
      // Nodes collect what is not pinned; nobody else would delete these.
      const cids = cidsOf(Buffer.concat(digests));
      await own.unpin(rootOf(cids).cid, cids, AbortSignal.timeout(CLEANING_MS));
      throw error;
    }
    const services = providers.filter(({ takesBlocks }) => !takesBlocks);
    await each(services, (provider) => this.#pinByService(provider, [...working.keys()], root.cid, signal));
    const pins = providers.map((provider): Pin => ({ provider: provider.name, state: failures.has(provider) ? 'failed' : 'pinned', failure: failures.get(provider) ?? null }));
    const record = { id, mediaType, bytes, root: root.cid, digests: Buffer.concat(digests), subjectKey: subjectKey ?? null, writtenBy: `${actor.kind}:${actor.id}` };
    const createdAt = await this.#store.insert(orgId, record, subject ?? null, pins, actOf(caller, 'content.add', { kind: 'content', id }, { bytes, about: subject !== undefined }));
    return view({ ...record, createdAt }, pins);
  }

  /** Newest first; `before` continues a page. */
  async list({ orgId }: Caller, limit: number, before?: { readonly createdAt: Date; readonly id: string }): Promise<Content[]> {
    const records = await this.#store.list(orgId, limit, before);
    const pins = await this.#store.pins(orgId, records.map(({ id }) => id));
    return records.map((record) => view(record, pins.get(record.id) ?? []));
  }

  /** @throws {HalError} `NotFound`. */
  async get({ orgId }: Caller, id: string): Promise<Content> {
    return this.#view(orgId, await this.#record(orgId, id));
  }

  /**
   * The content in the clear, block after block. Each comes from the first provider whose bytes are what the identifier says.
   * @throws {HalError} `NotFound`, also once the key of whom it is about was destroyed; `ExternalCallFailed` when no provider has a block.
   */
  async *read(caller: Caller, id: string, signal: AbortSignal): AsyncIterable<Buffer> {
    const { orgId } = caller;
    const record = await this.#record(orgId, id);
    let providers = [this.#own(orgId), ...(await this.#connected(caller))];
    try {
      const ring = await this.#dependencies.subjects.ringOf(orgId, record.subjectKey);
      for (const [n, cid] of cidsOf(record.digests).entries()) {
        const found = await fetchBlock(providers, cid, signal);
        // Whoever had this one is asked first for the next.
        providers = [found.provider, ...providers.filter((provider) => provider !== found.provider)];
        yield ring.open(orgId, PURPOSE, found.bytes, `${id}/${String(n)}`);
      }
    } catch (error) {
      if (error instanceof SubjectKeyDestroyed) throw noContent();
      throw error instanceof KeyError ? new HalError('Internal', 'the content cannot be opened', { cause: error }) : error;
    }
  }

  /**
   * Looks at every provider, and has those keep it that lost it: blocks come from the others, checked. Connections made since are among them. What HAL9 keeps itself it goes on keeping.
   * @throws {HalError} `NotFound`.
   */
  async repair(caller: Caller, id: string, signal: AbortSignal): Promise<Content> {
    const { orgId } = caller;
    const record = await this.#record(orgId, id);
    const connected = await this.#connected(caller);
    const own = this.#own(orgId);
    const kept = (await this.#store.pins(orgId, [id])).get(id) ?? [];
    const providers = hasNode(connected) && !kept.some(({ provider }) => provider === EMBEDDED) ? connected : [own, ...connected];
    const pins: Pin[] = [];
    let repaired = 0;
    for (const provider of providers) {
      try {
        if (!(await provider.isPinned(record.root, signal))) {
          await this.#repair(provider, [own, ...connected], record, signal);
          repaired += 1;
        }
        pins.push({ provider: provider.name, state: 'pinned', failure: null });
      } catch (error) {
        if (!(error instanceof ProviderFailed) && !(error instanceof HalError && error.type === 'ExternalCallFailed')) throw error;
        pins.push({ provider: provider.name, state: 'failed', failure: error.message });
      }
    }
    await this.#store.notePins(orgId, id, pins, actOf(caller, 'content.repair', { kind: 'content', id }, { providers: providers.length, repaired, failed: pins.filter(({ state }) => state === 'failed').length }));
    return this.#view(orgId, record);
  }

  /** Has providers let go of it, as far as they answer. What one keeps on keeping is sealed. @throws {HalError} `NotFound`. */
  async remove(caller: Caller, id: string, signal: AbortSignal): Promise<void> {
    const { root, digests } = await this.#record(caller.orgId, id);
    const blocks = cidsOf(digests);
    const released = await Promise.all([this.#own(caller.orgId), ...(await this.#connected(caller))].map((provider) => provider.unpin(root, blocks, signal).then(() => true, (error: unknown) => {
      if (error instanceof ProviderFailed) return false;
      throw error;
    })));
    if (!(await this.#store.remove(caller.orgId, id, actOf(caller, 'content.remove', { kind: 'content', id }, { keptBy: released.filter((gone) => !gone).length })))) throw noContent();
  }

  async #repair(provider: ContentProvider, all: readonly ContentProvider[], { root, digests }: ContentRecord, signal: AbortSignal): Promise<void> {
    if (!provider.takesBlocks) return this.#pinByService(provider, all, root, signal);
    const others = all.filter((other) => other.name !== provider.name);
    const cids = cidsOf(digests);
    for (const cid of cids) await provider.put({ cid, codec: 'raw', bytes: (await fetchBlock([provider, ...others], cid, signal)).bytes }, signal);
    await provider.put(rootOf(cids), signal);
    return provider.pin(root, [], signal);
  }

  /** @throws {ProviderFailed} when there is nobody whom it could fetch the blocks from. */
  async #pinByService(service: ContentProvider, holders: readonly ContentProvider[], root: Cid, signal: AbortSignal): Promise<void> {
    const nodes = holders.filter(({ isReachable }) => isReachable);
    if (nodes.length === 0) throw new ProviderFailed('it fetches from nodes, and there is none: make a connection of kind ipfs');
    return service.pin(root, await this.#origins(nodes, signal), signal);
  }

  #own(orgId: string): ContentProvider {
    return embedded(this.#dependencies.folder, orgId);
  }

  async #origins(providers: readonly ContentProvider[], signal: AbortSignal): Promise<string[]> {
    const found = await Promise.all(providers.map((provider) => provider.origins(signal).catch((error: unknown) => {
      // A service that pins finds them by itself then, only later.
      if (error instanceof ProviderFailed) return [];
      throw error;
    })));
    return found.flat();
  }

  async #connected(caller: Caller): Promise<ContentProvider[]> {
    const { connections, egress } = this.#dependencies;
    const providers: ContentProvider[] = [];
    for (const { name, kind } of await connections.list(caller, MOST_CONNECTIONS)) {
      if (kind === 'ipfs') providers.push(kubo(egress, name, (await connections.open(caller.orgId, name, ['ipfs'])).settings));
      if (kind === 'pinning') providers.push(pinningService(egress, name, (await connections.open(caller.orgId, name, ['pinning'])).settings));
    }
    return providers;
  }

  async #view(orgId: string, record: ContentRecord): Promise<Content> {
    return view(record, (await this.#store.pins(orgId, [record.id])).get(record.id) ?? []);
  }

  #subject(orgId: string, text: string | undefined): Buffer | undefined {
    if (text === undefined) return undefined;
    const subject = subjectHash(this.#dependencies.keys, orgId, text);
    if (subject === undefined) throw new HalError('InvalidInput', 'HAL9-Subject is not kind:value', { errors: [{ path: '/headers/HAL9-Subject', message: 'expected kind:value' }] });
    return subject;
  }

  async #record(orgId: string, id: string): Promise<ContentRecord> {
    const record = await this.#store.find(orgId, id);
    if (record === undefined) throw noContent();
    return record;
  }
}

function hasNode(providers: readonly ContentProvider[]): boolean {
  return providers.some(({ takesBlocks }) => takesBlocks);
}

/** Asks one after the other until somebody's bytes are what the identifier says. */
async function fetchBlock(providers: readonly ContentProvider[], cid: Cid, signal: AbortSignal): Promise<{ readonly bytes: Buffer; readonly provider: ContentProvider }> {
  const failures: string[] = [];
  for (const provider of providers) {
    try {
      const bytes = await provider.read(cid, signal);
      if (isOf(cid, bytes)) return { bytes, provider };
      failures.push(`${provider.name}: the bytes are not those of the identifier`);
    } catch (error) {
      if (!(error instanceof ProviderFailed)) throw error;
      failures.push(`${provider.name}: ${error.message}`);
    }
  }
  throw new HalError('ExternalCallFailed', `no provider has a block of the content: ${failures.length === 0 ? 'there is none' : failures.join('; ')}`);
}

/** Cuts a stream into blocks; the last may be shorter. @throws {HalError} `BodyTooLarge`. */
async function* inBlocks(stream: AsyncIterable<Uint8Array>): AsyncIterable<Buffer> {
  let [held, size, total]: [Uint8Array[], number, number] = [[], 0, 0];
  for await (const chunk of stream) {
    total += chunk.length;
    if (total > CONTENT_BYTES) throw new HalError('BodyTooLarge', `content has ${String(CONTENT_BYTES)} bytes at most`);
    for (let rest = chunk; rest.length > 0; ) {
      const part = rest.subarray(0, BLOCK_BYTES - size);
      held.push(part);
      size += part.length;
      rest = rest.subarray(part.length);
      if (size === BLOCK_BYTES) {
        yield Buffer.concat(held, size);
        [held, size] = [[], 0];
      }
    }
  }
  if (size > 0) yield Buffer.concat(held, size);
}

function view({ digests, subjectKey, ...record }: ContentRecord, pins: readonly Pin[]): Content {
  return { ...record, about: subjectKey !== null, blocks: digests.length / DIGEST_BYTES, pins: pins.map(({ provider, state, failure }) => ({ provider, state, failure })) };
}

function noContent(): HalError {
  return new HalError('NotFound', 'there is no such content');
}
