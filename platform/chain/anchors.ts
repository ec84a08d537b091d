import { createHash, randomUUID } from 'node:crypto';
import { id as keccakOf } from 'ethers';
import { z } from 'zod';
import { AnchorStore, type AnchorBatch, type AnchorStream } from '../../database/anchors.ts';
import { AuditLogStore } from '../../database/audit-log.ts';
import type { TransactionRecord } from '../../database/chain-transactions.ts';
import { ChainStore, type SignerRecord } from '../../database/chains.ts';
import type { Database } from '../../database/database.ts';
import { HalError } from '../../schemas/errors.ts';
import type { AnchorProof, AnchorStreamDraft } from '../../schemas/rest/anchors.ts';
import { actOf } from '../audit/act.ts';
import type { Egress } from '../connections/egress.ts';
import { systemCaller, type Caller } from '../identity/caller.ts';
import { memoryAnchor } from './contracts/memory-anchor.ts';
import { MOST_LEAVES, MerkleBatch } from './merkle-batch.ts';
import { Networks, type OpenNetwork } from './networks.ts';
import { interfaceOf, readViews, structOf } from './reading.ts';
import type { KeyPlaces } from './signer-key.ts';
import { Submissions, cameToNothing, failureOf } from './submissions.ts';

const ANCHOR = interfaceOf(memoryAnchor);
/** Trees that are kept for proofs; one of 10,000 hashes takes some megabytes and a second. */
const KEPT_TREES = 4;

export interface AnchorsDependencies {
  readonly database: Database;
  readonly egress: Pick<Egress, 'request'>;
  readonly places: KeyPlaces;
}

export interface BatchView extends AnchorBatch {
  readonly state: 'waiting' | 'sending' | 'mined' | 'confirmed';
  readonly transaction: string | null;
  readonly blockNumber: number | null;
  readonly gasUsed: number | null;
}

/** Streams of hashes that are anchored on a chain. */
export class Anchors {
  readonly #dependencies: AnchorsDependencies;
  readonly #store: AnchorStore;
  readonly #chains: ChainStore;
  readonly #networks: Networks;
  readonly #log: AuditLogStore;
  readonly #trees = new Map<string, MerkleBatch>();

  constructor(dependencies: AnchorsDependencies) {
    this.#dependencies = dependencies;
    this.#store = new AnchorStore(dependencies.database);
    this.#chains = new ChainStore(dependencies.database);
    this.#networks = new Networks(dependencies);
    this.#log = new AuditLogStore(dependencies.database);
  }

  /** By name; `after` continues a page. */
  async streams(caller: Caller, limit: number, after?: string): Promise<AnchorStream[]> {
    return this.#store.streams(caller.orgId, limit, after);
  }

  /** @throws {HalError} `NotFound`. */
  async stream(caller: Caller, id: string): Promise<AnchorStream> {
    const stream = await this.#store.stream(caller.orgId, id);
    if (stream === undefined) throw new HalError('NotFound', 'there is no such stream');
    return stream;
  }

  /** @throws {HalError} `NotFound` for network or signer; `InvalidInput` when they are on different chains; `Conflict` when the name is taken. */
  async create(caller: Caller, draft: AnchorStreamDraft): Promise<AnchorStream> {
    const network = await this.#networks.get(caller, draft.network);
    const signer = await this.#signer(caller.orgId, draft.signer);
    if (signer.chain !== network.chain) throw new HalError('InvalidInput', 'the signer is on another chain than the network', { errors: [{ path: '/signer', message: 'on another chain' }] });
    const id = randomUUID();
    const made = await this.#store.insert(
      caller.orgId,
      { id, name: draft.name, networkId: network.id, signerId: signer.id, source: draft.source, stream: keccakOf(`hal9 anchor ${caller.orgId} ${id}`) },
      actOf(caller, 'anchor-stream.create', { kind: 'anchor-stream', id }, { network: network.id }),
    );
    if (made === undefined) throw new HalError('Conflict', 'another stream has this name');
    return made;
  }

  /** Puts hashes in, each once. @returns how many were new. @throws {HalError} `NotFound`. */
  async add(caller: Caller, id: string, hashes: readonly string[]): Promise<number> {
    await this.stream(caller, id);
    return this.#store.add(caller.orgId, id, hashes, actOf(caller, 'anchor-stream.add', { kind: 'anchor-stream', id }, { hashes: hashes.length }));
  }

  /** Newest first; `before` continues a page. @throws {HalError} `NotFound`. */
  async batches(caller: Caller, id: string, limit: number, before?: number): Promise<BatchView[]> {
    const stream = await this.stream(caller, id);
    return Promise.all((await this.#store.batches(caller.orgId, id, limit, before)).map(async (batch) => ({ ...batch, ...(await this.#standing(caller.orgId, stream, batch.position)) })));
  }

  /** @throws {HalError} `NotFound` for stream or hash; `Conflict` while the hash waits for its batch. */
  async proof(caller: Caller, id: string, hash: string): Promise<AnchorProof> {
    const stream = await this.stream(caller, id);
    const found = await this.#store.find(caller.orgId, id, hash);
    if (found === undefined) throw new HalError('NotFound', 'the hash is not in this stream');
    const { batch } = found;
    if (batch === undefined) throw new HalError('Conflict', 'the hash waits for its batch: start the operation anchor');
    const { network, chain, signer } = await this.#where(caller.orgId, stream);
    const { state, transaction, blockNumber } = await this.#standing(caller.orgId, stream, batch.position);
    const tree = await this.#tree(caller.orgId, id, batch);
    return { hash, proof: tree.proofOf(hash), root: batch.root, count: batch.count, chainId: chain.chainId, contract: network.anchor, writer: signer.address, stream: stream.stream, position: batch.position, state, transaction, blockNumber };
  }

  /**
   * Anchors the batch of a stream that is not on the chain, else one of what waits.
   * @param step of a run, the same for every try: the batch of an earlier one counts as its own, in a block or not.
   * @returns undefined when nothing was left to do.
   * @throws {HalError} when the transaction cannot be.
   */
  async advance(orgId: string, id: string, step: string, signal: AbortSignal): Promise<{ readonly hashes: number } | undefined> {
    const stream = await this.#store.stream(orgId, id);
    if (stream === undefined) throw new HalError('NotFound', 'there is no such stream');
    const where = await this.#where(orgId, stream, signal);
    const last = await this.#store.newest(orgId, id);
    // Batches before it are on the chain.
    const anchored = last === undefined || (await this.#isAnchored(orgId, stream, last, where));
    if (anchored && last?.step === step) return { hashes: last.count };
    if (stream.source === 'audit') await this.#takeCheckpoint(orgId, id);
    if (stream.source === 'memory') await this.#store.addMemories(orgId, id, MOST_LEAVES);
    if (!anchored) await this.#store.take(orgId, id, last.position, step);
    const batch = anchored ? await this.#store.cut(orgId, id, MOST_LEAVES, step, (hashes) => this.#remember(id, hashes)) : last;
    if (batch === undefined) return undefined;
    await this.#send(orgId, stream, batch, where, signal);
    return { hashes: batch.count };
  }

  /** By its transaction, or, where none is under way, by the contract: one that is taken for lost may have carried it. */
  async #isAnchored(orgId: string, stream: AnchorStream, { position, root }: AnchorBatch, { network, rpc, signer }: Where): Promise<boolean> {
    const { state } = await this.#standing(orgId, stream, position);
    return state === 'waiting' ? this.#isThere(rpc, network.anchor, signer.address, stream.stream, position, root) : state !== 'sending';
  }

  async #send(orgId: string, { signerId, stream, id }: AnchorStream, { position, root, count }: AnchorBatch, { network }: Where, signal: AbortSignal): Promise<void> {
    const submissions = this.#submissions(orgId);
    const sent = await submissions.ensure({ signer: signerId, reference: referenceOf(id, position), to: network.anchor, data: ANCHOR.encodeFunctionData('anchor', [stream, position, root, count]), batch: true });
    const [settled] = await submissions.settled([sent], 'mined', Number.POSITIVE_INFINITY, signal);
    if (settled !== undefined && cameToNothing(settled)) throw failureOf(settled);
  }

  async #isThere(rpc: OpenNetwork['rpc'], anchor: string, writer: string, stream: string, position: number, root: string): Promise<boolean> {
    const [length] = await readViews(rpc, [{ to: anchor, abi: ANCHOR, name: 'lengthOf', args: [writer, stream] }]);
    if (z.bigint().parse(length) <= BigInt(position)) return false;
    const [there] = await readViews(rpc, [{ to: anchor, abi: ANCHOR, name: 'anchorAt', args: [writer, stream, position] }]);
    return z.object({ root: z.string() }).parse(structOf(there)).root === root;
  }

  async #takeCheckpoint(orgId: string, id: string): Promise<void> {
    const [checkpoint] = await this.#log.checkpoints(orgId, 1);
    if (checkpoint === undefined) return;
    await this.#store.add(orgId, id, [`0x${createHash('sha256').update(checkpoint.note).digest('hex')}`]);
  }

  async #standing(orgId: string, { id, signerId }: AnchorStream, position: number): Promise<Pick<BatchView, 'state' | 'transaction' | 'blockNumber' | 'gasUsed'>> {
    const sent = await this.#submissions(orgId).latest(signerId, referenceOf(id, position));
    return { state: stateOf(sent), transaction: sent?.hash ?? null, blockNumber: sent?.blockNumber ?? null, gasUsed: sent?.gasUsed ?? null };
  }

  async #where(orgId: string, { networkId, signerId }: AnchorStream, signal?: AbortSignal): Promise<Where> {
    return { ...(await this.#networks.open(orgId, networkId, signal)), signer: await this.#signer(orgId, signerId) };
  }

  async #signer(orgId: string, id: string): Promise<SignerRecord> {
    const signer = await this.#chains.signer(orgId, id);
    if (signer === undefined) throw new HalError('NotFound', 'there is no such signer');
    return signer;
  }

  async #tree(orgId: string, streamId: string, { position, root }: AnchorBatch): Promise<MerkleBatch> {
    const known = this.#trees.get(`${streamId} ${root}`);
    if (known !== undefined) return known;
    this.#remember(streamId, await this.#store.hashes(orgId, streamId, position));
    const made = this.#trees.get(`${streamId} ${root}`);
    if (made === undefined) throw new HalError('Internal', 'a batch has another root than was anchored');
    return made;
  }

  #remember(streamId: string, hashes: readonly string[]): string {
    const tree = new MerkleBatch(hashes);
    const [oldest] = this.#trees.keys();
    if (this.#trees.size >= KEPT_TREES && oldest !== undefined) this.#trees.delete(oldest);
    this.#trees.set(`${streamId} ${tree.root}`, tree);
    return tree.root;
  }

  #submissions(orgId: string): Submissions {
    return new Submissions({ ...this.#dependencies, caller: systemCaller(orgId, 'anchor') });
  }
}

type Where = OpenNetwork & { readonly signer: SignerRecord };

function referenceOf(streamId: string, position: number): string {
  return `anchor ${streamId} ${String(position)}`;
}

function stateOf(sent: TransactionRecord | undefined): BatchView['state'] {
  if (sent === undefined) return 'waiting';
  if (cameToNothing(sent)) return 'waiting';
  return sent.state === 'mined' || sent.state === 'confirmed' ? sent.state : 'sending';
}
