import { randomUUID } from 'node:crypto';
import { Interface, id as keccakOf } from 'ethers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ChainTransactionStore } from '../../database/chain-transactions.ts';
import { memoryAnchor } from '../../platform/chain/contracts/memory-anchor.ts';
import { ChainSender } from '../../platform/chain/sender.ts';
import type { Egress } from '../../platform/connections/egress.ts';
import { transactionDraft } from '../../schemas/rest/chains.ts';
import type { Anvil } from '../environment/anvil.ts';
import { PAYEE, createSenderHouse, type SenderHouse } from './sender-house.ts';

const ANCHORS = new Interface(memoryAnchor.abi);
/** Code that reverts whatever it is asked: `PUSH0 PUSH0 REVERT`. */
const REVERTING = '0x5f5ffd';
/** Code that takes whatever it is asked and says nothing: `STOP`. */
const SILENT = '0x00';
const ROOT = `0x${'22'.repeat(32)}`;

let house: SenderHouse;
beforeAll(async () => {
  house = await createSenderHouse();
});
afterAll(() => house.close());

const streamOf = (n: number): string => keccakOf(`stream ${String(n)}`);
const anchoring = (stream: number, position = 0): string => ANCHORS.encodeFunctionData('anchor', [streamOf(stream), position, ROOT, 3]);

async function deploy(node: Anvil): Promise<string> {
  const [from] = (await node.call('eth_accounts')) as string[];
  const hash = await node.call('eth_sendTransaction', { from, data: memoryAnchor.bytecode, gas: '0x4c4b40' });
  await node.call('anvil_mine', '0x1');
  return ((await node.call('eth_getTransactionReceipt', hash)) as { contractAddress: string }).contractAddress;
}

/** A chain that makes blocks when it is told, with a contract of anchors on it. */
async function network(policy: Readonly<Record<string, unknown>> = {}) {
  const made = await house.network({ chainId: 31337, blockSeconds: 0 }, policy);
  const { node, signer, sender, until } = made;
  const contract = await deploy(node);
  const { chains, caller } = house;
  const call = (data: string, rest: Readonly<Record<string, unknown>> = {}) => transactionDraft.parse({ signer: signer.id, to: contract, data, batch: true, ...rest });
  const submit = async (drafts: readonly ReturnType<typeof call>[]) => (await chains.submitAll(caller, drafts)).map(({ transaction }) => transaction.id);
  const lengthOf = async (stream: number) => Number(await node.call('eth_call', { to: contract, data: ANCHORS.encodeFunctionData('lengthOf', [signer.address, streamOf(stream)]) }, 'latest'));
  const lengths = async (count: number) => Promise.all(Array.from({ length: count }, (_, n) => lengthOf(n)));
  const nonce = async () => Number(await node.call('eth_getTransactionCount', signer.address, 'latest'));
  const all = async (ids: readonly string[]) => Promise.all(ids.map(async (id) => (await chains.transaction(caller, id)).transaction));
  const carriers = async () => (await chains.transactions(caller, { signerId: signer.id }, 50)).filter(({ calls }) => calls !== null).toReversed();
  /** Sent and not mined. */
  const sent = async (ids: readonly string[]) => {
    for (const id of ids) await until(id, 'pending');
    await sender.step();
    return all(ids);
  };
  const confirmed = async (ids: readonly string[]) => {
    for (const id of ids) await until(id, 'confirmed', 1);
    return all(ids);
  };
  return { ...made, contract, call, submitAll: submit, lengths, lengthOf, nonce, all, carriers, sent, confirmed };
}

const ones = (count: number): number[] => Array.from({ length: count }, () => 1);

describe('submissions that leave together', () => {
  it('are one transaction, each with its state, events and share of the gas, and are mined once', async () => {
    const { call, submitAll, sent, all, until, mine, sender, nonce, lengths, events, carriers, signer } = await network();
    const ids = await submitAll(Array.from({ length: 5 }, (_, n) => call(anchoring(n), { reference: `stream ${String(n)}` })));
    const [first] = await sent(ids);
    const [carrier, ...others] = await carriers();
    expect(others).toEqual([]);
    expect(carrier).toMatchObject({ calls: 5, nonce: 0, reference: null, carrierId: null, state: 'pending' });
    expect(first).toMatchObject({ carrierId: carrier!.id, calls: null, nonce: null, state: 'pending' });
    // The signed versions are those of the carrier, and sending them again is up to it.
    const { attempts } = await house.chains.transaction(house.caller, ids[3]!);
    expect(attempts).toEqual((await house.chains.transaction(house.caller, carrier!.id)).attempts);
    expect(attempts).toHaveLength(1);
    await mine();
    await until(ids[0]!, 'mined');
    await mine(1);
    // Confirmed are submissions, not transactions: as many as without batches.
    expect(await sender.step()).toMatchObject({ confirmed: 5 });
    const [done] = await all([carrier!.id]);
    expect(done).toMatchObject({ state: 'confirmed', outcome: 'succeeded', hash: attempts[0]!.hash });
    for (const member of await all(ids)) expect(member).toMatchObject({ state: 'confirmed', outcome: 'succeeded', hash: done!.hash, blockNumber: done!.blockNumber, blockHash: done!.blockHash, gasUsed: Math.floor(done!.gasUsed! / 5), gasPrice: done!.gasPrice });
    expect(await lengths(5)).toEqual(ones(5));
    expect(await nonce()).toBe(1);
    await mine(5);
    await sender.step();
    expect(await sender.step()).toEqual({ confirmed: 0, nextInMs: null });
    for (const id of ids) expect(await events(id)).toEqual(['submitted', 'batched', 'signed', 'mined', 'confirmed', 'final']);
    expect(await events(carrier!.id)).toEqual(['submitted', 'signed', 'mined', 'confirmed', 'final']);
    // The same reference is the same submission, however it travels.
    const again = await house.chains.submitAll(house.caller, [call(anchoring(0), { reference: 'stream 0', batch: false })]);
    expect(again).toMatchObject([{ created: false, transaction: { id: ids[0] } }]);
    expect(await house.chains.signer(house.caller, signer.id)).toMatchObject({ trouble: null });
  });

  it('keep their order among themselves and with what is between them, also where one rests on another', async () => {
    const { call, submitAll, confirmed, carriers, nonce, lengthOf, node, contract } = await network();
    const second = await deploy(node);
    const ids = await submitAll([
      ...[0, 1, 2].map((position) => call(anchoring(0, position))),
      call('0x', { to: PAYEE, value: '1', batch: false }),
      call(anchoring(0, 3)),
      call(anchoring(0, 4)),
      call(anchoring(0), { to: second }),
      call(anchoring(1), { to: second }),
      call(anchoring(2), { to: second, maxFeePerGas: '90000000000' }),
    ]);
    const done = await confirmed(ids);
    expect((await carriers()).map(({ calls, nonce: place, to }) => [calls, place, to?.toLowerCase()])).toEqual([[3, 0, contract], [2, 2, contract], [2, 3, second]]);
    expect(done.map(({ carrierId }) => carrierId !== null)).toEqual([true, true, true, false, true, true, true, true, false]);
    expect([done[3]!.nonce, done[8]!.nonce]).toEqual([1, 4]);
    expect(await lengthOf(0)).toBe(5);
    expect(await nonce()).toBe(5);
  });

  it('are not taken down by one that would be reverted: it says its own reason, and costs nothing', async () => {
    const { call, submitAll, confirmed, all, until, nonce, lengths, events, carriers } = await network();
    const ids = await submitAll([call(anchoring(0)), call(anchoring(1)), call(anchoring(2, 7)), call(anchoring(2)), call(anchoring(3)), call(anchoring(4))]);
    const [bad] = ids.splice(2, 1);
    await confirmed(ids);
    expect(await until(bad!, 'failed')).toMatchObject({ failure: 'TransactionReverts', failureDetail: 'WrongPosition(0)', nonce: null, carrierId: null, gasUsed: null });
    expect(await events(bad!)).toEqual(['submitted', 'failed']);
    expect((await all(ids)).map(({ outcome }) => outcome)).toEqual(['succeeded', 'succeeded', 'succeeded', 'succeeded', 'succeeded']);
    expect((await carriers()).map(({ calls }) => calls)).toEqual([2, 3]);
    expect(await lengths(5)).toEqual(ones(5));
    expect(await nonce()).toBe(2);
  });

  it('go on alone, each once, when their transaction was reverted after all, and the one at fault says why', async () => {
    const { call, submitAll, sent, all, mine, sender, node, signer, contract, read, until, confirmed, lengths, nonce, events, carriers } = await network();
    const ids = await submitAll([0, 1, 2].map((n) => call(anchoring(n))));
    await sent(ids);
    // The contract changes between the estimate and the block.
    const code = await node.call('eth_getCode', contract, 'latest');
    await node.call('anvil_setCode', contract, REVERTING);
    await mine();
    const [carrier] = await carriers();
    expect(await until(carrier!.id, 'mined')).toMatchObject({ outcome: 'reverted' });
    // A reorganisation could still let it succeed: nobody goes on before it is deep enough.
    expect((await all(ids)).map(({ state, outcome, hash }) => [state, outcome, hash])).toEqual(ids.map(() => ['pending', null, null]));
    await node.call('anvil_setCode', contract, code);
    // Meanwhile somebody with the same key does what the second one was to do.
    await node.call('anvil_impersonateAccount', signer.address);
    await node.call('eth_sendTransaction', { from: signer.address, to: contract, data: anchoring(1), gas: '0x4c4b40' });
    await mine(2);
    expect(await sender.step()).toMatchObject({ confirmed: 0 });
    expect((await all(ids)).map(({ state, carrierId, batch }) => [state, carrierId, batch])).toEqual(ids.map(() => ['queued', null, false]));
    await confirmed([ids[0]!, ids[2]!]);
    expect(await until(ids[1]!, 'failed', 1)).toMatchObject({ failure: 'TransactionReverts', failureDetail: 'WrongPosition(1)' });
    expect(await lengths(3)).toEqual(ones(3));
    expect(await events(ids[0]!)).toEqual(['submitted', 'batched', 'signed', 'unbatched', 'signed', 'mined', 'confirmed']);
    expect(await nonce()).toBe(4);
    expect(await read(carrier!.id)).toMatchObject({ outcome: 'reverted', calls: 3 });
  });

  it('follow a reorganisation of their transaction, and are there once', { timeout: 120_000 }, async () => {
    const { call, submitAll, sent, confirmed, mine, node, lengths, nonce, events, all } = await network({ watchBlocks: 100 });
    for (const [round, depth] of [2, 3, 6].entries()) {
      await mine(depth);
      const ids = await submitAll([0, 1, 2].map((n) => call(anchoring(10 * round + n))));
      await sent(ids);
      await mine();
      const before = await confirmed(ids);
      await mine(Math.max(0, depth - Number(await node.call('eth_blockNumber')) + before[0]!.blockNumber! - 1));
      await node.call('anvil_reorg', Number(await node.call('eth_blockNumber')) - before[0]!.blockNumber! + 1, []);
      const after = await confirmed(ids);
      expect(await node.call('eth_getBlockByNumber', `0x${after[0]!.blockNumber!.toString(16)}`, false)).toMatchObject({ hash: after[0]!.blockHash });
      expect((await all(ids)).map(({ blockHash, carrierId }) => [blockHash, carrierId])).toEqual(ids.map(() => [after[0]!.blockHash, before[0]!.carrierId]));
      for (const id of ids) expect(await events(id), `depth ${String(depth)}`).toContain('rolled-back');
      expect((await lengths(10 * round + 3)).slice(10 * round)).toEqual(ones(3));
      expect(await nonce()).toBe(round + 1);
    }
  });

  it('are sent in the transaction that was reverted when a reorganisation gives it another chance', async () => {
    const { call, submitAll, sent, mine, node, contract, until, confirmed, lengths, nonce, carriers, events } = await network();
    const ids = await submitAll([0, 1, 2].map((n) => call(anchoring(n))));
    await mine(2);
    await sent(ids);
    const code = await node.call('eth_getCode', contract, 'latest');
    await node.call('anvil_setCode', contract, REVERTING);
    await mine();
    const [carrier] = await carriers();
    await until(carrier!.id, 'mined');
    await node.call('anvil_reorg', 1, []);
    await node.call('anvil_setCode', contract, code);
    await confirmed(ids);
    expect(await lengths(3)).toEqual(ones(3));
    expect(await nonce()).toBe(1);
    expect(await events(ids[0]!)).toEqual(['submitted', 'batched', 'signed', 'mined', 'confirmed']);
    expect(await events(carrier!.id)).toEqual(expect.arrayContaining(['rolled-back', 'confirmed']));
  });

  it('stay with what they did alone when a reorganisation deeper than the policy brings the reverted one back: that is cancelled', async () => {
    const { call, submitAll, sent, mine, node, contract, until, confirmed, lengths, nonce, carriers, read } = await network({ watchBlocks: 100 });
    const ids = await submitAll([0, 1, 2].map((n) => call(anchoring(n))));
    await mine(5);
    await sent(ids);
    const code = await node.call('eth_getCode', contract, 'latest');
    await node.call('anvil_setCode', contract, REVERTING);
    await mine();
    const [carrier] = await carriers();
    const reverted = await until(carrier!.id, 'mined');
    await node.call('anvil_setCode', contract, code);
    await confirmed(ids);
    await node.call('anvil_reorg', Number(await node.call('eth_blockNumber')) - reverted.blockNumber! + 1, []);
    // What the reorganisation puts back among what waits would be mined as it was.
    await node.call('anvil_dropAllTransactions');
    await node.call('anvil_setCode', contract, code);
    const attempts = async () => (await until(carrier!.id, 'pending'), (await house.chains.transaction(house.caller, carrier!.id)).attempts.at(-1)?.kind);
    await expect.poll(attempts).toBe('cancel');
    for (const id of ids) await until(id, 'confirmed', 1);
    expect(await read(carrier!.id)).toMatchObject({ outcome: 'cancelled', nonce: 0 });
    expect(await lengths(3)).toEqual(ones(3));
    expect(await nonce()).toBe(4);
  });

  it('get higher fees together, wait together for the cap, and are sent again together when they are dropped', async () => {
    const { call, submitAll, sent, mine, node, sender, signer, confirmed, lengths, nonce, events, carriers } = await network({ maxFeePerGas: '20000000000' });
    await node.call('anvil_setNextBlockBaseFeePerGas', '0x3b9aca00');
    await mine();
    const ids = await submitAll([0, 1, 2].map((n) => call(anchoring(n))));
    await sent(ids);
    const [carrier] = await carriers();
    const versions = async () => (await sender.step(), (await house.chains.transaction(house.caller, carrier!.id)).attempts);
    await node.call('anvil_dropTransaction', (await versions())[0]!.hash);
    await expect.poll(async () => (await versions())[0]!.broadcasts).toBeGreaterThan(1);
    await node.call('anvil_setNextBlockBaseFeePerGas', `0x${(8_000_000_000).toString(16)}`);
    await mine();
    await expect.poll(async () => (await versions()).length).toBeGreaterThan(1);
    await node.call('anvil_setNextBlockBaseFeePerGas', `0x${(60_000_000_000).toString(16)}`);
    await mine();
    const later = await submitAll([3, 4].map((n) => call(anchoring(n))));
    await expect.poll(async () => (await sender.step(), (await house.chains.signer(house.caller, signer.id)).trouble)).toBe('FeeAboveCap');
    await node.call('anvil_setNextBlockBaseFeePerGas', '0x3b9aca00');
    await confirmed([...ids, ...later]);
    expect(await events(ids[1]!)).toContain('bumped');
    expect((await carriers()).map(({ calls }) => calls)).toEqual([3, 2]);
    expect(await lengths(5)).toEqual(ones(5));
    expect(await nonce()).toBe(2);
  });

  it('leave the batch when they are cancelled before it has a nonce; afterwards all of them or none', async () => {
    const { call, submitAll, sent, sender, mine, until, lengths, carriers, all, events, read } = await network();
    const { chains, caller } = house;
    const ids = await submitAll([0, 1, 2, 3].map((n) => call(anchoring(n))));
    expect(await chains.cancel(caller, ids[1]!)).toMatchObject({ state: 'cancelled', carrierId: null });
    const going = ids.filter((_, n) => n !== 1);
    await sent(going);
    const [carrier] = await carriers();
    expect(carrier).toMatchObject({ calls: 3 });
    await expect(chains.cancel(caller, ids[2]!)).rejects.toMatchObject({ type: 'Conflict', message: `it left with others in ${carrier!.id}: cancel that to cancel all of them` });
    await chains.cancel(caller, carrier!.id);
    await expect.poll(async () => (await sender.step(), (await chains.transaction(caller, ids[2]!)).attempts.at(-1)!.kind)).toBe('cancel');
    await mine();
    expect(await until(ids[2]!, 'mined')).toMatchObject({ outcome: 'cancelled', hash: (await read(carrier!.id)).hash });
    expect((await all(going)).map(({ state, outcome }) => [state, outcome])).toEqual(going.map(() => ['mined', 'cancelled']));
    expect(await events(ids[0]!)).toEqual(['submitted', 'batched', 'signed', 'cancel-requested', 'bumped', 'mined']);
    expect(await lengths(4)).toEqual([0, 0, 0, 0]);
    await expect(chains.cancel(caller, ids[0]!)).rejects.toMatchObject({ type: 'Conflict', message: 'the transaction is mined, or over' });
  });

  it('wait again, and leave in another transaction, when somebody else used the nonce', async () => {
    const { call, submitAll, sent, mine, node, signer, confirmed, lengths, carriers, events, sender } = await network();
    const ids = await submitAll([0, 1, 2].map((n) => call(anchoring(n))));
    await sent(ids);
    await node.call('anvil_dropAllTransactions');
    await node.call('anvil_setNonce', signer.address, '0x1');
    await mine(3);
    await sender.step();
    await confirmed(ids);
    expect((await carriers()).map(({ state, calls, nonce }) => [state, calls, nonce])).toEqual([['cancelled', 3, null], ['confirmed', 3, 1]]);
    expect(await events(ids[0]!)).toEqual(['submitted', 'batched', 'signed', 'unbatched', 'batched', 'signed', 'mined', 'confirmed']);
    expect(await lengths(3)).toEqual(ones(3));
  });

  it('are sent once where a process ended between nonce and signature, or between signature and sending', async () => {
    const { call, submitAll, confirmed, contract, signer, lengths, nonce } = await network();
    const { test, caller, places } = house;
    const store = new ChainTransactionStore(test.database);
    const members = await submitAll([0, 1].map((n) => call(anchoring(n))));
    const data = new Interface(['function multicall(bytes[] data)']).encodeFunctionData('multicall', [[anchoring(0), anchoring(1)]]);
    await store.allocate(caller.orgId, signer.id, [{ id: randomUUID(), gas: 400_000, carrier: { to: contract, data: Buffer.from(data.slice(2), 'hex'), maxFee: null, members } }], 0);
    const attempts = async () => (await house.chains.transaction(caller, members[0]!)).attempts.map(({ hash, broadcasts }) => [hash, broadcasts]);
    expect(await attempts()).toEqual([]);
    // The next process signs it, and ends when the node is to get the bytes.
    const request: Egress['request'] = (url, options) => {
      if (options.body?.includes('eth_sendRawTransaction') === true) throw new Error('the process ended');
      return house.egress.request(url, options);
    };
    await new ChainSender({ database: test.database, egress: { request }, places }, caller.orgId, signer.id).step();
    const [[hash, broadcasts]] = (await attempts()) as [[string, number]];
    expect([broadcasts, await nonce()]).toEqual([0, 0]);
    const later = await submitAll([2, 3].map((n) => call(anchoring(n))));
    const done = await confirmed([...members, ...later]);
    expect(done.map((one) => one.hash === hash)).toEqual([true, true, false, false]);
    expect(await lengths(4)).toEqual(ones(4));
    expect(await nonce()).toBe(2);
  });

  it('are in one transaction each, however many senders work at once', async () => {
    const { call, submitAll, confirmed, signer, lengths, carriers } = await network({ maxBatch: 7 });
    const ids = await submitAll(Array.from({ length: 30 }, (_, n) => call(anchoring(n))));
    const others = Array.from({ length: 3 }, () => new ChainSender({ database: house.test.database, egress: house.egress, places: house.places }, house.caller.orgId, signer.id));
    await Promise.all(others.map((sender) => sender.step()));
    await confirmed(ids);
    expect(await lengths(30)).toEqual(ones(30));
    const made = await carriers();
    expect(made.reduce((sum, { calls }) => sum + calls!, 0)).toBe(30);
    expect(Math.max(...made.map(({ calls }) => calls!))).toBe(7);
  });

  it('are no more than a hundred, no more than fit into a transaction, and no more than a quarter of a block', { timeout: 120_000 }, async () => {
    const { call, submitAll, confirmed, signer, lengths, carriers, node, nonce, all } = await network({ maxInFlight: 1_000 });
    const ids = await submitAll(Array.from({ length: 260 }, (_, n) => call(anchoring(n))));
    await confirmed(ids);
    const made = await carriers();
    const { gasLimit } = (await node.call('eth_getBlockByNumber', 'latest', false)) as { gasLimit: string };
    for (const { calls, gasLimit: gas } of made) expect([calls! <= 100, gas! <= Number(gasLimit) / 4]).toEqual([true, true]);
    expect(await lengths(260)).toEqual(ones(260));
    expect(await nonce()).toBeLessThanOrEqual(5);
    expect(await nonce()).toBe(made.length);
    // Much data: 40 kB each, of which two fit.
    await node.call('anvil_setBlockGasLimit', '0x5f5e100');
    await node.call('anvil_mine', '0x1');
    await node.call('anvil_setBalance', signer.address, '0x56bc75e2d63100000');
    const large = await submitAll([300, 301, 302].map((n) => call(`${anchoring(n)}${'00'.repeat(40_000)}`)));
    await confirmed(large);
    expect((await all(large)).map(({ carrierId }) => carrierId !== null)).toEqual([true, true, false]);
  });

  it('leave each by itself where the contract does not take several, or the policy says so', async () => {
    const { call, submitAll, confirmed, until, node, contract, nonce, carriers, chain, draft } = await network();
    const silent = '0x00000000000000000000000000000000000000bb';
    await node.call('anvil_setCode', silent, SILENT);
    await confirmed(await submitAll([0, 1].map((n) => call(anchoring(n), { to: silent }))));
    const nobody = await submitAll([0, 1].map((n) => call(anchoring(n), { to: PAYEE })));
    for (const id of nobody) expect(await until(id, 'failed', 1)).toMatchObject({ failure: 'NoContract' });
    expect([await carriers(), await nonce()]).toEqual([[], 2]);
    await house.chains.change(house.caller, chain.id, { ...draft, policy: { ...draft.policy, maxBatch: 1 } });
    await confirmed(await submitAll([0, 1].map((n) => call(anchoring(n), { to: contract }))));
    expect([await carriers(), await nonce()]).toEqual([[], 4]);
  });

  it('are calls of a contract without value and without a limit of their own', () => {
    const one = { signer: randomUUID(), to: PAYEE, data: '0x12345678', batch: true };
    expect(transactionDraft.safeParse(one).success).toBe(true);
    for (const wrong of [{ value: '1' }, { gasLimit: 50_000 }, { to: undefined }]) expect(transactionDraft.safeParse({ ...one, ...wrong }).error?.issues).toMatchObject([{ path: ['batch'] }]);
  });
});
