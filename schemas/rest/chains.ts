import { z } from 'zod';
import { pageQuery } from './page.ts';

const wei = z.string().regex(/^(0|[1-9][0-9]{0,76})$/, 'a whole number of wei, as text');
const address = z.string().regex(/^0x[0-9a-fA-F]{40}$/, '0x and 40 hexadecimal digits');
const rpcUrl = z.url({ protocol: /^https?$/ }).max(2000);

export const chainPolicy = z.strictObject({
  confirmations: z.int().min(1).max(1000).optional().describe('Blocks on top, its own counted, after which a transaction is `confirmed`. Default: 12 on Ethereum, 64 on Polygon, 20 on Arbitrum, 2 elsewhere.'),
  watchBlocks: z.int().min(1).max(10_000).default(64).describe('Blocks after that during which a reorganisation is still followed.'),
  pollMs: z.int().min(50).max(60_000).optional().describe('Milliseconds between two looks at the chain. Default: a third of its block time, at least 250.'),
  bumpAfterSeconds: z.int().min(1).max(3600).optional().describe('Time after which a transaction that is next in line is sent again with higher fees. Default: three blocks.'),
  bumpPercent: z.int().min(10).max(100).default(15).describe('By how much fees rise then. Nodes ask for 10 at least.'),
  maxFeePerGas: wei.default('300000000000').describe('Never more than so many wei for a unit of gas. While the chain asks for more, transactions wait.'),
  priorityFeePerGas: wei.default('1000000000').describe('Tip for a unit of gas, wei.'),
  maxInFlight: z.int().min(1).max(1000).default(64).describe('Transactions of one signer that are sent and not mined.'),
  maxBatch: z.int().min(1).max(100).optional().describe('Submissions with `batch` that leave as one transaction at most. 1: each by itself. Default: 100.'),
  quorum: z.int().min(1).max(5).default(1).describe('Nodes that must agree on a block before what is in it counts as confirmed.'),
});
export type ChainPolicy = z.output<typeof chainPolicy>;

export const chainDraft = z
  .strictObject({
    name: z.string().trim().min(1).max(200),
    chainId: z.int().min(1).describe('EIP-155, e.g. 1 for Ethereum, 137 for Polygon, 42161 for Arbitrum One.'),
    rpcUrls: z.array(rpcUrl).min(1).max(5).describe('JSON-RPC over HTTP, in the order they are asked. They are kept encrypted and not shown again.').meta({ writeOnly: true }),
    policy: chainPolicy.prefault({}),
  })
  .refine(({ rpcUrls, policy }) => policy.quorum <= rpcUrls.length, { path: ['policy', 'quorum'], message: 'more than there are nodes' });

export const chainParams = z.object({ id: z.uuid() });

export const chainView = z
  .object({
    id: z.uuid(),
    name: z.string(),
    chainId: z.int(),
    rpcHosts: z.array(z.string()),
    policy: z.record(z.string(), z.union([z.int(), z.string()])),
    createdAt: z.iso.datetime(),
    updatedAt: z.iso.datetime(),
  })
  .meta({ id: 'Chain' });

const keySource = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('kept') }).describe('HAL9 makes a key and keeps it encrypted by its key ring; it cannot be read out.'),
  z.strictObject({ kind: z.literal('env'), name: z.string().regex(/^[A-Z][A-Z0-9_]{0,63}$/) }).describe('The variable HAL9_CHAIN_KEY_<name> of the workers and the API: `<organisation>:<32 bytes in hexadecimal>`.'),
  z.strictObject({ kind: z.literal('file'), name: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/) }).describe('The file <organisation>/<name> in HAL9_CHAIN_KEYS_DIR: 32 bytes in hexadecimal.'),
  z.strictObject({ kind: z.literal('kms'), name: z.string().regex(/^[A-Z][A-Z0-9_]{0,63}$/) }).describe('A key of the AWS Key Management Service, which it never leaves: the variable HAL9_CHAIN_KMS_<name> of the workers and the API names it, `<organisation>:<id, ARN or alias>`, and after a comma a key for HMAC if the signer votes.'),
]);
export type KeySource = z.output<typeof keySource>;

export const signerDraft = z.strictObject({ name: z.string().trim().min(1).max(200), chain: z.uuid(), key: keySource.prefault({ kind: 'kept' }) });

export const signerView = z
  .object({
    id: z.uuid(),
    name: z.string(),
    chain: z.uuid(),
    chainId: z.int(),
    address: z.string(),
    key: z.object({ kind: z.string(), name: z.string().nullable() }),
    trouble: z.object({ type: z.string(), detail: z.string(), since: z.iso.datetime() }).nullable().describe('What holds its transactions up. It passes by itself once the cause is gone.'),
    createdAt: z.iso.datetime(),
  })
  .meta({ id: 'ChainSigner' });

export const transactionDraft = z
  .strictObject({
    signer: z.uuid(),
    to: address.optional().describe('Left out: `data` deploys a contract.'),
    value: wei.default('0').describe('Wei.'),
    data: z.string().regex(/^0x([0-9a-fA-F]{2})*$/, '0x and bytes in hexadecimal').max(262_146).default('0x').describe('At most 128 KiB.'),
    gasLimit: z.int().min(21_000).max(100_000_000).optional().describe('Left out: estimated, and a fifth more.'),
    maxFeePerGas: wei.optional().describe('Instead of the chain\'s policy.'),
    reference: z.string().min(1).max(200).optional().describe('Your own name for it: sent again with the same one it is the same transaction.'),
    batch: z.boolean().default(false).describe('Leaves in one transaction with those next to it in the queue that are for the same contract, where that has `multicall(bytes[])` as OpenZeppelin\'s `Multicall` does. Not with `value` or `gasLimit`.'),
  })
  .refine(({ to, data }) => to !== undefined || data !== '0x', { path: ['data'], message: 'a contract needs its code' })
  .refine(({ batch, to, value, gasLimit }) => !batch || (to !== undefined && value === '0' && gasLimit === undefined), { path: ['batch'], message: 'only a call of a contract, without value and gasLimit' })
  .meta({ id: 'ChainTransactionDraft' });
export type TransactionDraft = z.output<typeof transactionDraft>;

/** Of one request. */
const MOST_TRANSACTIONS = 500;
export const transactionBatch = z.strictObject({ transactions: z.array(transactionDraft).min(1).max(MOST_TRANSACTIONS).describe('Their nonces follow this order.') });

const TRANSACTION_STATES = ['queued', 'pending', 'mined', 'confirmed', 'failed', 'cancelled'] as const;

export const transactionQuery = pageQuery.extend({ signer: z.uuid().optional(), state: z.enum(TRANSACTION_STATES).optional() });

export const transactionView = z
  .object({
    id: z.uuid(),
    signer: z.uuid(),
    reference: z.string().nullable(),
    to: z.string().nullable(),
    value: z.string(),
    data: z.string(),
    state: z.enum(TRANSACTION_STATES).describe('`failed` and `cancelled` were never sent, or never can be mined any more.'),
    outcome: z.enum(['succeeded', 'reverted', 'cancelled']).nullable().describe('Of what was mined. A reorganisation takes it back.'),
    carrier: z.uuid().nullable().describe('The transaction that it left in together with others. Nonce and versions are those of that one; state, outcome and block are the same.'),
    calls: z.int().nullable().describe('Of a carrier: how many submissions it was made of.'),
    nonce: z.int().nullable(),
    hash: z.string().nullable(),
    blockNumber: z.int().nullable(),
    blockHash: z.string().nullable(),
    gasUsed: z.int().nullable().describe('Of one that left in a carrier: its equal share.'),
    gasPrice: z.string().nullable(),
    contractAddress: z.string().nullable(),
    failure: z.object({ type: z.string(), detail: z.string() }).nullable(),
    createdAt: z.iso.datetime(),
    doneAt: z.iso.datetime().nullable(),
  })
  .meta({ id: 'ChainTransaction' });

/** In the order of the request. */
export const transactionReceipts = z
  .object({ items: z.array(z.object({ id: z.uuid(), signer: z.uuid(), reference: z.string().nullable(), state: z.enum(TRANSACTION_STATES), created: z.boolean().describe('False: an earlier request made it, by its reference.') }).meta({ id: 'ChainTransactionReceipt' })) })
  .meta({ id: 'ChainTransactionReceipts' });

export const transactionDetail = transactionView
  .extend({
    attempts: z.array(z.object({ n: z.int(), kind: z.enum(['send', 'bump', 'cancel']), hash: z.string(), maxFeePerGas: z.string(), priorityFeePerGas: z.string(), signedAt: z.iso.datetime(), broadcastAt: z.iso.datetime().nullable(), broadcasts: z.int(), rejection: z.string().nullable() })),
    events: z.array(z.object({ at: z.iso.datetime(), what: z.string(), detail: z.string().nullable() })),
  })
  .meta({ id: 'ChainTransactionDetail' });
