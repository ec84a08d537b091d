import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Wallet, keccak256, parseEther, toUtf8Bytes } from 'ethers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ConsensusStore } from '../../database/consensus.ts';
import { commitmentOf, hashOf } from '../../platform/chain/consensus/vote.ts';
import { Networks } from '../../platform/chain/networks.ts';
import { consensusResultSchema, type ConsensusResult } from '../../schemas/operations/consensus.ts';
import { BOND, MARKET, REGISTRY, TOKEN, createChainHouse, type ChainHouse, type TestNetwork } from './chain-house.ts';

const PAYMENT = parseEther('300');
/** Of a payment, after 2 % to stakers and 1 % burned. */
const NET = (PAYMENT * 97n) / 100n;
const STEP = 36 * 3600;
const LIE = keccak256(toUtf8Bytes('a lie'));
const SALT = `0x${'5a'.repeat(32)}`;
const QUESTION = { type: 'test.sum', data: { a: 2, b: 3 } };
const TRUTH = hashOf({ sum: 5 });
/** A reorganisation of the settlement alone, and of all of the round. HAL9_TEST_REORGS=all tries every depth, which takes a minute more. */
const DEPTHS = process.env['HAL9_TEST_REORGS'] === 'all' ? Array.from({ length: 12 }, (_, place) => place + 1) : [1, 12];

let house: ChainHouse;
let network: TestNetwork;
let honest: string;
let liar: string;
let other: string;

beforeAll(async () => {
  house = await createChainHouse();
  [network, honest, liar, other] = await Promise.all([house.network(), house.neuron('{"sum": signal.data.a + signal.data.b}'), house.neuron('{"sum": 4.0}'), house.neuron('{"sum": 6.0}')]);
});
afterAll(() => house.close());

/** A neuron of ours: a signer that is registered, and what it computes by. */
async function voters(on: TestNetwork, name: string, neurons: readonly string[]) {
  const signers = await Promise.all(neurons.map((_, n) => on.signer(`${name} ${String(n)}`)));
  await on.enlist(signers.map(({ address }) => address));
  return signers.map(({ id, address }, n) => ({ address, voter: { signer: id, neuron: neurons[n] ?? '' } }));
}

async function start(on: TestNetwork, input: Readonly<Record<string, unknown>>) {
  const steps = { commitSeconds: STEP, revealSeconds: STEP, challengeSeconds: STEP };
  return (await house.operations.start(house.caller, { operation: 'consensus', input: { network: on.id, requester: on.deployer.id, question: QUESTION, payment: String(PAYMENT), ...steps, ...input }, origin: 'api' })).runId;
}

const recordOf = async (runId: string) => (await new ConsensusStore(house.test.database).find(house.caller.orgId, runId.split('~')[1]!))!;
const wake = (runId: string) => house.operations.signal(house.caller, runId, 'wake', {});

/** Waits until the run sees that. */
async function until(runId: string, phase: string, round = 0) {
  await expect.poll(async () => {
    const { request } = (await recordOf(runId)) ?? {};
    if (request === undefined) return JSON.stringify(await house.operations.describe(house.caller, runId));
    return `${request.phase} ${String(request.round)}`;
  }).toBe(`${phase} ${String(round)}`);
  return recordOf(runId);
}

/** Waits until so many have committed or revealed. */
async function count(on: TestNetwork, runId: string, what: 'commits' | 'reveals', wanted: number, round = 0) {
  await expect.poll(async () => {
    const { request } = await recordOf(runId);
    const seen = (await on.view(on.addresses.market, MARKET, 'roundOf', request.requestId, round)) as Record<string, bigint>;
    return Number(seen[what]);
  }).toBe(wanted);
}

async function ended(on: TestNetwork, runId: string): Promise<ConsensusResult> {
  await expect.poll(async () => (await on.mine(3), await wake(runId).catch(() => undefined), (await house.operations.result(house.caller, runId, 1_000)).status)).toBe('completed');
  const result = await house.operations.result(house.caller, runId, 0);
  return consensusResultSchema.parse('result' in result ? result.result : result);
}

/** The clock of the chain passes the challenge window. */
async function afterChallenges(on: TestNetwork, runId: string, round = 0) {
  await until(runId, 'challengeable', round);
  await on.later(STEP + 1);
  await wake(runId);
}

const bondOf = async (on: TestNetwork, address: string) => ((await on.view(on.addresses.registry, REGISTRY, 'neuronOf', address)) as { bond: bigint }).bond;
const owedTo = async (on: TestNetwork, address: string) => (await on.view(on.addresses.market, MARKET, 'owed', address)) as bigint;

describe('consensus on a chain', () => {
  it.each([
    { neurons: 3, wrong: 1, silent: 0, late: 0 },
    { neurons: 7, wrong: 1, silent: 1, late: 0 },
    { neurons: 21, wrong: 4, silent: 2, late: 1 },
  ])('finds the right result of $neurons neurons with a third that is wrong together, silent or late, and slashes them', async ({ neurons, wrong, silent, late }) => {
    const ours = await voters(network, `truth of ${String(neurons)}`, Array.from({ length: neurons - wrong - silent - late }, () => honest));
    const theirs = Array.from({ length: wrong + silent + late }, () => Wallet.createRandom().address);
    await network.enlist(theirs);
    const [liars, quiet, slow] = [theirs.slice(0, wrong), theirs.slice(wrong, wrong + silent), theirs.slice(wrong + silent)];
    const runId = await start(network, { voters: ours.map(({ voter }) => voter) });
    const { request } = await until(runId, 'committing');
    const requestId = request.requestId!;
    const { market } = network.addresses;
    const commitment = (voter: string) => commitmentOf({ chainId: 31337, market, requestId: BigInt(requestId), round: 0, voter }, LIE, SALT);
    for (const who of [...liars, ...quiet]) expect(await network.as(who, market, MARKET.encodeFunctionData('commit', [requestId, commitment(who)]))).toBe(true);
    await count(network, runId, 'commits', neurons - late);
    await network.later(STEP + 1);
    for (const who of slow) expect(await network.as(who, market, MARKET.encodeFunctionData('commit', [requestId, commitment(who)]))).toBe(false);
    await wake(runId);
    for (const who of liars) expect(await network.as(who, market, MARKET.encodeFunctionData('reveal', [requestId, LIE, SALT]))).toBe(true);
    await count(network, runId, 'reveals', neurons - late - silent);
    await network.later(STEP + 1);
    await wake(runId);
    await afterChallenges(network, runId);
    const slashed = BigInt(wrong) * (BOND / 2n) + BigInt(silent) * (BOND / 10n);
    expect(await ended(network, runId)).toMatchObject({ state: 'settled', resultHash: TRUTH, result: { sum: 5 }, rounds: 1, right: ours.length, wrong, silent, slashed: String(slashed) });
    const share = (NET + slashed) / BigInt(ours.length);
    for (const { address } of ours) expect([await bondOf(network, address), await owedTo(network, address)]).toEqual([BOND, share]);
    for (const who of liars) expect([await bondOf(network, who), await owedTo(network, who)]).toEqual([BOND / 2n, 0n]);
    for (const who of quiet) expect(await bondOf(network, who)).toBe((BOND * 9n) / 10n);
    for (const who of slow) expect(await bondOf(network, who)).toBe(BOND);
  });
});

describe('a dispute', () => {
  it('with more neurons overturns a majority that lied; who doubted it is rewarded', async () => {
    const first = await voters(network, 'first', [honest, liar, liar]);
    const second = await voters(network, 'second', Array.from({ length: 7 }, () => honest));
    const challenger = await network.signer('challenger');
    expect(await network.as(network.deployer.address, network.addresses.token, TOKEN.encodeFunctionData('transfer', [challenger.address, BOND]))).toBe(true);
    const runId = await start(network, { voters: first.map(({ voter }) => voter), dispute: { challenger: { signer: challenger.id, neuron: honest }, voters: second.map(({ voter }) => voter) } });
    await until(runId, 'committing');
    await count(network, runId, 'commits', 3);
    await network.later(STEP + 1);
    await wake(runId);
    await until(runId, 'committing', 1);
    await count(network, runId, 'commits', 7, 1);
    await network.later(STEP + 1);
    await wake(runId);
    await afterChallenges(network, runId, 1);
    const slashed = BOND;
    expect(await ended(network, runId)).toMatchObject({ state: 'settled', resultHash: TRUTH, rounds: 2, right: 8, wrong: 2, silent: 0, slashed: String(slashed) });
    expect(await owedTo(network, challenger.address)).toBe(BOND + slashed / 2n);
    expect(await Promise.all(first.map(({ address }) => bondOf(network, address)))).toEqual([BOND, BOND / 2n, BOND / 2n]);
  });
});

describe('consensus off the chain', () => {
  const listed = async (neurons: readonly string[], name: string) => {
    const panel = await voters(network, name, neurons);
    for (const { address } of panel) expect(await network.as(address, network.addresses.market, MARKET.encodeFunctionData('list', [PAYMENT / 10n, TRUTH, true]))).toBe(true);
    return panel;
  };

  it('is one transaction a round: a report of signed results, liars included', async () => {
    const panel = await listed([...Array.from({ length: 5 }, () => honest), liar, liar], 'panel');
    const runId = await start(network, { mode: 'off-chain', voters: panel.map(({ voter }) => voter) });
    await afterChallenges(network, runId);
    expect(await ended(network, runId)).toMatchObject({ state: 'settled', resultHash: TRUTH, result: { sum: 5 }, right: 5, wrong: 2, silent: 0, slashed: String(BOND) });
    const sent = await house.chains.transactions(house.caller, { signerId: network.deployer.id }, 100);
    expect(sent.filter(({ reference }) => reference?.startsWith(`consensus ${runId.split('~')[1]!} `)).map(({ reference }) => reference!.split(' ').at(-1))).toEqual(['settle', 'report', 'open']);
    expect(await Promise.all(panel.map(({ address }) => house.chains.transactions(house.caller, { signerId: panel.find((one) => one.address === address)!.voter.signer }, 10)))).toEqual(panel.map(() => []));
  });

  it('without a quorum of the panel gives the payment back', async () => {
    const panel = await listed([honest, honest, liar, other], 'divided');
    const before = await owedTo(network, network.deployer.address);
    const runId = await start(network, { mode: 'off-chain', voters: panel.map(({ voter }) => voter) });
    await until(runId, 'reporting');
    await network.later(2 * STEP + 1);
    await wake(runId);
    await afterChallenges(network, runId);
    expect(await ended(network, runId)).toMatchObject({ state: 'refunded', resultHash: null, result: null, slashed: '0' });
    expect(await owedTo(network, network.deployer.address)).toBe(before + PAYMENT);
  });
});

describe('a request nobody can answer', () => {
  it.each([
    { why: 'too few reveal', answers: ['honest', 'honest'] },
    { why: 'there is a tie', answers: ['honest', 'honest', 'liar', 'liar'] },
  ])('is paid back where $why', async ({ why, answers }) => {
    const ours = await voters(network, why, answers.map((answer) => (answer === 'honest' ? honest : liar)));
    const before = await owedTo(network, network.deployer.address);
    const runId = await start(network, { voters: ours.map(({ voter }) => voter) });
    await until(runId, 'committing');
    await count(network, runId, 'commits', ours.length);
    await network.later(STEP + 1);
    await wake(runId);
    await afterChallenges(network, runId);
    expect(await ended(network, runId)).toMatchObject({ state: 'refunded', resultHash: null, rounds: 1, right: 0, wrong: 0, silent: 0 });
    expect(await owedTo(network, network.deployer.address)).toBe(before + PAYMENT);
    expect(await bondOf(network, ours[0]!.address)).toBe(BOND);
  });
});

describe('what is wrong', () => {
  const failure = async (input: Readonly<Record<string, unknown>>) => {
    const result = await house.operations.result(house.caller, await start(network, input), 30_000);
    return 'failure' in result ? result.failure : result;
  };

  it('is said before anything is paid: funds, neurons, contracts, chain', async () => {
    const all = (await voters(network, 'idle', [honest, honest, honest])).map(({ voter }) => voter);
    const poor = await network.signer('poor');
    const [balance, requests] = [await network.view(network.addresses.token, TOKEN, 'balanceOf', network.deployer.address), await network.view(network.addresses.market, MARKET, 'requests')];
    expect(await failure({ voters: all, requester: poor.id })).toMatchObject({ type: 'InsufficientFunds', message: expect.stringContaining('has 0') });
    expect(await failure({ voters: [...all, { signer: poor.id, neuron: honest }] })).toMatchObject({ type: 'InvalidInput', message: expect.stringContaining('is not registered') });
    expect(await failure({ mode: 'off-chain', voters: all })).toMatchObject({ type: 'InvalidInput', message: expect.stringContaining('not for hire') });
    const chain = await house.chains.get(house.caller, network.chain);
    const draft = { name: chain.name, chainId: chain.chainId, policy: chain.policy };
    const elsewhere = await house.network({ chainId: 137 });
    await house.chains.change(house.caller, network.chain, { ...draft, rpcUrls: [elsewhere.node.url] });
    expect(await failure({ voters: all })).toMatchObject({ type: 'ChainMismatch', message: 'a node says it is of chain 137, not 31337' });
    await house.chains.change(house.caller, network.chain, { ...draft, rpcUrls: [network.node.url] });
    expect(await network.view(network.addresses.token, TOKEN, 'balanceOf', network.deployer.address)).toBe(balance);
    expect(await network.view(network.addresses.market, MARKET, 'requests')).toBe(requests);
  });

  it('is another contract at an address of a network', async () => {
    const networks = new Networks({ database: house.test.database, egress: house.egress, places: { keys: house.keys, environment: {}, folder: undefined } });
    const { token, registry, market, anchor } = network.addresses;
    const right = { name: 'again', chain: network.chain, token, registry, market, anchor };
    await expect(networks.add(house.caller, { ...right, name: 'swapped', market: anchor })).rejects.toMatchObject({ type: 'NoContract' });
    await expect(networks.add(house.caller, { ...right, name: 'nothing', anchor: network.deployer.address })).rejects.toMatchObject({ type: 'NoContract' });
    await expect(networks.add(house.caller, { ...right, name: 'other token', token: anchor })).rejects.toMatchObject({ type: 'NoContract' });
    expect(await networks.add(house.caller, right)).toMatchObject({ name: 'again', market });
    await expect(networks.add(house.caller, right)).rejects.toMatchObject({ type: 'Conflict' });
  });
});

describe('an outage', () => {
  it('of 24 hours, of workers and of the node, in the middle of a round changes nothing', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'hal9-outage-'));
    const on = await house.network({ state: join(folder, 'chain.json') });
    const ours = await voters(on, 'patient', [honest, honest, honest]);
    const runId = await start(on, { voters: ours.map(({ voter }) => voter) });
    await until(runId, 'committing');
    await count(on, runId, 'commits', 3);
    await on.later(STEP + 1);
    await house.stopWorkers();
    // Written down as it ends.
    await on.node.kill('SIGINT');
    await on.node.start();
    await on.node.call('anvil_autoImpersonateAccount', true);
    // A new process does not know how far the clock was moved.
    await on.later(STEP + 24 * 3600);
    await house.startWorkers();
    await wake(runId);
    await count(on, runId, 'reveals', 3);
    await afterChallenges(on, runId);
    expect(await ended(on, runId)).toMatchObject({ state: 'settled', resultHash: TRUTH, right: 3, slashed: '0' });
    await rm(folder, { recursive: true, force: true });
  });
});

describe('a reorganisation over a settled round', () => {
  it(`of ${DEPTHS.join(', ')} blocks: what HAL9 says follows the chain, and nobody is paid twice`, { timeout: 600_000 }, async () => {
    // Followed for longer than any is deep; nobody mines but who sends.
    const on = await house.network({}, { watchBlocks: 30 });
    const ours = await voters(on, 'rolled', [honest, honest, honest]);
    for (const { address } of ours) await on.bond(address, 4n * BOND);
    const accounts = [on.deployer.address, ...ours.map(({ address }) => address)];
    const owed = async () => (await Promise.all(accounts.map((address) => owedTo(on, address)))).reduce((sum, one) => sum + one, 0n);
    for (const [place, depth] of DEPTHS.entries()) {
      const before = await owed();
      const runId = await start(on, { voters: ours.map(({ voter }) => voter) });
      await until(runId, 'committing');
      await count(on, runId, 'commits', 3);
      await on.later(STEP + 1);
      await wake(runId);
      await afterChallenges(on, runId);
      await until(runId, 'settled');
      await on.node.call('anvil_reorg', depth, []);
      // Whatever the chain waits for by then passes.
      await expect.poll(async () => (await on.later(STEP + 1), await wake(runId), await on.ended((await recordOf(runId)).request.requestId))).toBe(true);
      await on.mine(40);
      const result = await ended(on, runId);
      const { request, votes } = await recordOf(runId);
      const real = (await on.view(on.addresses.market, MARKET, 'requestOf', request.requestId)) as { state: bigint };
      expect({ depth, state: result.state, final: request.final, phase: request.phase }).toEqual({ depth, state: real.state === 3n ? 'settled' : 'refunded', final: true, phase: result.state });
      expect(request.blockHash).toBe(((await on.node.call('eth_getBlockByNumber', `0x${request.blockNumber!.toString(16)}`, false)) as { hash: string }).hash);
      // One payment, whoever has it now.
      expect((await owed()) - before).toBe(result.state === 'settled' ? NET + BigInt(result.slashed) : PAYMENT);
      expect(await on.view(on.addresses.market, MARKET, 'requests')).toBe(BigInt(place + 1));
      expect(votes.map(({ address }) => address).toSorted()).toEqual([...((await on.view(on.addresses.market, MARKET, 'votersOf', request.requestId, request.round)) as string[])].toSorted());
    }
  });
});
