import { Interface, ZeroAddress, ZeroHash, getAddress, id as keccakOf } from 'ethers';
import { ChainStore, type SignerRecord } from '../../database/chains.ts';
import type { Database } from '../../database/database.ts';
import { HalError } from '../../schemas/errors.ts';
import type { ChainNetworkInput, ChainNetworkResult } from '../../schemas/operations/chain-network.ts';
import type { Egress } from '../connections/egress.ts';
import type { Caller } from '../identity/caller.ts';
import { computationMarket } from './contracts/computation-market.ts';
import { governance as governanceModule } from './contracts/governance.ts';
import { incentiveToken } from './contracts/incentive-token.ts';
import { memoryAnchor } from './contracts/memory-anchor.ts';
import { neuronRegistry } from './contracts/neuron-registry.ts';
import { timelockController } from './contracts/timelock.ts';
import { deploymentOf, type ContractModule } from './deployed.ts';
import { Networks } from './networks.ts';
import type { KeyPlaces } from './signer-key.ts';
import { Submissions, cameToNothing, failureOf } from './submissions.ts';

/** Of OpenZeppelin's `AccessControl`. */
const ROLES = new Interface(['function grantRole(bytes32 role, address account)', 'function renounceRole(bytes32 role, address account)']);
const ADMIN = ZeroHash;

export interface DeploymentDependencies {
  readonly database: Database;
  readonly egress: Pick<Egress, 'request'>;
  readonly places: KeyPlaces;
}

/** Deploys a network. What is there already, by the references of its transactions, is not sent again. */
export class Deployment {
  readonly #dependencies: DeploymentDependencies;
  readonly #caller: Caller;
  readonly #id: string;
  readonly #submissions: Submissions;
  readonly #signal: AbortSignal;

  constructor(dependencies: DeploymentDependencies, caller: Caller, id: string, signal: AbortSignal) {
    this.#dependencies = dependencies;
    this.#caller = caller;
    this.#id = id;
    this.#submissions = new Submissions({ ...dependencies, caller });
    this.#signal = signal;
  }

  /** @throws {HalError} `NotFound` for the signer; `InsufficientFunds`, `TransactionReverts` when a transaction cannot be; `Conflict` when the name is taken. */
  async run(input: ChainNetworkInput): Promise<ChainNetworkResult> {
    const deployer = await this.#deployer(input.signer);
    const { address } = deployer;
    const token = await this.#deploy(deployer, 'token', incentiveToken, [address, address, BigInt(input.genesis)]);
    const registry = await this.#deploy(deployer, 'registry', neuronRegistry, [address, token, BigInt(input.minBond)]);
    const market = await this.#deploy(deployer, 'market', computationMarket, [address, token, registry]);
    const anchor = await this.#deploy(deployer, 'anchor', memoryAnchor, []);
    // Anybody may execute what was decided and has waited.
    const timelock = await this.#deploy(deployer, 'timelock', timelockController, [input.timelockSeconds, [], [ZeroAddress], address]);
    const governance = await this.#deploy(deployer, 'governance', governanceModule, [token, timelock, input.voteDelaySeconds, input.votePeriodSeconds, BigInt(input.proposalThreshold), input.quorumPercent]);
    await this.#grant(deployer, registry, 'MARKET_ROLE', market);
    await this.#grant(deployer, timelock, 'PROPOSER_ROLE', governance);
    await this.#grant(deployer, timelock, 'CANCELLER_ROLE', governance);
    if (input.handOver) await this.#handOver(deployer, { token, registry, market, timelock });
    const draft = { name: input.name, chain: deployer.chain, token, registry, market, anchor, governance, timelock };
    const { id } = await new Networks(this.#dependencies).add(this.#caller, draft, this.#id);
    return { network: id, token, registry, market, anchor, governance, timelock };
  }

  async #handOver(deployer: SignerRecord, { token, registry, market, timelock }: { readonly token: string; readonly registry: string; readonly market: string; readonly timelock: string }): Promise<void> {
    for (const contract of [token, registry, market]) await this.#call(deployer, `admin ${contract}`, contract, ROLES.encodeFunctionData('grantRole', [ADMIN, timelock]));
    for (const contract of [token, registry, market, timelock]) await this.#call(deployer, `renounce ${contract}`, contract, ROLES.encodeFunctionData('renounceRole', [ADMIN, deployer.address]));
  }

  async #deploy(deployer: SignerRecord, what: string, contract: ContractModule, args: readonly unknown[]): Promise<string> {
    const { contractAddress } = await this.#done(await this.#submissions.ensure({ signer: deployer.id, reference: this.#reference(what), data: deploymentOf(contract, args) }));
    if (contractAddress === null) throw new HalError('Internal', 'a deployment has no address');
    return getAddress(contractAddress);
  }

  async #grant(deployer: SignerRecord, contract: string, role: string, account: string): Promise<void> {
    await this.#call(deployer, `${role} ${contract}`, contract, ROLES.encodeFunctionData('grantRole', [keccakOf(role), account]));
  }

  async #call(deployer: SignerRecord, what: string, to: string, data: string): Promise<void> {
    await this.#done(await this.#submissions.ensure({ signer: deployer.id, reference: this.#reference(what), to, data }));
  }

  async #done(transaction: Parameters<Submissions['settled']>[0][number]) {
    const [settled] = await this.#submissions.settled([transaction], 'mined', Number.POSITIVE_INFINITY, this.#signal);
    if (settled === undefined) throw new HalError('Internal', 'a transaction is gone');
    if (cameToNothing(settled)) throw failureOf(settled);
    return settled;
  }

  async #deployer(id: string): Promise<SignerRecord> {
    const signer = await new ChainStore(this.#dependencies.database).signer(this.#caller.orgId, id);
    if (signer === undefined) throw new HalError('NotFound', 'there is no such signer');
    return signer;
  }

  #reference(what: string): string {
    return `network ${this.#id} ${what}`;
  }
}
