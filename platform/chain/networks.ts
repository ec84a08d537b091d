import { randomUUID } from 'node:crypto';
import { getAddress } from 'ethers';
import { z } from 'zod';
import { ChainNetworkStore, type NetworkRecord } from '../../database/chain-networks.ts';
import { ChainStore, type ChainRecord } from '../../database/chains.ts';
import type { Database } from '../../database/database.ts';
import { HalError } from '../../schemas/errors.ts';
import type { NetworkDraft } from '../../schemas/rest/networks.ts';
import { actOf } from '../audit/act.ts';
import type { Egress } from '../connections/egress.ts';
import type { Caller } from '../identity/caller.ts';
import { computationMarket } from './contracts/computation-market.ts';
import { memoryAnchor } from './contracts/memory-anchor.ts';
import { neuronRegistry } from './contracts/neuron-registry.ts';
import { interfaceOf, openChain, readViews } from './reading.ts';
import type { ChainRpc } from './rpc.ts';
import type { KeyPlaces } from './signer-key.ts';

const MARKET = interfaceOf(computationMarket);
const REGISTRY = interfaceOf(neuronRegistry);
const ANCHOR = interfaceOf(memoryAnchor);
/** Of contracts that this build knows how to speak to. */
const MOST_LEAVES = 10_000n;

export interface NetworksDependencies {
  readonly database: Database;
  readonly egress: Pick<Egress, 'request'>;
  readonly places: KeyPlaces;
}

/** HAL9's contracts on chains, as people see them. */
export class Networks {
  readonly #store: ChainNetworkStore;
  readonly #chains: ChainStore;
  readonly #dependencies: NetworksDependencies;

  constructor(dependencies: NetworksDependencies) {
    this.#store = new ChainNetworkStore(dependencies.database);
    this.#chains = new ChainStore(dependencies.database);
    this.#dependencies = dependencies;
  }

  /** By name; `after` continues a page. */
  async list(caller: Caller, limit: number, after?: string): Promise<NetworkRecord[]> {
    return this.#store.list(caller.orgId, limit, after);
  }

  /** @throws {HalError} `NotFound`. */
  async get(caller: Caller, id: string): Promise<NetworkRecord> {
    const network = await this.#store.find(caller.orgId, id);
    if (network === undefined) throw new HalError('NotFound', 'there is no such network');
    return network;
  }

  /**
   * Writes down where contracts are, after asking them.
   * @param id a new one where left out.
   * @throws {HalError} `NotFound` for the chain; `NoContract` when other contracts are there; `Conflict` when the name is taken; as reading the chain does.
   */
  async add(caller: Caller, draft: NetworkDraft, id: string = randomUUID()): Promise<NetworkRecord> {
    const chain = await this.#chains.chain(caller.orgId, draft.chain);
    if (chain === undefined) throw new HalError('NotFound', 'there is no such chain');
    await this.#verify(caller.orgId, chain, draft);
    const { name, token, registry, market, anchor, governance, timelock } = draft;
    const made = await this.#store.insert(
      caller.orgId,
      { id, chain: chain.id, name, token: getAddress(token), registry: getAddress(registry), market: getAddress(market), anchor: getAddress(anchor), governance: governance === undefined ? null : getAddress(governance), timelock: timelock === undefined ? null : getAddress(timelock) },
      actOf(caller, 'chain-network.create', { kind: 'chain-network', id }, { chain: chain.id }),
    );
    if (made === undefined) throw new HalError('Conflict', 'another network has this name');
    return made;
  }

  /** A network with its chain and nodes. @throws {HalError} `NotFound`. */
  async open(orgId: string, id: string, signal?: AbortSignal): Promise<OpenNetwork> {
    const network = await this.#store.find(orgId, id);
    const chain = network === undefined ? undefined : await this.#chains.chain(orgId, network.chain);
    if (network === undefined || chain === undefined) throw new HalError('NotFound', 'there is no such network');
    return { network, chain, rpc: openChain(this.#dependencies, orgId, chain, signal) };
  }

  async #verify(orgId: string, chain: ChainRecord, { token, registry, market, anchor }: NetworkDraft): Promise<void> {
    const rpc = openChain(this.#dependencies, orgId, chain);
    const answers = await readViews(rpc, [
      { to: market, abi: MARKET, name: 'TOKEN', args: [] },
      { to: market, abi: MARKET, name: 'REGISTRY', args: [] },
      { to: registry, abi: REGISTRY, name: 'TOKEN', args: [] },
      { to: registry, abi: REGISTRY, name: 'MARKET_ROLE', args: [] },
      { to: anchor, abi: ANCHOR, name: 'MAX_LEAVES', args: [] },
    ]);
    const [marketToken, marketRegistry, registryToken] = answers.slice(0, 3).map((answer) => getAddress(z.string().parse(answer)));
    if (marketToken !== getAddress(token) || registryToken !== getAddress(token)) throw new HalError('NoContract', `market and registry do not use the token ${token}`);
    if (marketRegistry !== getAddress(registry)) throw new HalError('NoContract', `the market does not use the registry ${registry}`);
    if (answers[4] !== MOST_LEAVES) throw new HalError('NoContract', `${anchor} takes batches of another size: another contract is there`);
    const allowed = await readViews(rpc, [{ to: registry, abi: REGISTRY, name: 'hasRole', args: [answers[3], market] }]);
    if (allowed[0] !== true) throw new HalError('NoContract', 'the registry does not let the market lock bonds: grant it MARKET_ROLE');
  }
}

export interface OpenNetwork {
  readonly network: NetworkRecord;
  readonly chain: ChainRecord;
  readonly rpc: ChainRpc;
}
