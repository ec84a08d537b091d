import { Interface, keccak256, parseEther, toUtf8Bytes } from 'ethers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { governance as governanceModule } from '../../platform/chain/contracts/governance.ts';
import { Tokens } from '../../platform/chain/tokens.ts';
import { tokenActionDraft } from '../../schemas/rest/token.ts';
import { TOKEN, createChainHouse, type ChainHouse, type TestNetwork } from './chain-house.ts';

const GOVERNANCE = new Interface(governanceModule.abi);
const DAY = 86_400;

let house: ChainHouse;
let network: TestNetwork;
let tokens: Tokens;

beforeAll(async () => {
  house = await createChainHouse();
  network = await house.network();
  tokens = new Tokens({ database: house.test.database, egress: house.egress, places: { keys: house.keys, environment: {}, folder: undefined } });
});
afterAll(() => house.close());

/** Does it, and waits until all of it is on the chain. */
async function act(signer: string, action: Readonly<Record<string, unknown>>, reference?: string) {
  const draft = tokenActionDraft.parse({ signer, action, ...(reference === undefined ? {} : { reference }) });
  const submitted = await tokens.act(house.caller, network.id, draft);
  const states = async () => Promise.all(submitted.transactions.map(async (id) => (await house.chains.transaction(house.caller, id)).transaction.state));
  await expect.poll(states).toEqual(submitted.transactions.map(() => expect.stringMatching(/^(mined|confirmed|failed)$/)));
  return { ...submitted, transactions: await Promise.all(submitted.transactions.map(async (id) => (await house.chains.transaction(house.caller, id)).transaction)) };
}

const account = (address: string) => tokens.account(house.caller, network.id, address);

describe('accounts of a network', () => {
  it('transfer, stake, are rewarded and get their stake back when the lock is over', async () => {
    const staker = await network.signer('staker');
    await act(network.deployer.id, { kind: 'transfer', to: staker.address, amount: String(parseEther('500')) });
    const [first, again] = [await act(staker.id, { kind: 'stake', amount: String(parseEther('400')), lockDays: 7 }, 'once'), await act(staker.id, { kind: 'stake', amount: String(parseEther('400')), lockDays: 7 }, 'once')];
    expect(again.transactions.map(({ id }) => id)).toEqual(first.transactions.map(({ id }) => id));
    expect(await account(staker.address)).toMatchObject({ balance: String(parseEther('100')), staked: [{ amount: String(parseEther('400')) }], neuron: null });
    const early = await act(staker.id, { kind: 'unstake', position: 0 });
    expect(early.transactions[0]).toMatchObject({ state: 'failed', failure: 'TransactionReverts', failureDetail: expect.stringContaining('StillLocked') });
    await network.later(8 * DAY);
    await act(staker.id, { kind: 'unstake', position: 0 });
    const earned = BigInt((await account(staker.address)).claimable);
    expect(earned).toBeGreaterThan(0n);
    await act(staker.id, { kind: 'claim' });
    expect(BigInt((await account(staker.address)).balance)).toBeGreaterThanOrEqual(parseEther('500') + earned);
  });

  it('register as neurons, are listed and leave with their bond', async () => {
    const neuron = await network.signer('neuron');
    await act(network.deployer.id, { kind: 'transfer', to: neuron.address, amount: String(parseEther('1500')) });
    const made = await act(neuron.id, { kind: 'register', roles: ['compute', 'arbitrate'], bond: String(parseEther('1000')), identity: keccak256(toUtf8Bytes('me')) });
    expect(made.transactions.map(({ outcome }) => outcome)).toEqual(['succeeded', 'succeeded']);
    await act(neuron.id, { kind: 'list', price: String(parseEther('5')), details: keccak256(toUtf8Bytes('sums')) });
    expect((await account(neuron.address)).neuron).toEqual({ bond: String(parseEther('1000')), reputation: 5_000, openRounds: 0, roles: ['compute', 'arbitrate'] });
    await act(neuron.id, { kind: 'leave' });
    await network.later(7 * DAY + 1);
    await act(neuron.id, { kind: 'exit' });
    expect(await account(neuron.address)).toMatchObject({ balance: String(parseEther('1500')), neuron: null });
  });

  it('propose, vote, and have what was decided executed after it has waited', async () => {
    const voter = network.deployer;
    await act(voter.id, { kind: 'delegate', to: voter.address });
    await network.later(1);
    const { token } = network.addresses;
    const proposal = { calls: [{ to: token, data: TOKEN.encodeFunctionData('transfer', [voter.address, 0n]) }], description: 'Move nothing.' };
    const { proposal: id } = await act(voter.id, { kind: 'propose', ...proposal });
    const state = async () => network.view(network.addresses.governance, GOVERNANCE, 'state', id);
    await network.later(DAY + 1);
    expect((await act(voter.id, { kind: 'vote', proposal: id, support: 'for' })).transactions[0]).toMatchObject({ outcome: 'succeeded' });
    expect((await act(voter.id, { kind: 'vote', proposal: id, support: 'for' })).transactions[0]).toMatchObject({ state: 'failed' });
    await network.later(7 * DAY + 1);
    expect(await act(voter.id, { kind: 'queue', ...proposal })).toMatchObject({ proposal: id });
    expect(await state()).toBe(5n);
    await network.later(2 * DAY + 1);
    await act(voter.id, { kind: 'execute', ...proposal });
    expect(await state()).toBe(7n);
  });
});
