import { randomUUID } from 'node:crypto';
import { AbiCoder, getAddress, id as keccakOf, keccak256 } from 'ethers';
import { z } from 'zod';
import type { NetworkRecord } from '../../database/chain-networks.ts';
import type { Database } from '../../database/database.ts';
import { HalError } from '../../schemas/errors.ts';
import type { TokenAction, TokenActionDraft } from '../../schemas/rest/token.ts';
import type { Egress } from '../connections/egress.ts';
import type { Caller } from '../identity/caller.ts';
import { Chains } from './chains.ts';
import { computationMarket } from './contracts/computation-market.ts';
import { governance as governanceModule } from './contracts/governance.ts';
import { incentiveToken } from './contracts/incentive-token.ts';
import { neuronRegistry } from './contracts/neuron-registry.ts';
import { Networks } from './networks.ts';
import { interfaceOf, readViews, structOf } from './reading.ts';
import type { KeyPlaces } from './signer-key.ts';

const TOKEN = interfaceOf(incentiveToken);
const REGISTRY = interfaceOf(neuronRegistry);
const MARKET = interfaceOf(computationMarket);
const GOVERNANCE = interfaceOf(governanceModule);
const DAY = 86_400;
/** Bits of the registry. */
const ROLE_BITS = { compute: 1, verify: 2, arbitrate: 4 } as const;
/** `VoteType` of OpenZeppelin's `GovernorCountingSimple`. */
const SUPPORT = { against: 0, for: 1, abstain: 2 } as const;

const positionsSchema = z.array(z.unknown());
const positionSchema = z.object({ amount: z.bigint(), unlocksAt: z.bigint() });
const neuronSchema = z.object({ bond: z.bigint(), openRounds: z.bigint(), reputation: z.bigint(), roles: z.bigint() });

export interface TokensDependencies {
  readonly database: Database;
  readonly egress: Pick<Egress, 'request'>;
  readonly places: KeyPlaces;
}

export interface Account {
  readonly address: string;
  /** All amounts in 10^-18 HAL9, decimal. */
  readonly balance: string;
  readonly staked: readonly { readonly amount: string; readonly unlocksAt: Date }[];
  readonly claimable: string;
  readonly owed: string;
  readonly votes: string;
  readonly neuron: { readonly bond: string; readonly reputation: number; readonly openRounds: number; readonly roles: readonly string[] } | null;
}

interface Call {
  readonly to: string;
  readonly data: string;
}

/** What accounts of a network do: with the token, as neurons, in governance. */
export class Tokens {
  readonly #networks: Networks;
  readonly #chains: Chains;

  constructor(dependencies: TokensDependencies) {
    this.#networks = new Networks(dependencies);
    this.#chains = new Chains(dependencies);
  }

  /**
   * Submits the transactions of an action, in their order.
   * @returns their ids, and the id of the proposal it is about.
   * @throws {HalError} `NotFound` for network or signer; `InvalidInput` when they are on different chains, or the network has no governance; `IdempotencyMismatch`.
   */
  async act(caller: Caller, networkId: string, { signer, action, reference = randomUUID() }: TokenActionDraft): Promise<{ readonly transactions: readonly string[]; readonly proposal: string | null }> {
    const network = await this.#networks.get(caller, networkId);
    const { chain } = await this.#chains.signer(caller, signer);
    if (chain !== network.chain) throw new HalError('InvalidInput', 'the signer is on another chain than the network', { errors: [{ path: '/signer', message: 'on another chain' }] });
    const transactions: string[] = [];
    for (const [place, { to, data }] of callsOf(network, action).entries()) {
      const { transaction } = await this.#chains.submit(caller, { signer, to, value: '0', data, batch: false, reference: `token ${network.id} ${reference} ${String(place)}` });
      transactions.push(transaction.id);
    }
    return { transactions, proposal: proposalOf(action) };
  }

  /** What the last block says of an account. @throws {HalError} `NotFound`; as reading the chain does. */
  async account(caller: Caller, networkId: string, address: string): Promise<Account> {
    const { network, rpc } = await this.#networks.open(caller.orgId, networkId);
    const token = (name: string) => ({ to: network.token, abi: TOKEN, name, args: [address] });
    const [balance, positions, claimable, votes, owed, neuron] = await readViews(rpc, [
      token('balanceOf'),
      token('positionsOf'),
      token('claimable'),
      token('getVotes'),
      { to: network.market, abi: MARKET, name: 'owed', args: [address] },
      { to: network.registry, abi: REGISTRY, name: 'neuronOf', args: [address] },
    ]);
    const staked = positionsSchema.parse([...z.custom<Iterable<unknown>>().parse(positions)]).map((position) => positionSchema.parse(structOf(position)));
    const { bond, openRounds, reputation, roles } = neuronSchema.parse(structOf(neuron));
    return {
      address: getAddress(address.toLowerCase()),
      balance: String(balance),
      staked: staked.map(({ amount, unlocksAt }) => ({ amount: String(amount), unlocksAt: new Date(Number(unlocksAt) * 1000) })),
      claimable: String(claimable),
      owed: String(owed),
      votes: String(votes),
      neuron: roles === 0n ? null : { bond: String(bond), reputation: Number(reputation), openRounds: Number(openRounds), roles: Object.entries(ROLE_BITS).flatMap(([name, bit]) => ((Number(roles) & bit) === 0 ? [] : [name])) },
    };
  }
}

function callsOf(network: NetworkRecord, action: TokenAction): readonly Call[] {
  const { token, registry, market } = network;
  switch (action.kind) {
    case 'transfer':
      return [{ to: token, data: TOKEN.encodeFunctionData('transfer', [action.to.toLowerCase(), BigInt(action.amount)]) }];
    case 'stake':
      return [{ to: token, data: TOKEN.encodeFunctionData('stake', [BigInt(action.amount), action.lockDays * DAY]) }];
    case 'unstake':
      return [{ to: token, data: TOKEN.encodeFunctionData('unstake', [action.position]) }];
    case 'claim':
      return [{ to: token, data: TOKEN.encodeFunctionData('claim', []) }];
    case 'withdraw':
      return [{ to: market, data: MARKET.encodeFunctionData('withdraw', []) }];
    case 'register': {
      const roles = action.roles.reduce((bits, role) => bits | ROLE_BITS[role], 0);
      return [
        { to: token, data: TOKEN.encodeFunctionData('approve', [registry, BigInt(action.bond)]) },
        { to: registry, data: REGISTRY.encodeFunctionData('register', [action.identity, roles, BigInt(action.bond)]) },
      ];
    }
    case 'leave':
      return [{ to: registry, data: REGISTRY.encodeFunctionData('requestExit', []) }];
    case 'exit':
      return [{ to: registry, data: REGISTRY.encodeFunctionData('exit', []) }];
    case 'list':
      return [{ to: market, data: MARKET.encodeFunctionData('list', [BigInt(action.price), action.details, action.active]) }];
    case 'delegate':
      return [{ to: token, data: TOKEN.encodeFunctionData('delegate', [action.to.toLowerCase()]) }];
    case 'propose':
      return [{ to: governanceOf(network), data: GOVERNANCE.encodeFunctionData('propose', [...listsOf(action), action.description]) }];
    case 'vote':
      return [{ to: governanceOf(network), data: GOVERNANCE.encodeFunctionData('castVote', [BigInt(action.proposal), SUPPORT[action.support]]) }];
    case 'queue':
    case 'execute':
      return [{ to: governanceOf(network), data: GOVERNANCE.encodeFunctionData(action.kind, [...listsOf(action), keccakOf(action.description)]) }];
  }
}

type Proposal = Extract<TokenAction, { kind: 'propose' | 'queue' | 'execute' }>;

/** Targets, values and data, as the Governor takes them; a proposal moves no coins. */
function listsOf({ calls }: Proposal): [string[], bigint[], string[]] {
  return [calls.map(({ to }) => to.toLowerCase()), calls.map(() => 0n), calls.map(({ data }) => data)];
}

/** `hashProposal` of OpenZeppelin's Governor. */
function proposalOf(action: TokenAction): string | null {
  switch (action.kind) {
    case 'propose':
    case 'queue':
    case 'execute':
      return String(BigInt(keccak256(AbiCoder.defaultAbiCoder().encode(['address[]', 'uint256[]', 'bytes[]', 'bytes32'], [...listsOf(action), keccakOf(action.description)]))));
    case 'vote':
      return action.proposal;
    default:
      return null;
  }
}

function governanceOf({ governance }: NetworkRecord): string {
  if (governance === null) throw new HalError('InvalidInput', 'the network has no governance', { errors: [{ path: '/action', message: 'nobody votes on this network' }] });
  return governance;
}
