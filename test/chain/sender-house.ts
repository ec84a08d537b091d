import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseEther } from 'ethers';
import { Chains } from '../../platform/chain/chains.ts';
import { ChainSender } from '../../platform/chain/sender.ts';
import type { KeyPlaces } from '../../platform/chain/signer-key.ts';
import { Egress } from '../../platform/connections/egress.ts';
import { systemCaller, type Caller } from '../../platform/identity/caller.ts';
import { KeyRing } from '../../platform/keys/key-ring.ts';
import { chainDraft, transactionDraft } from '../../schemas/rest/chains.ts';
import { startAnvil, type Anvil, type AnvilOptions } from '../environment/anvil.ts';
import { createTestDatabase, type TestDatabase } from '../environment/database.ts';

/** An account that nobody has a key of. */
export const PAYEE = '0x00000000000000000000000000000000000000aa';

/** A database with one organisation, and chains on nodes of its own whose signers are driven step by step, without Temporal. */
export interface SenderHouse {
  readonly test: TestDatabase;
  readonly egress: Egress;
  readonly caller: Caller;
  readonly places: KeyPlaces;
  /** Variables that keys of signers may be in. */
  readonly environment: Record<string, string>;
  /** Folder that keys of signers may be in. */
  readonly folder: string;
  readonly chains: Chains;
  anvil(options: AnvilOptions): Promise<Anvil>;
  /** A chain, a signer with ten coins, and what drives it. */
  network(options: AnvilOptions, policy?: Readonly<Record<string, unknown>>): Promise<SenderNetwork>;
  close(): Promise<void>;
}

export type SenderNetwork = Awaited<ReturnType<typeof createNetwork>>;

export async function createSenderHouse(): Promise<SenderHouse> {
  const [test, folder] = await Promise.all([createTestDatabase(), mkdtemp(join(tmpdir(), 'hal9-chain-'))]);
  const egress = new Egress({ allowPrivate: true });
  const caller = systemCaller(await test.organisation(), 'test');
  const environment: Record<string, string> = {};
  const places = { keys: new KeyRing([{ id: 'test', key: randomBytes(32) }]), environment, folder };
  const chains = new Chains({ database: test.database, places });
  const nodes: Anvil[] = [];
  const anvil = async (options: AnvilOptions): Promise<Anvil> => {
    const node = await startAnvil(options);
    nodes.push(node);
    return node;
  };
  return {
    test,
    egress,
    caller,
    places,
    environment,
    folder,
    chains,
    anvil,
    network: async (options, policy = {}) => createNetwork({ test, egress, caller, places, chains }, await anvil(options), options.chainId, policy),
    async close() {
      await Promise.all(nodes.map((node) => node.kill()));
      await egress.close();
      await test.drop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function createNetwork({ test, egress, caller, places, chains }: Pick<SenderHouse, 'test' | 'egress' | 'caller' | 'places' | 'chains'>, node: Anvil, chainId: number, policy: Readonly<Record<string, unknown>>) {
  const draft = chainDraft.parse({ name: `chain ${node.url}`, chainId, rpcUrls: [node.url], policy: { pollMs: 50, bumpAfterSeconds: 1, confirmations: 2, watchBlocks: 3, ...policy } });
  const chain = await chains.create(caller, draft);
  const signer = await chains.createSigner(caller, { name: `signer ${node.url}`, chain: chain.id, key: { kind: 'kept' } });
  await node.call('anvil_setBalance', signer.address, `0x${parseEther('10').toString(16)}`);
  const sender = new ChainSender({ database: test.database, egress, places }, caller.orgId, signer.id);
  const submit = async (rest: Readonly<Record<string, unknown>> = {}) => (await chains.submit(caller, transactionDraft.parse({ signer: signer.id, to: PAYEE, value: '1', ...rest }))).transaction.id;
  const read = async (id: string) => (await chains.transaction(caller, id)).transaction;
  /** Steps, with blocks in between where the node makes none, until the transaction is so far. */
  const until = async (id: string, state: string, blocks = 0) => {
    for (let attempt = 0; attempt < 400; attempt += 1) {
      await sender.step();
      const found = await read(id);
      if (found.state === state) return found;
      if (blocks > 0 && attempt % 4 === 3) await node.call('anvil_mine', `0x${blocks.toString(16)}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    throw new Error(`never ${state}: ${JSON.stringify(await chains.transaction(caller, id))} ${JSON.stringify(await chains.signer(caller, signer.id))}`);
  };
  const mine = (blocks = 1) => node.call('anvil_mine', `0x${blocks.toString(16)}`);
  const events = async (id: string) => (await chains.transaction(caller, id)).events.map(({ what }) => what);
  return { node, chain, draft, signer, sender, submit, read, until, mine, events };
}
