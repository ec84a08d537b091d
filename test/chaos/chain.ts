import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { startStack, type Stack } from '../../deploy/local/stack.ts';
import type { Bench } from '../bench/arguments.ts';
import { startAnvil, type Anvil } from '../environment/anvil.ts';
import { askAsAdministrator, type Ask } from '../environment/stack-client.ts';

const FULL = { submits: 500, kills: 10 } as const;
const SMOKE = { submits: 40, kills: 1 } as const;
/** Chain id of the local chain. */
const CHAIN = 31337;
/** Time everything has to be confirmed after the last kill. */
const SETTLE_MS = 300_000;
const PAUSE_MS = 1_000;
/** The process that sends. */
const WORKER = 'core-1';

const madeSchema = z.object({ id: z.uuid() });
const signerSchema = madeSchema.extend({ address: z.string() });
const pageSchema = z.object({ items: z.array(z.object({ id: z.string(), nonce: z.int().nullable() })), nextCursor: z.string().nullable() });

/**
 * All transactions are submitted at once for one key, each of one wei to a recipient of its own, while the node of the chain and the worker that sends are
 * killed and come back in turn. `minedOnce`: recipients that got exactly one wei. `gaps`: nonces of the signer that none of them has. `manualSteps`: transactions that would
 * need a person: not confirmed in the end. Options: `--smoke`, `--submits N`, `--kills N`.
 */
export const run: Bench = async (args) => {
  const preset = args.options['smoke'] === undefined ? FULL : SMOKE;
  const submits = args.number('submits', preset.submits);
  const kills = args.number('kills', preset.kills);
  const began = performance.now();
  const stack = await startStack({
    settings: { HAL9_DATA: join(args.folder, 'data'), HAL9_PORT: '0', HAL9_RATE_LIMIT: '0', HAL9_ALLOW_PRIVATE_ADDRESSES: 'true' },
    processes: ['api', 'core', 'dispatcher'],
    progress: args.progress,
    signal: args.signal,
  });
  const node = await startAnvil({ chainId: CHAIN, blockSeconds: 1, state: join(args.folder, 'chain.json') });
  try {
    const ask = askAsAdministrator(stack, args.signal);
    const chain = madeSchema.parse(await ask('POST', '/v1/chains', { name: 'chaos', chainId: CHAIN, rpcUrls: [node.url], policy: { watchBlocks: 5, maxInFlight: 100 } }));
    const signer = signerSchema.parse(await ask('POST', '/v1/chain-signers', { name: 'chaos', chain: chain.id }));
    await node.call('anvil_setBalance', signer.address, `0x${(10n ** 20n).toString(16)}`);
    const submitting = Promise.all(Array.from({ length: submits }, (_, n) => ask('POST', '/v1/chain-transactions', { signer: signer.id, to: recipient(n), value: '1', reference: `chaos ${String(n)}` })));
    await Promise.all([submitting, killInTurn(stack, node, kills, args)]);
    const confirmed = await settled(ask, signer.id, submits, args.signal);
    const balances = await Promise.all(Array.from({ length: submits }, async (_, n) => BigInt(String(await node.call('eth_getBalance', recipient(n), 'latest')))));
    const used = Number(await node.call('eth_getTransactionCount', signer.address, 'latest'));
    const nonces = new Set(confirmed);
    return {
      submitted: submits,
      minedOnce: balances.filter((balance) => balance === 1n).length,
      gaps: Array.from({ length: used }, (_, nonce) => nonce).filter((nonce) => !nonces.has(nonce)).length,
      manualSteps: submits - confirmed.length,
      kills,
      seconds: Math.round((performance.now() - began) / 1000),
    };
  } finally {
    await node.kill();
    await stack.stop();
  }
};

/** An address nobody has a key of. */
function recipient(n: number): string {
  return `0x${(0xc0ffee0000n + BigInt(n)).toString(16).padStart(40, '0')}`;
}

/** The node ends as on Ctrl-C, so that its chain is written down; what was sent and not mined is lost with it. */
async function killInTurn(stack: Stack, node: Anvil, kills: number, { progress, signal }: Parameters<Bench>[0]): Promise<void> {
  for (let count = 1; count <= kills; count += 1) {
    await sleep(PAUSE_MS, undefined, { signal });
    stack.kill(WORKER, 'SIGKILL');
    progress(`kill ${String(count)} of ${String(kills)}: the worker`);
    await sleep(PAUSE_MS, undefined, { signal });
    await node.kill('SIGINT');
    progress(`kill ${String(count)} of ${String(kills)}: the node`);
    await sleep(PAUSE_MS, undefined, { signal });
    await node.start();
    await stack.whenReady(WORKER);
  }
}

/** @returns the nonces of what is confirmed in the end. */
async function settled(ask: Ask, signer: string, submits: number, signal: AbortSignal): Promise<(number | null)[]> {
  const until = Date.now() + SETTLE_MS;
  for (;;) {
    const nonces: (number | null)[] = [];
    let cursor: string | null = '';
    while (cursor !== null) {
      const page: z.output<typeof pageSchema> = pageSchema.parse(await ask('GET', `/v1/chain-transactions?signer=${signer}&state=confirmed&limit=500${cursor === '' ? '' : `&cursor=${encodeURIComponent(cursor)}`}`));
      nonces.push(...page.items.map(({ nonce }) => nonce));
      cursor = page.nextCursor;
    }
    if (nonces.length >= submits || Date.now() > until) return nonces;
    await sleep(PAUSE_MS, undefined, { signal });
  }
}
