import { createHash, randomUUID } from 'node:crypto';
import { getAddress } from 'ethers';
import { z } from 'zod';
import type { Database } from '../../database/database.ts';
import { noActHere } from '../../database/audit-acts.ts';
import { ChainStore, type ChainRecord, type SignerRecord } from '../../database/chains.ts';
import { ChainTransactionStore, type AttemptRecord, type NewTransaction, type Submitted, type TransactionEvent, type TransactionRecord, type TransactionState } from '../../database/chain-transactions.ts';
import { HalError } from '../../schemas/errors.ts';
import type { ChainPolicy, KeySource, TransactionDraft } from '../../schemas/rest/chains.ts';
import { actOf } from '../audit/act.ts';
import type { Caller } from '../identity/caller.ts';
import { openSignerKey, referenceOf, sealNewKey, type KeyPlaces } from './signer-key.ts';

const PURPOSE = 'chains';

export interface ChainDraft {
  readonly name: string;
  readonly chainId: number;
  readonly rpcUrls: readonly string[];
  readonly policy: ChainPolicy;
}

export interface ChainsDependencies {
  readonly database: Database;
  readonly places: KeyPlaces;
}

/** Chains, signers and transactions as people see them. */
export class Chains {
  readonly #store: ChainStore;
  readonly #transactions: ChainTransactionStore;
  readonly #places: KeyPlaces;

  constructor({ database, places }: ChainsDependencies) {
    this.#store = new ChainStore(database);
    this.#transactions = new ChainTransactionStore(database);
    this.#places = places;
  }

  /** By name; `after` continues a page. */
  async list(caller: Caller, limit: number, after?: string): Promise<ChainRecord[]> {
    return this.#store.chains(caller.orgId, limit, after);
  }

  /** @throws {HalError} `NotFound`. */
  async get(caller: Caller, id: string): Promise<ChainRecord> {
    const chain = await this.#store.chain(caller.orgId, id);
    if (chain === undefined) throw new HalError('NotFound', 'there is no such chain');
    return chain;
  }

  /** @throws {HalError} `Conflict` when the name is taken. */
  async create(caller: Caller, draft: ChainDraft): Promise<ChainRecord> {
    const id = randomUUID();
    const made = await this.#store.insertChain(caller.orgId, { id, ...this.#sealed(caller.orgId, id, draft) }, actOf(caller, 'chain.create', { kind: 'chain', id }, { chainId: draft.chainId }));
    if (made === undefined) throw new HalError('Conflict', 'another chain has this name');
    return made;
  }

  /** @throws {HalError} `NotFound`; `Conflict` when somebody else changed it, for a taken name, or another chain id. */
  async change(caller: Caller, id: string, draft: ChainDraft): Promise<ChainRecord> {
    const { version, chainId } = await this.get(caller, id);
    if (chainId !== draft.chainId) throw new HalError('Conflict', `the signers of this chain are on chain ${String(chainId)}: make another one for chain ${String(draft.chainId)}`);
    const changed = await this.#store.changeChain(caller.orgId, version, { id, ...this.#sealed(caller.orgId, id, draft) }, actOf(caller, 'chain.update', { kind: 'chain', id }));
    if (changed === undefined) throw new HalError('Conflict', 'somebody else changed the chain meanwhile, or another one has this name');
    return changed;
  }

  /** By name; `after` continues a page. */
  async signers(caller: Caller, limit: number, after?: string): Promise<SignerRecord[]> {
    return this.#store.signers(caller.orgId, limit, after);
  }

  /** @throws {HalError} `NotFound`. */
  async signer(caller: Caller, id: string): Promise<SignerRecord> {
    const signer = await this.#store.signer(caller.orgId, id);
    if (signer === undefined) throw new HalError('NotFound', 'there is no such signer');
    return signer;
  }

  /** @throws {HalError} `NotFound` for the chain; `Conflict` when the name is taken or the address signs there already; `SignerUnavailable` for a key that cannot be opened. */
  async createSigner(caller: Caller, draft: { readonly name: string; readonly chain: string; readonly key: KeySource }): Promise<SignerRecord> {
    const chain = await this.get(caller, draft.chain);
    const id = randomUUID();
    const sealedKey = draft.key.kind === 'kept' ? sealNewKey(this.#places.keys, caller.orgId, id) : null;
    const reference = referenceOf(draft.key, sealedKey);
    const { address } = await openSignerKey(this.#places, caller.orgId, id, reference);
    const made = await this.#store.insertSigner(
      caller.orgId,
      { id, chain: chain.id, chainId: chain.chainId, name: draft.name, address, keyKind: reference.kind, keyName: reference.name, sealedKey },
      actOf(caller, 'chain-signer.create', { kind: 'chain-signer', id }, { chain: chain.id, key: reference.kind }),
    );
    if (made === undefined) throw new HalError('Conflict', 'another signer has this name, or this address signs on the chain already');
    return made;
  }

  /**
   * Writes a transaction down; it is sent by the run of its signer.
   * @returns `created` false when the reference was used before for the same.
   * @throws {HalError} `NotFound` for the signer; `IdempotencyMismatch` when the reference was used for something else; `InvalidInput` for an address with a wrong checksum.
   */
  async submit(caller: Caller, draft: TransactionDraft): Promise<Submitted> {
    const [submitted] = await this.#submit(caller, [draft], () => '');
    if (submitted === undefined) throw new HalError('Internal', 'a transaction was not written down');
    return submitted;
  }

  /**
   * Writes transactions down, all or none; nonces follow their order.
   * @returns one for each draft, in that order.
   * @throws {HalError} as {@link submit}, naming the draft.
   */
  async submitAll(caller: Caller, drafts: readonly TransactionDraft[]): Promise<Submitted[]> {
    return this.#submit(caller, drafts, (place) => `/transactions/${String(place)}`);
  }

  /** Newest first; `before` is the `seq` of the last of the page before. */
  async transactions(caller: Caller, filter: { readonly signerId?: string; readonly state?: TransactionState }, limit: number, before?: number): Promise<TransactionRecord[]> {
    return this.#transactions.list(caller.orgId, filter, limit, before);
  }

  /** @throws {HalError} `NotFound`. */
  async transaction(caller: Caller, id: string): Promise<{ readonly transaction: TransactionRecord; readonly attempts: readonly AttemptRecord[]; readonly events: readonly TransactionEvent[] }> {
    const found = await this.#transactions.find(caller.orgId, id);
    if (found === undefined) throw new HalError('NotFound', 'there is no such transaction');
    return found;
  }

  /** One that was sent is replaced by a transaction of no effect, which may come too late. @throws {HalError} `NotFound`; `Conflict` when it is mined or over, or left in another together with others. */
  async cancel(caller: Caller, id: string): Promise<TransactionRecord> {
    await this.transaction(caller, id);
    if (!(await this.#transactions.cancel(caller.orgId, id, actOf(caller, 'chain-transaction.cancel', { kind: 'chain-transaction', id })))) throw await this.#uncancellable(caller, id);
    return (await this.transaction(caller, id)).transaction;
  }

  async #uncancellable(caller: Caller, id: string): Promise<HalError> {
    const { transaction: { state, carrierId } } = await this.transaction(caller, id);
    return new HalError('Conflict', state === 'pending' && carrierId !== null ? `it left with others in ${carrierId}: cancel that to cancel all of them` : 'the transaction is mined, or over');
  }

  async #submit(caller: Caller, drafts: readonly TransactionDraft[], pathOf: (place: number) => string): Promise<Submitted[]> {
    const submitted = await this.#transactions.submit(caller.orgId, drafts.map((draft, place) => newTransaction(draft, pathOf(place))), {
      actFor: ({ id, signerId }) => actOf(caller, 'chain-transaction.submit', { kind: 'chain-transaction', id }, { signer: signerId }),
      pathOf,
    });
    if (!submitted.some(({ created }) => created)) noActHere('nothing-changed');
    return submitted;
  }

  #sealed(orgId: string, id: string, { name, chainId, rpcUrls, policy }: ChainDraft) {
    return { name, chainId, policy, rpcUrls: this.#places.keys.seal(orgId, PURPOSE, JSON.stringify(rpcUrls), id), rpcHosts: rpcUrls.map((url) => new URL(url).host) };
  }
}

/** The addresses of a chain's nodes. */
export function rpcUrlsOf({ keys }: Pick<KeyPlaces, 'keys'>, orgId: string, chain: Pick<ChainRecord, 'id' | 'rpcUrls'>): string[] {
  return z.array(z.string()).parse(JSON.parse(keys.open(orgId, PURPOSE, chain.rpcUrls, chain.id).toString('utf8')));
}

function newTransaction({ signer, to, value, data, gasLimit, maxFeePerGas, reference, batch }: TransactionDraft, path: string): NewTransaction {
  const asked = { id: randomUUID(), signerId: signer, reference: reference ?? null, to: to === undefined ? null : checksummed(to, path), value, data: Buffer.from(data.slice(2), 'hex'), gasLimit: gasLimit ?? null, maxFee: maxFeePerGas ?? null, batch };
  // How it travels does not make it another transaction.
  return { ...asked, bodyHash: createHash('sha256').update(JSON.stringify([asked.to, value, data.toLowerCase(), asked.gasLimit, asked.maxFee])).digest() };
}

function checksummed(address: string, path: string): string {
  try {
    return getAddress(address);
  } catch (error) {
    throw new HalError('InvalidInput', 'the checksum of the address is wrong', { errors: [{ path: `${path}/to`, message: 'write it in lower case, or with the checksum of EIP-55' }], cause: error });
  }
}
