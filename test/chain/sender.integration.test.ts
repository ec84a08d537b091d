import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Interface, Wallet, getAddress, id as keccakOf, parseEther, recoverAddress } from 'ethers';
import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { memoryAnchor } from '../../platform/chain/contracts/memory-anchor.ts';
import { ChainSender } from '../../platform/chain/sender.ts';
import { openSignerKey } from '../../platform/chain/signer-key.ts';
import { Egress } from '../../platform/connections/egress.ts';
import { transactionDraft } from '../../schemas/rest/chains.ts';
import { startKmsServer, type KmsServer } from '../environment/kms-server.ts';
import { PAYEE as SOMEBODY, createSenderHouse, type SenderHouse } from './sender-house.ts';

const anchors = new Interface(memoryAnchor.abi);

let house: SenderHouse;
let test: SenderHouse['test'];
let egress: SenderHouse['egress'];
let caller: SenderHouse['caller'];
let environment: SenderHouse['environment'];
let folder: string;

beforeAll(async () => {
  house = await createSenderHouse();
  ({ test, egress, caller, environment, folder } = house);
});
afterAll(() => house.close());

const places = () => house.places;
const chains = () => house.chains;
const anvil: SenderHouse['anvil'] = (options) => house.anvil(options);
const network: SenderHouse['network'] = (options, policy) => house.network(options, policy);

describe('the sender of a chain', () => {
  it('sends on Ethereum, Polygon and Arbitrum at once, each with its chain id and its nonces', async () => {
    const networks = await Promise.all([1, 137, 42161].map((chainId) => network({ chainId })));
    await Promise.all(
      networks.map(async ({ node, signer, submit, until, mine, sender, events }) => {
        const ids = [];
        for (let n = 0; n < 5; n += 1) ids.push(await submit({ reference: `payment ${String(n)}` }));
        const done = [];
        for (const id of ids) done.push(await until(id, 'confirmed', 1));
        expect(done.map(({ nonce }) => nonce)).toEqual([0, 1, 2, 3, 4]);
        expect(done.map(({ outcome }) => outcome)).toEqual(Array.from({ length: 5 }, () => 'succeeded'));
        expect(await node.call('eth_getTransactionCount', signer.address, 'latest')).toBe('0x5');
        await mine(10);
        await sender.step();
        expect(await sender.step()).toEqual({ confirmed: 0, nextInMs: null });
        expect(await events(ids[0]!)).toEqual(['submitted', 'signed', 'mined', 'confirmed', 'final']);
      }),
    );
  });

  it('deploys and calls a contract, and says why one would revert before anything is paid', async () => {
    const { signer, submit, until, node } = await network({ chainId: 31337 });
    const deployed = await until(await submit({ to: undefined, value: '0', data: memoryAnchor.bytecode }), 'confirmed', 1);
    const to = deployed.contractAddress!;
    const call = (position: number) => anchors.encodeFunctionData('anchor', [`0x${'11'.repeat(32)}`, position, `0x${'22'.repeat(32)}`, 3]);
    expect(await until(await submit({ to, value: '0', data: call(0) }), 'confirmed', 1)).toMatchObject({ outcome: 'succeeded' });
    const wrong = await until(await submit({ to, value: '0', data: call(0) }), 'failed', 1);
    expect(wrong).toMatchObject({ failure: 'TransactionReverts', failureDetail: 'WrongPosition(1)', nonce: null });
    expect(await until(await submit({ to: SOMEBODY, value: '0', data: call(1) }), 'failed', 1)).toMatchObject({ failure: 'NoContract' });
    expect(await until(await submit({ value: String(parseEther('11')) }), 'failed', 1)).toMatchObject({ failure: 'InsufficientFunds', nonce: null });
    // What is given up leaves no gap.
    expect(await until(await submit(), 'confirmed', 1)).toMatchObject({ nonce: 2 });
    // Mined, and reverted there: the estimate was skipped.
    expect(await until(await submit({ to, value: '0', data: call(0), gasLimit: 200_000 }), 'confirmed', 1)).toMatchObject({ outcome: 'reverted' });
    expect(await node.call('eth_getTransactionCount', signer.address, 'latest')).toBe('0x4');
  });

  it('is one transaction for one reference', async () => {
    const { submit, signer } = await network({ chainId: 31337 });
    const first = await submit({ reference: 'order 7' });
    expect(await submit({ reference: 'order 7' })).toBe(first);
    await expect(submit({ reference: 'order 7', value: '2' })).rejects.toMatchObject({ type: 'IdempotencyMismatch' });
    const many = await Promise.all(Array.from({ length: 10 }, () => submit({ reference: 'order 8' })));
    expect(new Set(many).size).toBe(1);
    expect(await chains().transactions(caller, { signerId: signer.id }, 10)).toHaveLength(2);
  });

  it('writes many down at once, all or none, in their order', async () => {
    const { submit, signer, until, events } = await network({ chainId: 31337 });
    const before = await submit({ reference: 'wage 1' });
    const draft = (n: number, rest: Readonly<Record<string, unknown>> = {}) => transactionDraft.parse({ signer: signer.id, to: SOMEBODY, value: '1', reference: `wage ${String(n)}`, ...rest });
    await expect(chains().submitAll(caller, [draft(2), draft(1, { value: '2' }), draft(3)])).rejects.toMatchObject({ type: 'IdempotencyMismatch', errors: [{ path: '/transactions/1/reference' }] });
    await expect(chains().submitAll(caller, [draft(2), draft(3, { to: '0x00000000219ab540356cBB839Cbe05303d7705FA' })])).rejects.toMatchObject({ type: 'InvalidInput', errors: [{ path: '/transactions/1/to' }] });
    await expect(chains().submitAll(caller, [draft(2), draft(3, { signer: crypto.randomUUID() })])).rejects.toMatchObject({ type: 'NotFound' });
    expect(await chains().transactions(caller, { signerId: signer.id }, 10)).toHaveLength(1);
    const asked = [draft(4), draft(1), draft(2), draft(4), draft(3)];
    const made = await chains().submitAll(caller, asked);
    expect(made.map(({ transaction }) => transaction.reference)).toEqual(['wage 4', 'wage 1', 'wage 2', 'wage 4', 'wage 3']);
    expect([made[1]!.transaction.id, made[3]!.transaction.id]).toEqual([before, made[0]!.transaction.id]);
    expect(made.map(({ created }) => created)).toEqual([true, false, true, false, true]);
    // The same request many times at once, and in another order.
    const again = await Promise.all([asked, asked.toReversed(), asked].map((drafts) => chains().submitAll(caller, drafts)));
    expect(new Set(again.flat().map(({ created }) => created))).toEqual(new Set([false]));
    const { rows } = await sql<{ acts: number }>`select count(*)::float8 as acts from audit_acts where action = 'chain-transaction.submit' and details->>'signer' = ${signer.id}`.execute(test.database.system);
    expect(rows).toEqual([{ acts: 4 }]);
    const done = [];
    for (const { transaction } of [made[1]!, made[0]!, made[2]!, made[4]!]) done.push(await until(transaction.id, 'confirmed', 1));
    expect(done.map(({ nonce }) => nonce)).toEqual([0, 1, 2, 3]);
    expect(await events(made[4]!.transaction.id)).toEqual(['submitted', 'signed', 'mined', 'confirmed']);
  });

  it('sends many in a few steps, asks for their receipts by block, and sends none again that its node has', async () => {
    const { signer, mine, node } = await network({ chainId: 31337, blockSeconds: 0 }, { maxInFlight: 1_000, pollMs: 1_000 });
    const asked = new Map<string, number>();
    const counted = new Egress({ allowPrivate: true });
    const request: Egress['request'] = (url, options) => {
      for (const { method } of JSON.parse(options.body ?? '[]') as { method: string }[]) asked.set(method, (asked.get(method) ?? 0) + 1);
      return counted.request(url, options);
    };
    const sender = new ChainSender({ database: test.database, egress: { request }, places: places() }, caller.orgId, signer.id);
    const drafts = Array.from({ length: 110 }, (_, n) => transactionDraft.parse({ signer: signer.id, to: SOMEBODY, value: '1', reference: `n${String(n)}` }));
    await chains().submitAll(caller, drafts);
    // The first step estimates the gas of a hundred and sends those, and says that more may be sent at once.
    expect(await sender.step()).toEqual({ confirmed: 0, nextInMs: 0 });
    expect(await sender.step()).toEqual({ confirmed: 0, nextInMs: 1_000 });
    expect(asked.get('eth_sendRawTransaction')).toBe(110);
    const quietFor = (seconds: number) => test.database.withOrg(caller.orgId, (tx) => sql`update chain_attempts a set broadcast_at = clock_timestamp() - make_interval(secs => ${seconds}) from chain_transactions t where t.id = a.transaction_id and t.signer_id = ${signer.id}`.execute(tx));
    await quietFor(10);
    await sender.step();
    expect(asked.get('eth_sendRawTransaction')).toBe(110);
    // A node may count wrongly: after a long time it is sent again all the same.
    await quietFor(100_000);
    await sender.step();
    expect(asked.get('eth_sendRawTransaction')).toBeGreaterThan(110);
    await mine(2);
    await sender.step();
    await sender.step();
    const { rows } = await test.database.withOrg(caller.orgId, (tx) => sql<{ state: string; nonces: number }>`select state, count(distinct nonce)::float8 as nonces from chain_transactions where signer_id = ${signer.id} group by state`.execute(tx));
    expect(rows).toEqual([{ state: 'confirmed', nonces: 110 }]);
    expect(asked.get('eth_getBlockReceipts')).toBeGreaterThan(0);
    expect(asked.get('eth_getTransactionReceipt')).toBeLessThan(60);
    expect(await node.call('eth_getTransactionCount', signer.address, 'latest')).toBe('0x6e');
    await counted.close();
  });

  it('raises fees of what is not mined, and waits while the chain asks for more than the cap', async () => {
    const { node, signer, submit, until, mine, sender, read } = await network({ chainId: 31337, blockSeconds: 0 }, { maxFeePerGas: '20000000000' });
    await node.call('anvil_setNextBlockBaseFeePerGas', '0x3b9aca00');
    await mine();
    const id = await submit();
    await until(id, 'pending');
    // The base fee leaps over what was offered; the block leaves the transaction out.
    await node.call('anvil_setNextBlockBaseFeePerGas', `0x${(8_000_000_000).toString(16)}`);
    await mine();
    await expect.poll(async () => (await sender.step(), (await chains().transaction(caller, id)).attempts.length)).toBeGreaterThan(1);
    // And over the cap: now it waits, and so do others.
    await node.call('anvil_setNextBlockBaseFeePerGas', `0x${(60_000_000_000).toString(16)}`);
    await mine();
    const later = await submit();
    await expect.poll(async () => (await sender.step(), (await chains().signer(caller, signer.id)).trouble)).toBe('FeeAboveCap');
    expect((await read(later)).state).toBe('queued');
    expect((await read(id)).state).toBe('pending');
    // The cause goes away: healed within three blocks.
    await node.call('anvil_setNextBlockBaseFeePerGas', '0x3b9aca00');
    await mine();
    const before = Number(await node.call('eth_blockNumber'));
    expect((await until(later, 'mined', 1)).blockNumber! - before).toBeLessThanOrEqual(3);
    expect(['mined', 'confirmed']).toContain((await read(id)).state);
    expect((await chains().signer(caller, signer.id)).trouble).toBeNull();
  });

  it('sends again what the node dropped', async () => {
    const { node, submit, until, mine, sender } = await network({ chainId: 31337, blockSeconds: 0 });
    const id = await submit();
    await until(id, 'pending');
    const { attempts } = await chains().transaction(caller, id);
    await node.call('anvil_dropTransaction', attempts[0]!.hash);
    await expect.poll(async () => (await sender.step(), (await chains().transaction(caller, id)).attempts.reduce((sum, { broadcasts }) => sum + broadcasts, 0))).toBeGreaterThan(1);
    await mine();
    expect(await until(id, 'mined')).toMatchObject({ outcome: 'succeeded' });
  });

  it('cancels what waits at once, and what was sent by a transaction of no effect', async () => {
    const { node, submit, until, mine } = await network({ chainId: 31337, blockSeconds: 0 });
    const [waiting, sent] = [await submit(), await submit()];
    expect(await chains().cancel(caller, waiting)).toMatchObject({ state: 'cancelled' });
    await until(sent, 'pending');
    await chains().cancel(caller, sent);
    const before = await node.call('eth_getBalance', SOMEBODY, 'latest');
    await expect.poll(async () => (await until(sent, 'pending'), (await chains().transaction(caller, sent)).attempts.at(-1)!.kind)).toBe('cancel');
    await mine();
    expect(await until(sent, 'mined')).toMatchObject({ outcome: 'cancelled', nonce: 0 });
    expect(await node.call('eth_getBalance', SOMEBODY, 'latest')).toBe(before);
    await expect(chains().cancel(caller, sent)).rejects.toMatchObject({ type: 'Conflict' });
  });

  it('follows reorganisations of 1 to 12 blocks over confirmed transactions, and none is mined twice', { timeout: 300_000 }, async () => {
    const { node, signer, submit, until, events, mine } = await network({ chainId: 31337 }, { watchBlocks: 100 });
    for (let depth = 1; depth <= 12; depth += 1) {
      // Those of the depths before stay where they are.
      await mine(depth);
      const ids = [await submit(), await submit(), await submit()];
      await until(ids[2]!, 'mined');
      // All but one block of the reorganisation lie on top: those below are confirmed by then.
      if (depth > 3) await mine(depth - 3);
      if (depth > 3) for (const id of ids) await until(id, 'confirmed');
      const received = await node.call('eth_getBalance', SOMEBODY, 'latest');
      await node.call('anvil_reorg', depth, []);
      const after = [];
      for (const id of ids) after.push(await until(id, 'confirmed', 1));
      for (const { blockNumber, blockHash } of after) {
        expect(await node.call('eth_getBlockByNumber', `0x${blockNumber!.toString(16)}`, false)).toMatchObject({ hash: blockHash });
      }
      expect(await node.call('eth_getBalance', SOMEBODY, 'latest'), `depth ${String(depth)}`).toBe(received);
      expect(await node.call('eth_getTransactionCount', signer.address, 'latest')).toBe(`0x${(3 * depth).toString(16)}`);
      expect((await Promise.all(ids.map(events))).flat()).toContain('rolled-back');
    }
  });

  it('takes final transactions up again when a reorganisation was deeper than any it follows, once the signer sends again', async () => {
    const { node, signer, sender, submit, until, read, events, mine } = await network({ chainId: 31337 });
    await mine(20);
    const ids = [await submit(), await submit(), await submit()];
    const done = [];
    for (const id of ids) done.push(await until(id, 'confirmed', 1));
    await mine(10);
    await sender.step();
    expect(await sender.step()).toEqual({ confirmed: 0, nextInMs: null });
    const received = BigInt(String(await node.call('eth_getBalance', SOMEBODY, 'latest')));
    await node.call('anvil_reorg', Number(await node.call('eth_blockNumber')) - done[0]!.blockNumber! + 2, []);
    expect(await node.call('eth_getTransactionCount', signer.address, 'latest')).toBe('0x0');
    // Nobody looks at them any more.
    expect(await sender.step()).toEqual({ confirmed: 0, nextInMs: null });
    expect((await read(ids[0]!)).state).toBe('confirmed');
    const next = await submit();
    expect(await until(next, 'confirmed', 1)).toMatchObject({ nonce: 3, outcome: 'succeeded' });
    for (const [nonce, id] of ids.entries()) expect(await until(id, 'confirmed', 1)).toMatchObject({ nonce, outcome: 'succeeded' });
    expect(BigInt(String(await node.call('eth_getBalance', SOMEBODY, 'latest')))).toBe(received + 1n);
    expect(await node.call('eth_getTransactionCount', signer.address, 'latest')).toBe('0x4');
    for (const id of ids) expect(await events(id)).toEqual(expect.arrayContaining(['final', 'rolled-back']));
  });

  it('heals a counter ahead of the chain, and a nonce that was used elsewhere', async () => {
    const { node, signer, submit, until, events } = await network({ chainId: 31337, blockSeconds: 0 });
    await test.database.withOrg(caller.orgId, (tx) => sql`update chain_signers set next_nonce = 90 where id = ${signer.id}`.execute(tx));
    const id = await submit();
    expect(await until(id, 'pending')).toMatchObject({ nonce: 0 });
    // Somebody else with the same key was quicker.
    await node.call('anvil_dropAllTransactions');
    await node.call('anvil_setNonce', signer.address, '0x1');
    expect(await until(id, 'confirmed', 1)).toMatchObject({ nonce: 1, outcome: 'succeeded' });
    expect(await events(id)).toContain('nonce-lost');
  });

  it('goes on when its node is back, says what is wrong meanwhile, and uses another one', async () => {
    const { node, chain, draft, signer, submit, until, sender, read } = await network({ chainId: 137 });
    await node.kill();
    const id = await submit();
    await sender.step();
    expect(await chains().signer(caller, signer.id)).toMatchObject({ trouble: 'ChainUnreachable' });
    const other = await anvil({ chainId: 1 });
    await chains().change(caller, chain.id, { ...draft, rpcUrls: [node.url, other.url] });
    await sender.step();
    expect(await chains().signer(caller, signer.id)).toMatchObject({ trouble: 'ChainMismatch', troubleDetail: 'a node says it is of chain 1, not 137' });
    expect((await read(id)).state).toBe('queued');
    await node.start();
    await node.call('anvil_setBalance', signer.address, `0x${parseEther('1').toString(16)}`);
    await until(id, 'mined');
    expect((await chains().signer(caller, signer.id)).trouble).toBeNull();
  });

  it('counts as confirmed only what a quorum of nodes has', async () => {
    const { node, chain, draft, submit, until, sender, read, mine } = await network({ chainId: 31337 });
    const other = await anvil({ chainId: 31337 });
    await chains().change(caller, chain.id, { ...draft, rpcUrls: [node.url, other.url], policy: { ...draft.policy, quorum: 2 } });
    const id = await submit();
    await until(id, 'mined');
    await mine(5);
    await other.call('anvil_mine', '0xa');
    await sender.step();
    await sender.step();
    // The second node has other blocks at that height.
    expect((await read(id)).state).toBe('mined');
    await chains().change(caller, chain.id, draft);
    await until(id, 'confirmed');
  });

  it('goes on where a process ended between nonce and signature, and between signature and sending', async () => {
    const { submit, until, signer } = await network({ chainId: 31337 });
    const [unsigned, other] = [await submit({ gasLimit: 21_000 }), await submit()];
    await test.database.withOrg(caller.orgId, (tx) => sql`update chain_transactions set state = 'pending', nonce = 0 where id = ${unsigned}`.execute(tx));
    expect(await until(unsigned, 'confirmed', 1)).toMatchObject({ nonce: 0 });
    expect(await until(other, 'confirmed', 1)).toMatchObject({ nonce: 1 });
    expect(await chains().signer(caller, signer.id)).toMatchObject({ trouble: null });
  });

  it('lets two senders of one signer work at once without a second sending', async () => {
    const { node, signer, submit, until } = await network({ chainId: 31337 });
    const ids = await Promise.all(Array.from({ length: 20 }, () => submit()));
    const second = new ChainSender({ database: test.database, egress, places: places() }, caller.orgId, signer.id);
    const third = new ChainSender({ database: test.database, egress, places: places() }, caller.orgId, signer.id);
    await Promise.all([second.step(), third.step(), second.step(), third.step()]);
    for (const id of ids) await until(id, 'confirmed', 1);
    expect(await node.call('eth_getTransactionCount', signer.address, 'latest')).toBe('0x14');
    expect(BigInt(String(await node.call('eth_getBalance', SOMEBODY, 'latest')))).toBe(20n);
  });
});

describe('keys of signers', () => {
  it('come from variables and files of their organisation only', async () => {
    const { chain } = await network({ chainId: 31337 });
    const [one, two] = [Wallet.createRandom(), Wallet.createRandom()];
    environment['HAL9_CHAIN_KEY_MINE'] = `${caller.orgId}:${one.privateKey}`;
    environment['HAL9_CHAIN_KEY_THEIRS'] = `${crypto.randomUUID()}:${two.privateKey}`;
    await mkdir(join(folder, caller.orgId));
    await writeFile(join(folder, caller.orgId, 'treasury'), two.privateKey.slice(2));
    await writeFile(join(folder, caller.orgId, 'broken'), 'nothing');
    expect(await chains().createSigner(caller, { name: 'from a variable', chain: chain.id, key: { kind: 'env', name: 'MINE' } })).toMatchObject({ address: one.address, sealedKey: null });
    expect(await chains().createSigner(caller, { name: 'from a file', chain: chain.id, key: { kind: 'file', name: 'treasury' } })).toMatchObject({ address: two.address });
    await expect(chains().createSigner(caller, { name: 'again', chain: chain.id, key: { kind: 'file', name: 'treasury' } })).rejects.toMatchObject({ type: 'Conflict' });
    for (const key of [{ kind: 'env', name: 'THEIRS' }, { kind: 'env', name: 'NONE' }, { kind: 'file', name: 'none' }, { kind: 'file', name: 'broken' }] as const) {
      await expect(chains().createSigner(caller, { name: `signer ${key.name}`, chain: chain.id, key })).rejects.toMatchObject({ type: 'SignerUnavailable' });
    }
  });

  describe('in a key management service', () => {
    let kms: KmsServer;
    beforeAll(async () => {
      kms = await startKmsServer();
      for (const [name, value] of Object.entries({ AWS_ENDPOINT_URL_KMS: kms.url, AWS_REGION: 'eu-central-1', AWS_ACCESS_KEY_ID: 'test', AWS_SECRET_ACCESS_KEY: 'test' })) vi.stubEnv(name, value);
    });
    afterAll(async () => {
      vi.unstubAllEnvs();
      await kms.close();
    });
    const open = (key: string) => {
      environment['HAL9_CHAIN_KMS_TRIED'] = `${caller.orgId}:${key}`;
      return openSignerKey(places(), caller.orgId, crypto.randomUUID(), { kind: 'kms', name: 'TRIED', sealed: null });
    };

    it('sign what is sent, and never with another key', async () => {
      const { chain, node } = await network({ chainId: 31337 });
      const address = kms.signing('key-1');
      kms.signing('key-2');
      kms.move('alias/treasury', 'key-1');
      environment['HAL9_CHAIN_KMS_TREASURY'] = `${caller.orgId}:alias/treasury`;
      const signer = await chains().createSigner(caller, { name: 'in a service', chain: chain.id, key: { kind: 'kms', name: 'TREASURY' } });
      expect(signer).toMatchObject({ address, keyKind: 'kms', keyName: 'TREASURY', sealedKey: null });
      await node.call('anvil_setBalance', address, `0x${parseEther('1').toString(16)}`);
      const sender = new ChainSender({ database: test.database, egress, places: places() }, caller.orgId, signer.id);
      const drafts = (names: readonly string[]) => names.map((reference) => transactionDraft.parse({ signer: signer.id, to: SOMEBODY, value: '1', gasLimit: 21_000, reference }));
      const confirmed = async () => (await sender.step(), await node.call('anvil_mine', '0x1'), (await chains().transactions(caller, { signerId: signer.id, state: 'confirmed' }, 50)).length);
      await chains().submitAll(caller, drafts(Array.from({ length: 20 }, (_, n) => `n${String(n)}`)));
      await expect.poll(confirmed).toBe(20);
      expect(kms.asked.filter((operation) => operation === 'Sign')).toHaveLength(20);
      // The alias moves to another key: nothing is sent with it, and all goes on once it is back.
      kms.move('alias/treasury', 'key-2');
      await chains().submitAll(caller, drafts(['later']));
      await sender.step();
      expect(await chains().signer(caller, signer.id)).toMatchObject({ trouble: 'SignerUnavailable', troubleDetail: `the key management service signed with another key than that of ${address}` });
      kms.move('alias/treasury', 'key-1');
      await expect.poll(confirmed).toBe(21);
      expect(await node.call('eth_getTransactionCount', address, 'latest')).toBe('0x15');
      expect((await chains().signer(caller, signer.id)).trouble).toBeNull();
    });

    it('give the lower s and the parity, whichever form the service answers in', async () => {
      const address = kms.signing('key-3');
      const key = await open('key-3');
      expect(key.address).toBe(getAddress(address));
      for (let n = 0; n < 16; n += 1) {
        const digest = keccakOf(`message ${String(n)}`);
        const signature = await key.sign(digest);
        expect(recoverAddress(digest, signature)).toBe(address);
        // EIP-2: the upper half is not valid on a chain.
        expect(BigInt(signature.s) <= 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0n).toBe(true);
      }
    });

    it('hide votes by a key for HMAC', async () => {
      kms.signing('key-4');
      kms.mac('mac-1');
      const key = await open('key-4,mac-1');
      const first = await key.derive('ballot 1');
      expect(first).toMatch(/^0x[0-9a-f]{64}$/);
      expect([await key.derive('ballot 1'), await key.derive('ballot 2') === first]).toEqual([first, false]);
      await expect((await open('key-4')).derive('ballot 1')).rejects.toMatchObject({ type: 'SignerUnavailable' });
    });

    it('are those of their organisation, of the right kind, and say nothing of the account when refused', async () => {
      kms.otherCurve('key-5');
      await expect(open('key-5')).rejects.toMatchObject({ type: 'SignerUnavailable', message: 'the key in the key management service is not of the curve secp256k1 (ECC_SECG_P256K1)' });
      await expect(open('nothing')).rejects.toMatchObject({ type: 'SignerUnavailable', message: 'the key management service does not help: NotFoundException' });
      environment['HAL9_CHAIN_KMS_THEIRS'] = `${crypto.randomUUID()}:key-3`;
      for (const name of ['THEIRS', 'NONE']) await expect(openSignerKey(places(), caller.orgId, crypto.randomUUID(), { kind: 'kms', name, sealed: null })).rejects.toMatchObject({ type: 'SignerUnavailable', message: `HAL9_CHAIN_KMS_${name} names no key of this organisation` });
    });
  });
});
