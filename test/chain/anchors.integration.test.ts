import { spawnSync } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Interface, id as keccakOf } from 'ethers';
import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BadProof, parseProof, verifyProof } from '../../clients/anchor/verify.ts';
import { Anchors } from '../../platform/chain/anchors.ts';
import { memoryAnchor } from '../../platform/chain/contracts/memory-anchor.ts';
import { SubjectKeys } from '../../platform/keys/subject-keys.ts';
import { Memories } from '../../platform/memory/memories.ts';
import { subjectHashes } from '../../platform/privacy/identities.ts';
import { transactionDraft } from '../../schemas/rest/chains.ts';
import { createChainHouse, type ChainHouse, type TestNetwork } from './chain-house.ts';

const ROOT = join(import.meta.dirname, '../..');
const ANCHOR = new Interface(memoryAnchor.abi);
/** Gas of an item besides data, at the most. */
const GAS_AN_ITEM = 100;

let house: ChainHouse;
let network: TestNetwork;
let anchors: Anchors;
let folder: string;

beforeAll(async () => {
  [house, folder] = await Promise.all([createChainHouse(), mkdtemp(join(tmpdir(), 'hal9-anchor-'))]);
  // Followed for longer than the reorganisation is deep.
  network = await house.network({}, { watchBlocks: 30 });
  anchors = new Anchors({ database: house.test.database, egress: house.egress, places: { keys: house.keys, environment: {}, folder: undefined } });
});
afterAll(async () => {
  await house.close();
  await rm(folder, { recursive: true, force: true });
});

const items = (name: string, count: number) => Array.from({ length: count }, (_, n) => keccakOf(`${name} ${String(n)}`));
/** A second try finds what the first has made. */
const unlike = (name: string): string => `${name} ${randomUUID()}`;
const create = (name: string, source: 'hashes' | 'audit' | 'memory' = 'hashes') => anchors.create(house.caller, { name: unlike(name), network: network.id, signer: network.deployer.id, source });

async function run(stream: string) {
  const { runId } = await house.operations.start(house.caller, { operation: 'anchor', input: { stream }, origin: 'api' });
  return house.operations.result(house.caller, runId, 50_000);
}

describe('anchoring', () => {
  it('puts ten thousand hashes under one transaction, whose proofs hold in Solidity and in TypeScript', async () => {
    const stream = await create('many');
    const hashes = items('many', 10_001);
    expect(await anchors.add(house.caller, stream.id, hashes)).toBe(10_001);
    expect(await anchors.add(house.caller, stream.id, hashes.slice(0, 5))).toBe(0);
    await expect(anchors.proof(house.caller, stream.id, hashes[0]!)).rejects.toMatchObject({ type: 'Conflict' });
    await expect(anchors.proof(house.caller, stream.id, keccakOf('never'))).rejects.toMatchObject({ type: 'NotFound' });
    expect(await run(stream.id)).toMatchObject({ status: 'completed', result: { batches: 2, hashes: 10_001 } });
    const [second, first] = await anchors.batches(house.caller, stream.id, 10);
    expect([first, second]).toMatchObject([{ position: 0, count: 10_000 }, { position: 1, count: 1 }]);
    expect(first!.gasUsed! / first!.count).toBeLessThan(GAS_AN_ITEM);
    for (const hash of [hashes[0]!, hashes[4_321]!, hashes[9_999]!, hashes[10_000]!]) {
      const proof = await anchors.proof(house.caller, stream.id, hash);
      const on = (asked: string) => network.view(network.addresses.anchor, ANCHOR, 'verify', network.deployer.address, stream.stream, proof.position, asked, proof.proof);
      expect([await on(hash), await on(keccakOf('never'))]).toEqual([true, false]);
      expect(await verifyProof(proof, network.node.url)).toMatchObject({ included: true, anchored: true });
      expect(await verifyProof({ ...proof, hash: keccakOf('never') }, network.node.url)).toMatchObject({ included: false });
      expect(await verifyProof({ ...proof, position: 7 }, network.node.url)).toMatchObject({ included: true, anchored: false });
      expect(await verifyProof({ ...proof, chainId: 1 }, network.node.url)).toMatchObject({ included: true, anchored: false });
    }
    // Nothing waits: nothing is sent.
    expect(await run(stream.id)).toMatchObject({ result: { batches: 0, hashes: 0 } });
  });

  it('counts a batch to the step that sent it, which is tried again after its batch was mined', async () => {
    const stream = await create('again');
    await anchors.add(house.caller, stream.id, items(stream.name, 3));
    const advance = async (step: string) => anchors.advance(house.caller.orgId, stream.id, step, AbortSignal.timeout(50_000));
    // Each try of the first step: the worker was lost before its answer was taken.
    expect(await advance('first')).toEqual({ hashes: 3 });
    await anchors.add(house.caller, stream.id, items(unlike('later'), 2));
    expect(await advance('first')).toEqual({ hashes: 3 });
    expect(await advance('second')).toEqual({ hashes: 2 });
    expect(await advance('third')).toBeUndefined();
    expect(await anchors.batches(house.caller, stream.id, 10)).toMatchObject([{ position: 1, count: 2 }, { position: 0, count: 3 }]);
  });

  it('leaves a batch alone that is on the chain though its transaction came to nothing', async () => {
    const stream = await create('carried');
    await anchors.add(house.caller, stream.id, items(stream.name, 1));
    expect(await run(stream.id)).toMatchObject({ result: { batches: 1, hashes: 1 } });
    await sql`update chain_transactions set state = 'cancelled' where org_id = ${house.caller.orgId} and reference = ${`anchor ${stream.id} 0`}`.execute(house.test.database.system);
    expect(await run(stream.id)).toMatchObject({ result: { batches: 0, hashes: 0 } });
  });

  it('takes the newest checkpoint of the audit log each time', async () => {
    const stream = await create('audit', 'audit');
    const notes = ['first note', 'second note'];
    for (const [place, note] of notes.entries()) {
      await sql`insert into audit_checkpoints (org_id, size, note, signer, witness) values (${house.caller.orgId}, ${place + 1}, ${note}, 's', 'w')`.execute(house.test.database.system);
      expect(await run(stream.id)).toMatchObject({ result: { batches: 1, hashes: 1 } });
      expect(await run(stream.id)).toMatchObject({ result: { batches: 0, hashes: 0 } });
      const proof = await anchors.proof(house.caller, stream.id, `0x${createHash('sha256').update(note).digest('hex')}`);
      expect(proof.position).toBe(place);
      expect(await verifyProof(proof, network.node.url)).toMatchObject({ anchored: true });
    }
  });

  it('takes what was remembered, and its proofs outlive the key of whom it is about', async () => {
    const subjects = new SubjectKeys({ database: house.test.database, keys: house.keys });
    const memories = new Memories({ database: house.test.database, keys: house.keys, subjects });
    const stream = await create('memory', 'memory');
    const [ofHost, ofAda] = [await memories.remember(house.caller, { kind: 'fact', topic: 'cpu', content: { load: 4 } }), await memories.remember(house.caller, { kind: 'outcome', topic: 'call', subject: 'email:ada@example.net', content: { answered: true } })];
    expect(await run(stream.id)).toMatchObject({ result: { batches: 1, hashes: 2 } });
    expect(await run(stream.id)).toMatchObject({ result: { batches: 0, hashes: 0 } });
    const { sealed } = await memories.get(house.caller, ofAda.id);
    await subjects.destroy(house.caller.orgId, subjectHashes(house.keys, house.caller.orgId, { email: ['ada@example.net'] }));
    await expect(memories.get(house.caller, ofAda.id)).rejects.toMatchObject({ type: 'NotFound' });
    await memories.forget(house.caller, ofHost.id);
    for (const digest of [ofHost.digest, `0x${createHash('sha256').update(sealed).digest('hex')}`]) expect(await verifyProof(await anchors.proof(house.caller, stream.id, digest), network.node.url)).toMatchObject({ included: true, anchored: true });
    await memories.remember(house.caller, { kind: 'fact', topic: 'cpu', content: { load: 5 } });
    expect(await run(stream.id)).toMatchObject({ result: { batches: 1, hashes: 1 } });
  });

  it('is once, whatever a reorganisation takes away', async () => {
    const stream = await create('rolled');
    for (const name of ['a', 'b', 'c']) {
      await anchors.add(house.caller, stream.id, items(name, 2));
      expect(await run(stream.id)).toMatchObject({ result: { batches: 1 } });
    }
    await network.node.call('anvil_reorg', 2, []);
    await expect.poll(async () => (await network.mine(), await network.view(network.addresses.anchor, ANCHOR, 'lengthOf', network.deployer.address, stream.stream))).toBe(3n);
    for (const [position, name] of ['a', 'b', 'c'].entries()) {
      const proof = await anchors.proof(house.caller, stream.id, items(name, 2)[1]!);
      expect(proof.position).toBe(position);
      expect(await verifyProof(proof, network.node.url)).toMatchObject({ anchored: true });
    }
  });

  it('takes one transaction for the batches of several streams that wait together', async () => {
    // One in flight, and blocks when they are asked for: while a payment waits for its block, so do the batches.
    const crowded = await house.network({}, { maxInFlight: 1 });
    const payer = await crowded.signer('payer');
    const { id, node, addresses } = crowded;
    await node.call('evm_setAutomine', false);
    const paid = await house.chains.submit(house.caller, transactionDraft.parse({ signer: payer.id, to: `0x${'ab'.repeat(20)}`, value: '1' }));
    const states = async () => (await house.chains.transactions(house.caller, { signerId: payer.id }, 20)).map(({ state, calls }) => `${state} ${String(calls)}`);
    await expect.poll(states).toEqual(['pending null']);
    const streams = await Promise.all(['x', 'y', 'z'].map((name) => anchors.create(house.caller, { name: unlike(`together ${name}`), network: id, signer: payer.id, source: 'hashes' })));
    for (const stream of streams) await anchors.add(house.caller, stream.id, items(stream.name, 2));
    const runs = streams.map((stream) => run(stream.id));
    await expect.poll(states).toEqual(['queued null', 'queued null', 'queued null', 'pending null']);
    await node.call('evm_setAutomine', true);
    await node.call('anvil_mine', '0x1');
    expect(await Promise.all(runs)).toMatchObject(streams.map(() => ({ status: 'completed', result: { batches: 1, hashes: 2 } })));
    const views = (await Promise.all(streams.map((stream) => anchors.batches(house.caller, stream.id, 1)))).flat();
    // A step that began before the last of them waited may take the others only.
    expect(new Set(views.map(({ transaction }) => transaction)).size).toBeLessThan(streams.length);
    for (const stream of streams) {
      const proof = await anchors.proof(house.caller, stream.id, items(stream.name, 2)[1]!);
      expect(proof.contract).toBe(addresses.anchor);
      expect(await verifyProof(proof, node.url)).toMatchObject({ included: true, anchored: true });
    }
    expect((await house.chains.transaction(house.caller, paid.transaction.id)).transaction.nonce).toBe(0);
  });

  it('is checked by hal9 anchor verify, without a server', async () => {
    const stream = await create('command');
    await anchors.add(house.caller, stream.id, items('command', 3));
    await run(stream.id);
    const proof = await anchors.proof(house.caller, stream.id, items('command', 3)[2]!);
    const file = join(folder, 'proof.json');
    await writeFile(file, JSON.stringify(proof));
    const hal9 = (...args: string[]) => spawnSync(process.execPath, [join(ROOT, 'cli/anchor.ts'), 'verify', ...args], { encoding: 'utf8', timeout: 60_000 });
    expect(hal9(file)).toMatchObject({ status: 0, stdout: expect.stringMatching(/^ok: the hash is under the root/) });
    expect(JSON.parse(hal9(file, '--rpc', network.node.url, '--json').stdout)).toMatchObject({ ok: true, anchored: true });
    await writeFile(file, JSON.stringify({ ...proof, hash: keccakOf('another') }));
    expect(hal9(file)).toMatchObject({ status: 1, stdout: expect.stringMatching(/^NOT PROVEN/) });
    await writeFile(file, '{}');
    expect(hal9(file)).toMatchObject({ status: 2 });
    expect(hal9()).toMatchObject({ status: 2, stderr: expect.stringContaining('Usage') });
    expect(() => parseProof('no')).toThrow(BadProof);
  });
});
