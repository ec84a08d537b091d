import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Interface, JsonRpcProvider, Wallet, id as keccakOf, parseEther } from 'ethers';
import { z } from 'zod';
import { startStack } from '../../deploy/local/stack.ts';
import { computationMarket } from '../../platform/chain/contracts/computation-market.ts';
import { incentiveToken } from '../../platform/chain/contracts/incentive-token.ts';
import { memoryAnchor } from '../../platform/chain/contracts/memory-anchor.ts';
import { neuronRegistry } from '../../platform/chain/contracts/neuron-registry.ts';
import { startAnvil, type Anvil } from '../environment/anvil.ts';
import { askAsAdministrator, type Ask } from '../environment/stack-client.ts';
import type { Bench } from './arguments.ts';

const CHAIN = 31337;
const NEURONS = 3;
const BOND = parseEther('1000');
const PAYMENT = parseEther('10');
const ITEMS = 10_000;
/** Transactions of one request. */
const TOGETHER = 500;
/** Time a part may take, ms. */
const PATIENCE_MS = 240_000;
const TOKEN = new Interface(incentiveToken.abi);
const REGISTRY = new Interface(neuronRegistry.abi);
const MARKET = new Interface(computationMarket.abi);
const ANCHOR = new Interface(memoryAnchor.abi);

const madeSchema = z.object({ id: z.uuid() });
const signerSchema = madeSchema.extend({ address: z.string() });
const startedSchema = z.object({ runId: z.string() });
const resultSchema = z.object({ status: z.string(), result: z.unknown().optional() });
const networkSchema = z.object({ network: z.uuid(), token: z.string(), registry: z.string(), market: z.string(), anchor: z.string() });
const pageSchema = z.object({ items: z.array(z.object({ id: z.string(), createdAt: z.string(), doneAt: z.string().nullable() })), nextCursor: z.string().nullable() });
const usedSchema = z.object({ items: z.array(z.object({ outcome: z.literal('succeeded'), gasUsed: z.int() })) });
const batchesSchema = z.object({ items: z.array(z.object({ count: z.int(), gasUsed: z.int().nullable() })) });

/**
 * Transactions of one signer over REST, 500 a request, from the first submission to the last that is confirmed, against a loop with a bare ethers wallet on the same node that signs, sends and waits for the last one. Then rounds of
 * consensus (off-chain reports of three neurons) from the first start to the last settlement, a batch of 10,000 hashes, and calls of one contract that leave together (`batch`) against the same calls each by itself. Options: `--transactions N` (default 2,000), `--rounds N` (default 20), `--smoke` (100 and 2).
 */
export const run: Bench = async (args) => {
  const smoke = args.options['smoke'] !== undefined;
  const transactions = args.number('transactions', smoke ? 100 : 2_000);
  const rounds = args.number('rounds', smoke ? 2 : 20);
  const stack = await startStack({
    settings: { HAL9_DATA: join(args.folder, 'data'), HAL9_PORT: '0', HAL9_RATE_LIMIT: '0', HAL9_ALLOW_PRIVATE_ADDRESSES: 'true' },
    processes: ['api', 'core', 'dispatcher'],
    progress: args.progress,
    signal: args.signal,
  });
  const node = await startAnvil({ chainId: CHAIN, blockSeconds: 1 });
  try {
    const ask = askAsAdministrator(stack, args.signal);
    const chain = madeSchema.parse(await ask('POST', '/v1/chains', { name: 'bench', chainId: CHAIN, rpcUrls: [node.url], policy: { confirmations: 1, watchBlocks: 1, maxInFlight: 1_000, pollMs: 250 } }));
    const signer = async (name: string) => {
      const made = signerSchema.parse(await ask('POST', '/v1/chain-signers', { name, chain: chain.id }));
      await node.call('anvil_setBalance', made.address, `0x${parseEther('1000').toString(16)}`);
      return made;
    };
    const payer = await signer('payer');
    const perSecond = await sending(ask, payer.id, Array.from({ length: transactions }, (_, n) => ({ to: recipient(n), value: '1', gasLimit: 21_000, reference: `bench ${String(n)}` })), args.signal);
    args.progress(`${String(Math.round(perSecond))} transactions a second`);
    const bare = await bareSending(node, transactions);
    args.progress(`${String(Math.round(bare))} a second with a bare wallet`);
    const started = startedSchema.parse(await ask('POST', '/v1/workflows/chain-network/runs', { input: { name: 'bench', signer: payer.id, minBond: String(BOND), handOver: false } }));
    const network = networkSchema.parse(await ended(ask, started.runId));
    const roundsPerSecond = await consensus(ask, node, network, { payer, rounds, signer, progress: args.progress });
    args.progress(`${roundsPerSecond.toFixed(2)} rounds a second`);
    const gasPerItem = await anchoring(ask, network.network, payer.id);
    const [together, single] = [await calling(ask, network.anchor, (await signer('together')).id, transactions, true, args.signal), await calling(ask, network.anchor, (await signer('single')).id, transactions, false, args.signal)];
    args.progress(`${String(Math.round(together.perSecond))} calls a second together, ${String(Math.round(single.perSecond))} each by itself; gas ${String(together.gas)} and ${String(single.gas)}`);
    return { transactions, transactionsPerSecond: Math.round(perSecond * 10) / 10, ratioToBare: Math.round((perSecond / bare) * 100) / 100, rounds, roundsPerSecond: Math.round(roundsPerSecond * 100) / 100, gasPerItem: Math.round(gasPerItem * 100) / 100, batchedCallsPerSecond: together.perSecond, singleCallsPerSecond: single.perSecond, gasPerBatchedCall: together.gas, gasPerSingleCall: single.gas };
  } finally {
    await node.kill();
    await stack.stop();
  }
};

/** @returns transactions a second. */
async function sending(ask: Ask, signer: string, drafts: readonly object[], signal: AbortSignal): Promise<number> {
  const began = performance.now();
  for (let from = 0; from < drafts.length; from += TOGETHER) await ask('POST', '/v1/chain-transactions/batch', { transactions: drafts.slice(from, from + TOGETHER).map((draft) => ({ signer, ...draft })) });
  const until = Date.now() + PATIENCE_MS;
  for (;;) {
    const { items } = pageSchema.parse(await ask('GET', `/v1/chain-transactions?signer=${signer}&state=confirmed&limit=1`));
    const open = await Promise.all(['queued', 'pending', 'mined'].map(async (state) => pageSchema.parse(await ask('GET', `/v1/chain-transactions?signer=${signer}&state=${state}&limit=1`)).items.length));
    if (items.length > 0 && open.every((length) => length === 0)) return drafts.length / ((performance.now() - began) / 1000);
    if (Date.now() > until) throw new Error('not all transactions were confirmed in time');
    await sleep(250, undefined, { signal });
  }
}

/** Each call begins a log of its own in the contract of anchors. @returns calls a second, and gas for each. */
async function calling(ask: Ask, to: string, signer: string, count: number, batch: boolean, signal: AbortSignal): Promise<{ readonly perSecond: number; readonly gas: number }> {
  const drafts = Array.from({ length: count }, (_, n) => ({ to, data: ANCHOR.encodeFunctionData('anchor', [keccakOf(`log ${String(n)}`), 0, keccakOf(`root ${String(n)}`), 1]), batch, reference: `call ${String(n)}` }));
  const perSecond = await sending(ask, signer, drafts, signal);
  const { items } = usedSchema.parse(await ask('GET', `/v1/chain-transactions?signer=${signer}&state=confirmed&limit=100`));
  // A carrier has the gas of all in it: the one in the middle is a call.
  const shares = items.map(({ gasUsed }) => gasUsed).toSorted((a, b) => a - b);
  return { perSecond: Math.round(perSecond * 10) / 10, gas: shares[Math.floor(shares.length / 2)] ?? 0 };
}

/** As fast as a program without memory may be: nonces counted in it, nothing kept, nothing looked at but the last receipt. @returns transactions a second. */
async function bareSending(node: Anvil, count: number): Promise<number> {
  const provider = new JsonRpcProvider(node.url, CHAIN, { staticNetwork: true, batchMaxCount: 1, polling: true, pollingInterval: 100 });
  const wallet = new Wallet(Wallet.createRandom().privateKey, provider);
  await node.call('anvil_setBalance', wallet.address, `0x${parseEther('1000').toString(16)}`);
  const began = performance.now();
  let last = '';
  for (let nonce = 0; nonce < count; nonce += 1) {
    const signed = await wallet.signTransaction({ type: 2, chainId: CHAIN, nonce, to: recipient(nonce), value: 1n, gasLimit: 21_000n, maxFeePerGas: 10n ** 11n, maxPriorityFeePerGas: 10n ** 9n });
    last = (await provider.broadcastTransaction(signed)).hash;
  }
  await provider.waitForTransaction(last, 1, PATIENCE_MS);
  provider.destroy();
  return count / ((performance.now() - began) / 1000);
}

interface ConsensusParts {
  readonly payer: { readonly id: string; readonly address: string };
  readonly rounds: number;
  readonly signer: (name: string) => Promise<{ readonly id: string; readonly address: string }>;
  readonly progress: (message: string) => void;
}

async function consensus(ask: Ask, node: Anvil, network: z.output<typeof networkSchema>, { payer, rounds, signer, progress }: ConsensusParts): Promise<number> {
  const neuron = madeSchema.parse(await ask('POST', '/v1/neurons', { name: 'bench-sum', layer: 'L2', subscription: { types: ['bench.sum'] }, behaviour: { kind: 'rules', rules: [{ when: 'true', emit: { type: 'result', data: '{"sum": signal.data.a + signal.data.b}' } }] } }));
  const voters = [];
  await node.call('anvil_autoImpersonateAccount', true);
  for (let n = 0; n < NEURONS; n += 1) {
    const { id, address } = await signer(`neuron ${String(n)}`);
    await as(node, payer.address, network.token, TOKEN.encodeFunctionData('transfer', [address, BOND]));
    await as(node, address, network.token, TOKEN.encodeFunctionData('approve', [network.registry, BOND]));
    await as(node, address, network.registry, REGISTRY.encodeFunctionData('register', [keccakOf(id), 7, BOND]));
    await as(node, address, network.market, MARKET.encodeFunctionData('list', [PAYMENT / 10n, keccakOf(id), true]));
    voters.push({ signer: id, neuron: neuron.id });
  }
  progress('neurons are registered');
  const input = { network: network.network, requester: payer.id, mode: 'off-chain', voters, payment: String(PAYMENT), commitSeconds: 3_600, revealSeconds: 3_600, challengeSeconds: 1 };
  const began = performance.now();
  const runs = await Promise.all(Array.from({ length: rounds }, async (_, n) => startedSchema.parse(await ask('POST', '/v1/workflows/consensus/runs', { input: { ...input, question: { type: 'bench.sum', data: { a: n, b: 1 } } } })).runId));
  for (const runId of runs) z.object({ state: z.literal('settled') }).parse(await ended(ask, runId));
  return rounds / ((performance.now() - began) / 1000);
}

/** @returns gas for each hash of a batch, the transaction's data included. */
async function anchoring(ask: Ask, network: string, signer: string): Promise<number> {
  const stream = madeSchema.parse(await ask('POST', '/v1/anchor-streams', { name: 'bench', network, signer }));
  const { runId } = startedSchema.parse(await ask('POST', `/v1/anchor-streams/${stream.id}/hashes`, { hashes: Array.from({ length: ITEMS }, (_, n) => keccakOf(`bench ${String(n)}`)) }));
  await ended(ask, runId);
  const { items: [batch] } = batchesSchema.parse(await ask('GET', `/v1/anchor-streams/${stream.id}/batches`));
  if (batch?.gasUsed == null) throw new Error('the batch is not on the chain');
  return batch.gasUsed / batch.count;
}

async function as(node: Anvil, from: string, to: string, data: string): Promise<void> {
  const hash = await node.call('eth_sendTransaction', { from, to, data, gas: '0x4c4b40' });
  for (;;) {
    const receipt = z.object({ status: z.string() }).nullable().parse(await node.call('eth_getTransactionReceipt', hash));
    if (receipt?.status === '0x1') return;
    if (receipt !== null) throw new Error(`a transaction to ${to} was reverted`);
    await sleep(50);
  }
}

async function ended(ask: Ask, runId: string): Promise<unknown> {
  const until = Date.now() + PATIENCE_MS;
  for (;;) {
    const { status, result } = resultSchema.parse(await ask('GET', `/v1/runs/${runId}/result?waitSeconds=20`));
    if (status === 'completed') return result;
    if (status !== 'running' || Date.now() > until) throw new Error(`${runId} is ${status}`);
  }
}

/** An address nobody has a key of. */
function recipient(n: number): string {
  return `0x${(0xbe0c40000n + BigInt(n)).toString(16).padStart(40, '0')}`;
}
