import { randomBytes, randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { bundleWorkflowCode, NativeConnection, Runtime, Worker, type WorkflowBundle } from '@temporalio/worker';
import { Interface, parseEther } from 'ethers';
import pino from 'pino';
import { inject } from 'vitest';
import { createAnchorActivities } from '../../activities/anchor/index.ts';
import { createChainActivities } from '../../activities/chain/index.ts';
import { createConsensusActivities, createNetworkActivities, createVoteActivities } from '../../activities/consensus/index.ts';
import { ChainTransactionStore } from '../../database/chain-transactions.ts';
import { NeuronBreakerStore } from '../../database/neuron-breakers.ts';
import { NeuronCallStore } from '../../database/neuron-calls.ts';
import { NeuronStore } from '../../database/neurons.ts';
import { FileBlobStore } from '../../platform/blobs/file-blob-store.ts';
import { Budgets } from '../../platform/budgets/budgets.ts';
import { Chains } from '../../platform/chain/chains.ts';
import { computationMarket } from '../../platform/chain/contracts/computation-market.ts';
import { incentiveToken } from '../../platform/chain/contracts/incentive-token.ts';
import { neuronRegistry } from '../../platform/chain/contracts/neuron-registry.ts';
import { Connections } from '../../platform/connections/connections.ts';
import { Egress } from '../../platform/connections/egress.ts';
import { actOf } from '../../platform/audit/act.ts';
import { systemCaller, type Caller } from '../../platform/identity/caller.ts';
import { KeyRing } from '../../platform/keys/key-ring.ts';
import { SubjectKeys } from '../../platform/keys/subject-keys.ts';
import { Memories } from '../../platform/memory/memories.ts';
import type { Operations } from '../../platform/operations/contract.ts';
import { createOperations } from '../../platform/operations/operations.ts';
import { neuronDraftSchema } from '../../schemas/neurons/definition.ts';
import anchor from '../../schemas/operations/anchor.ts';
import chainNetwork, { chainNetworkResultSchema, type ChainNetworkResult } from '../../schemas/operations/chain-network.ts';
import consensus from '../../schemas/operations/consensus.ts';
import transaction from '../../schemas/operations/transaction.ts';
import { chainDraft } from '../../schemas/rest/chains.ts';
import { createChainAnnouncer } from '../../workers/dispatcher/chain.ts';
import { activityInterceptors } from '../../workers/interceptors/activity.ts';
import { startAnvil, type Anvil, type AnvilOptions } from '../environment/anvil.ts';
import { createTestDatabase, type TestDatabase } from '../environment/database.ts';
import { createTestNamespace } from '../environment/temporal.ts';

export const TOKEN = new Interface(incentiveToken.abi);
export const REGISTRY = new Interface(neuronRegistry.abi);
export const MARKET = new Interface(computationMarket.abi);
export const BOND = parseEther('1000');

const silent = { log() {}, trace() {}, debug() {}, info() {}, warn() {}, error() {} };

/** Database, Temporal, and workers of chains, as in production but for their queues' sizes. */
export interface ChainHouse {
  readonly test: TestDatabase;
  readonly caller: Caller;
  readonly chains: Chains;
  readonly operations: Operations;
  readonly egress: Egress;
  readonly keys: KeyRing;
  /** Ends the workers, as an outage would; they come back with `startWorkers`. */
  stopWorkers(): Promise<void>;
  startWorkers(): Promise<void>;
  /** A chain of its own, with contracts deployed through the sender. */
  network(options?: Partial<AnvilOptions>, policy?: Readonly<Record<string, unknown>>): Promise<TestNetwork>;
  /** A neuron of rules that answers `data`, a CEL map. */
  neuron(data: string): Promise<string>;
  close(): Promise<void>;
}

export interface TestNetwork {
  readonly node: Anvil;
  readonly chain: string;
  readonly id: string;
  readonly addresses: ChainNetworkResult;
  readonly deployer: { readonly id: string; readonly address: string };
  signer(name: string): Promise<{ readonly id: string; readonly address: string }>;
  /** Sends as anybody, mined at once. @returns the receipt's status. */
  as(from: string, to: string, data: string): Promise<boolean>;
  view(to: string, abi: Interface, name: string, ...args: readonly unknown[]): Promise<unknown>;
  /** Registers neurons with twice the least bond in tokens, half of it bonded. */
  enlist(addresses: readonly string[]): Promise<void>;
  /** Adds to the bond of a neuron. */
  bond(address: string, amount: bigint): Promise<void>;
  /** Whether a request is settled or refunded, as the last block has it. */
  ended(requestId: string | null): Promise<boolean>;
  /** Moves the chain's clock. */
  later(seconds: number): Promise<void>;
  mine(blocks?: number): Promise<void>;
}

export async function createChainHouse(): Promise<ChainHouse> {
  Runtime.install({ logger: silent });
  const logger = pino({ level: 'silent' });
  const keys = new KeyRing([{ id: 'test', key: randomBytes(32) }]);
  const address = inject('temporalAddress');
  const namespace = await createTestNamespace();
  const [test, connection, native, workflowBundle] = await Promise.all([
    createTestDatabase(),
    Connection.connect({ address }),
    NativeConnection.connect({ address }),
    bundleWorkflowCode({ workflowsPath: join(import.meta.dirname, 'workflows.ts'), logger: silent }),
  ]);
  const { database } = test;
  const egress = new Egress({ allowPrivate: true });
  const blobs = await mkdtemp(join(tmpdir(), 'hal9-chain-'));
  const places = { keys, environment: {}, folder: undefined };
  const dependencies = { database, egress, places };
  const chains = new Chains({ database, places });
  const operations = createOperations({ client: new Client({ connection, namespace }), database, contracts: new Map([transaction, consensus, chainNetwork, anchor].map((contract) => [contract.name, contract])), keys, logger });
  const caller = systemCaller(await test.organisation(), 'test');
  const calls = { connections: new Connections({ database, keys, egress }), egress, budgets: new Budgets(database), calls: new NeuronCallStore(database), breakers: new NeuronBreakerStore(database), blobs: new FileBlobStore(blobs, keys), memories: new Memories({ database, keys, subjects: new SubjectKeys({ database, keys }) }) };
  const activities = { ...createConsensusActivities(dependencies, 5_000), ...createNetworkActivities(dependencies), ...createAnchorActivities(dependencies) };
  const votes = { ...createVoteActivities(dependencies, { neurons: new NeuronStore(database), calls }) };
  const drain = createChainAnnouncer({ transactions: new ChainTransactionStore(database), operations, logger });
  const workers = new WorkerSet(native, namespace, workflowBundle, { activities, votes, sending: { ...createChainActivities(dependencies, 2_000) } });
  await workers.start();
  const announcing = new Announcing(() => drain.run(new AbortController().signal));
  const nodes: Anvil[] = [];
  return {
    test,
    caller,
    chains,
    operations,
    egress,
    keys,
    stopWorkers: () => workers.stop(),
    startWorkers: () => workers.start(),
    async network(options = {}, policy = {}) {
      const node = await startAnvil({ chainId: 31337, ...options });
      nodes.push(node);
      return deployed({ chains, caller, operations }, node, options.chainId ?? 31337, policy);
    },
    async neuron(data) {
      const id = randomUUID();
      const draft = neuronDraftSchema.parse({ name: `n-${id}`, layer: 'L2', subscription: { types: ['*'] }, behaviour: { kind: 'rules', rules: [{ when: 'true', emit: { type: 'result', data } }] } });
      await new NeuronStore(database).create(caller.orgId, id, draft, 'test', actOf(caller, 'neuron.create', { kind: 'neuron', id }));
      return id;
    },
    async close() {
      await announcing.stop();
      await workers.stop();
      await operations.close();
      await Promise.all(nodes.map((node) => node.kill()));
      await egress.close();
      await connection.close();
      await native.close();
      await test.drop();
      await rm(blobs, { recursive: true, force: true });
    },
  };
}

/** Tells the runs of signers what is to be sent, as the dispatcher does. */
class Announcing {
  #over = false;
  readonly #loop: Promise<void>;

  constructor(run: () => Promise<unknown>) {
    this.#loop = this.#turn(run);
  }

  async stop(): Promise<void> {
    this.#over = true;
    await this.#loop;
  }

  async #turn(run: () => Promise<unknown>): Promise<void> {
    while (!this.#over) {
      await run();
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

class WorkerSet {
  readonly #make: () => Promise<Worker[]>;
  #workers: Worker[] = [];
  #serving: Promise<void>[] = [];

  constructor(connection: NativeConnection, namespace: string, workflowBundle: WorkflowBundle, served: { readonly activities: object; readonly votes: object; readonly sending: object }) {
    const interceptors = { activity: activityInterceptors };
    this.#make = () =>
      Promise.all([
        Worker.create({ connection, namespace, taskQueue: 'core', workflowBundle, activities: served.activities, interceptors }),
        Worker.create({ connection, namespace, taskQueue: 'neurons-external', activities: served.votes, interceptors }),
        Worker.create({ connection, namespace, taskQueue: 'chain', activities: served.sending, maxConcurrentActivityTaskExecutions: 200, interceptors }),
      ]);
  }

  async start(): Promise<void> {
    this.#workers = await this.#make();
    this.#serving = this.#workers.map((worker) => worker.run());
  }

  async stop(): Promise<void> {
    for (const worker of this.#workers) worker.shutdown();
    await Promise.all(this.#serving);
    this.#workers = [];
    this.#serving = [];
  }
}

async function deployed({ chains, caller, operations }: { chains: Chains; caller: Caller; operations: Operations }, node: Anvil, chainId: number, policy: Readonly<Record<string, unknown>>): Promise<TestNetwork> {
  const chain = await chains.create(caller, chainDraft.parse({ name: node.url, chainId, rpcUrls: [node.url], policy: { pollMs: 50, bumpAfterSeconds: 1, confirmations: 1, watchBlocks: 1, ...policy } }));
  const signer = async (name: string) => {
    const made = await chains.createSigner(caller, { name: `${name} ${node.url}`, chain: chain.id, key: { kind: 'kept' } });
    await node.call('anvil_setBalance', made.address, `0x${parseEther('100').toString(16)}`);
    return { id: made.id, address: made.address };
  };
  const deployer = await signer('deployer');
  await node.call('anvil_autoImpersonateAccount', true);
  const { runId } = await operations.start(caller, { operation: 'chain-network', input: { name: node.url, signer: deployer.id, minBond: String(BOND), handOver: false }, origin: 'api' });
  const ended = await operations.result(caller, runId, 60_000);
  if (ended.status !== 'completed') throw new Error(`the network is not there: ${JSON.stringify(ended)}`);
  const addresses = chainNetworkResultSchema.parse(ended.result);
  const as = async (from: string, to: string, data: string): Promise<boolean> => {
    const hash = await node.call('eth_sendTransaction', { from, to, data, gas: '0x4c4b40' });
    for (;;) {
      const receipt = (await node.call('eth_getTransactionReceipt', hash)) as { status: string } | null;
      if (receipt !== null) return receipt.status === '0x1';
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  };
  const view = async (to: string, abi: Interface, name: string, ...args: readonly unknown[]): Promise<unknown> => abi.decodeFunctionResult(name, String(await node.call('eth_call', { to, data: abi.encodeFunctionData(name, [...args]) }, 'latest')))[0];
  return {
    node,
    chain: chain.id,
    id: addresses.network,
    addresses,
    deployer,
    signer,
    as,
    view,
    async enlist(neurons) {
      for (const neuron of neurons) {
        await node.call('anvil_setBalance', neuron, `0x${parseEther('100').toString(16)}`);
        const sent = [
          await as(deployer.address, addresses.token, TOKEN.encodeFunctionData('transfer', [neuron, 2n * BOND])),
          await as(neuron, addresses.token, TOKEN.encodeFunctionData('approve', [addresses.registry, BOND])),
          await as(neuron, addresses.registry, REGISTRY.encodeFunctionData('register', [`0x${'11'.repeat(32)}`, 7, BOND])),
        ];
        if (sent.includes(false)) throw new Error('a neuron could not be registered');
      }
    },
    async bond(neuron, amount) {
      const sent = [
        await as(deployer.address, addresses.token, TOKEN.encodeFunctionData('transfer', [neuron, amount])),
        await as(neuron, addresses.token, TOKEN.encodeFunctionData('approve', [addresses.registry, amount])),
        await as(neuron, addresses.registry, REGISTRY.encodeFunctionData('register', [`0x${'11'.repeat(32)}`, 7, amount])),
      ];
      if (sent.includes(false)) throw new Error('the bond could not be raised');
    },
    async ended(requestId) {
      if (requestId === null) return false;
      const { state } = (await view(addresses.market, MARKET, 'requestOf', requestId)) as { state: bigint };
      return state >= 3n;
    },
    async later(seconds) {
      await node.call('evm_increaseTime', seconds);
      await node.call('evm_mine');
    },
    async mine(blocks = 1) {
      await node.call('anvil_mine', `0x${blocks.toString(16)}`);
    },
  };
}
