import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { bundleWorkflowCode, NativeConnection, Runtime, Worker } from '@temporalio/worker';
import { parseEther } from 'ethers';
import pino from 'pino';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { createChainActivities } from '../../activities/chain/index.ts';
import { ChainTransactionStore } from '../../database/chain-transactions.ts';
import { Chains } from '../../platform/chain/chains.ts';
import { Egress } from '../../platform/connections/egress.ts';
import { systemCaller, type Caller } from '../../platform/identity/caller.ts';
import { KeyRing } from '../../platform/keys/key-ring.ts';
import type { Operations } from '../../platform/operations/contract.ts';
import { createOperations } from '../../platform/operations/operations.ts';
import transaction from '../../schemas/operations/transaction.ts';
import { chainDraft, transactionDraft } from '../../schemas/rest/chains.ts';
import { createChainAnnouncer } from '../../workers/dispatcher/chain.ts';
import { startAnvil, type Anvil } from '../environment/anvil.ts';
import { createTestDatabase, type TestDatabase } from '../environment/database.ts';
import { createTestNamespace } from '../environment/temporal.ts';

const logger = pino({ level: 'silent' });
const silent = { log() {}, trace() {}, debug() {}, info() {}, warn() {}, error() {} };
const keys = new KeyRing([{ id: 'test', key: randomBytes(32) }]);

let test: TestDatabase;
let operations: Operations;
let chains: Chains;
let egress: Egress;
let connection: Connection;
let native: NativeConnection;
let workers: Worker[];
let serving: Promise<void>[];
let caller: Caller;
let node: Anvil;

beforeAll(async () => {
  Runtime.install({ logger: silent });
  const address = inject('temporalAddress');
  const namespace = await createTestNamespace();
  [test, connection, native, node] = await Promise.all([createTestDatabase(), Connection.connect({ address }), NativeConnection.connect({ address }), startAnvil({ chainId: 31337 })]);
  const workflowBundle = await bundleWorkflowCode({ workflowsPath: join(import.meta.dirname, '../../workflows/transaction/index.ts'), logger: silent });
  egress = new Egress({ allowPrivate: true });
  const places = { keys, environment: {}, folder: undefined };
  chains = new Chains({ database: test.database, places });
  workers = await Promise.all([
    Worker.create({ connection: native, namespace, taskQueue: 'core', workflowBundle }),
    Worker.create({ connection: native, namespace, taskQueue: 'chain', activities: { ...createChainActivities({ database: test.database, egress, places }, 2_000) } }),
  ]);
  serving = workers.map((worker) => worker.run());
  operations = createOperations({ client: new Client({ connection, namespace }), database: test.database, contracts: new Map([[transaction.name, transaction]]), keys, logger });
  caller = systemCaller(await test.organisation(), 'test');
});
afterAll(async () => {
  for (const worker of workers) worker.shutdown();
  await Promise.all(serving);
  await operations.close();
  await node.kill();
  await egress.close();
  await connection.close();
  await native.close();
  await test.drop();
});

describe('the run of a signer', () => {
  it('sends what is submitted, one run however many there are, and ends when all is final', async () => {
    const chain = await chains.create(caller, chainDraft.parse({ name: 'local', chainId: 31337, rpcUrls: [node.url], policy: { pollMs: 50, watchBlocks: 1 } }));
    const signer = await chains.createSigner(caller, { name: 'payer', chain: chain.id, key: { kind: 'kept' } });
    await node.call('anvil_setBalance', signer.address, `0x${parseEther('1').toString(16)}`);
    const drain = createChainAnnouncer({ transactions: new ChainTransactionStore(test.database), operations, logger });
    const submit = async (n: number) => (await chains.submit(caller, transactionDraft.parse({ signer: signer.id, to: `0x${'ab'.repeat(20)}`, value: '1', reference: `n${String(n)}` }))).transaction.id;
    const ids = await Promise.all(Array.from({ length: 30 }, (_, n) => submit(n)));
    await drain.run(new AbortController().signal);
    const more = await Promise.all(Array.from({ length: 10 }, (_, n) => submit(30 + n)));
    await drain.run(new AbortController().signal);
    const settled = async () => (await chains.transactions(caller, { signerId: signer.id, state: 'confirmed' }, 100)).length;
    await expect.poll(async () => (await node.call('anvil_mine', '0x1'), settled())).toBe(40);
    const done = await Promise.all([...ids, ...more].map(async (id) => (await chains.transaction(caller, id)).transaction));
    expect(done.map(({ nonce }) => nonce).toSorted((a, b) => Number(a) - Number(b))).toEqual(Array.from({ length: 40 }, (_, n) => n));
    expect(new Set(done.map(({ outcome }) => outcome))).toEqual(new Set(['succeeded']));
    const { runId, created } = await operations.start(caller, { operation: 'transaction', input: { signerId: signer.id }, origin: 'dispatcher' });
    expect(created).toBe(false);
    await node.call('anvil_mine', '0xa');
    expect(await operations.result(caller, runId, 30_000)).toMatchObject({ status: 'completed', result: { confirmed: 40 } });
  });
});
