import { z } from 'zod';
import type { ChainRecord, SignerRecord } from '../../database/chains.ts';
import type { AttemptRecord, TransactionEvent, TransactionRecord } from '../../database/chain-transactions.ts';
import type { Chains } from '../../platform/chain/chains.ts';
import { chainDraft, chainParams, chainView, signerDraft, signerView, transactionBatch, transactionDetail, transactionDraft, transactionQuery, transactionReceipts, transactionView } from '../../schemas/rest/chains.ts';
import { pageOf, pageQuery } from '../../schemas/rest/page.ts';
import { decodeCursor, encodeCursor } from '../cursor.ts';
import { defineRoute, type AnyRoute } from '../route.ts';

const tag = 'Chains';
const byName = z.object({ name: z.string() });
const bySeq = z.object({ seq: z.int() });

/** EVM chains: where they are, who signs, what is sent. */
export function createChainRoutes({ chains }: { chains: Chains }): AnyRoute[] {
  return [...chainRoutes(chains), ...signerRoutes(chains), ...transactionRoutes(chains)];
}

function chainRoutes(chains: Chains): AnyRoute[] {
  return [
    defineRoute({
      method: 'get',
      path: '/v1/chains',
      id: 'listChains',
      tag,
      summary: 'Lists chains by name',
      permission: 'chains:read',
      query: pageQuery,
      responses: { 200: { description: 'A page of chains, without the addresses of their nodes.', schema: pageOf(chainView) } },
      handler: async ({ caller, query }) => ({ status: 200, body: pageByName(await chains.list(caller, query.limit + 1, nameOf(query.cursor)), query.limit, view) }),
    }),
    defineRoute({
      method: 'post',
      path: '/v1/chains',
      id: 'createChain',
      tag,
      summary: 'Adds a chain',
      permission: 'chains:write',
      audit: 'chain.create',
      body: chainDraft,
      responses: { 201: { description: 'The chain.', schema: chainView } },
      handler: async ({ caller, body }) => {
        const made = await chains.create(caller, body);
        return { status: 201, body: view(made), headers: { Location: `/v1/chains/${made.id}` } };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/v1/chains/:id',
      id: 'getChain',
      tag,
      summary: 'Reads a chain',
      permission: 'chains:read',
      params: chainParams,
      responses: { 200: { description: 'The chain.', schema: chainView } },
      handler: async ({ caller, params }) => ({ status: 200, body: view(await chains.get(caller, params.id)) }),
    }),
    defineRoute({
      method: 'put',
      path: '/v1/chains/:id',
      id: 'changeChain',
      tag,
      summary: 'Changes nodes and policy of a chain',
      description: 'Counts at once, also for transactions under way.',
      permission: 'chains:write',
      audit: 'chain.update',
      params: chainParams,
      body: chainDraft,
      responses: { 200: { description: 'The chain.', schema: chainView } },
      handler: async ({ caller, params, body }) => ({ status: 200, body: view(await chains.change(caller, params.id, body)) }),
    }),
  ];
}

function signerRoutes(chains: Chains): AnyRoute[] {
  return [
    defineRoute({
      method: 'get',
      path: '/v1/chain-signers',
      id: 'listChainSigners',
      tag,
      summary: 'Lists signers by name',
      permission: 'chains:read',
      query: pageQuery,
      responses: { 200: { description: 'A page of signers.', schema: pageOf(signerView) } },
      handler: async ({ caller, query }) => ({ status: 200, body: pageByName(await chains.signers(caller, query.limit + 1, nameOf(query.cursor)), query.limit, signerOf) }),
    }),
    defineRoute({
      method: 'post',
      path: '/v1/chain-signers',
      id: 'createChainSigner',
      tag,
      summary: 'Adds a signer',
      description: 'The key must be used by HAL9 alone: it gives out the nonces.',
      permission: 'chains:write',
      audit: 'chain-signer.create',
      body: signerDraft,
      responses: { 201: { description: 'The signer with its address.', schema: signerView } },
      handler: async ({ caller, body }) => {
        const made = await chains.createSigner(caller, body);
        return { status: 201, body: signerOf(made), headers: { Location: `/v1/chain-signers/${made.id}` } };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/v1/chain-signers/:id',
      id: 'getChainSigner',
      tag,
      summary: 'Reads a signer, and what holds it up',
      permission: 'chains:read',
      params: chainParams,
      responses: { 200: { description: 'The signer.', schema: signerView } },
      handler: async ({ caller, params }) => ({ status: 200, body: signerOf(await chains.signer(caller, params.id)) }),
    }),
  ];
}

function transactionRoutes(chains: Chains): AnyRoute[] {
  return [
    defineRoute({
      method: 'get',
      path: '/v1/chain-transactions',
      id: 'listChainTransactions',
      tag,
      summary: 'Lists transactions, newest first',
      permission: 'chains:read',
      query: transactionQuery,
      responses: { 200: { description: 'A page of transactions.', schema: pageOf(transactionView) } },
      handler: async ({ caller, query }) => {
        const before = query.cursor === undefined ? undefined : decodeCursor(query.cursor, bySeq).seq;
        const filter = { ...(query.signer === undefined ? {} : { signerId: query.signer }), ...(query.state === undefined ? {} : { state: query.state }) };
        const page = await chains.transactions(caller, filter, query.limit + 1, before);
        const items = page.slice(0, query.limit);
        const last = page.length > query.limit ? items.at(-1) : undefined;
        return { status: 200, body: { items: items.map(transactionOf), nextCursor: last === undefined ? null : encodeCursor({ seq: last.seq }) } };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/v1/chain-transactions',
      id: 'submitChainTransaction',
      tag,
      summary: 'Sends a transaction',
      description: 'Answers when it is written down. It then gets a nonce, is signed, sent, sent again with higher fees where it must be, and followed until it is final; `reference` makes a repeated request the same transaction.',
      permission: 'chain-transactions:write',
      audit: 'chain-transaction.submit',
      body: transactionDraft,
      responses: { 202: { description: 'The transaction.', schema: transactionView } },
      handler: async ({ caller, body }) => {
        const { transaction } = await chains.submit(caller, body);
        return { status: 202, body: transactionOf(transaction), headers: { Location: `/v1/chain-transactions/${transaction.id}` } };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/v1/chain-transactions/batch',
      id: 'submitChainTransactions',
      tag,
      summary: 'Sends up to 500 transactions',
      description: 'All are written down, or none: one that is refused refuses the request, and `errors` names it. Much faster than one request each. A request that is repeated with the same references makes none twice.',
      permission: 'chain-transactions:write',
      audit: 'chain-transaction.submit',
      body: transactionBatch,
      responses: { 202: { description: 'What became of each, in the order of the request.', schema: transactionReceipts } },
      handler: async ({ caller, body }) => {
        const submitted = await chains.submitAll(caller, body.transactions);
        return { status: 202, body: { items: submitted.map(({ transaction: { id, signerId, reference, state }, created }) => ({ id, signer: signerId, reference, state, created })) } };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/v1/chain-transactions/:id',
      id: 'getChainTransaction',
      tag,
      summary: 'Reads a transaction with its signed versions and what happened to it',
      permission: 'chains:read',
      params: chainParams,
      responses: { 200: { description: 'The transaction.', schema: transactionDetail } },
      handler: async ({ caller, params }) => {
        const { transaction, attempts, events } = await chains.transaction(caller, params.id);
        return { status: 200, body: { ...transactionOf(transaction), attempts: attempts.map(attemptOf), events: events.map(eventOf) } };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/v1/chain-transactions/:id/cancel',
      id: 'cancelChainTransaction',
      tag,
      summary: 'Cancels a transaction',
      description: 'At once when it was not sent. Otherwise one of no effect with the same nonce and higher fees takes its place, which may come too late: `outcome` says so. One that left with others goes with its `carrier` only: cancel that to cancel all of them.',
      permission: 'chain-transactions:write',
      audit: 'chain-transaction.cancel',
      params: chainParams,
      responses: { 202: { description: 'The transaction.', schema: transactionView } },
      handler: async ({ caller, params }) => ({ status: 202, body: transactionOf(await chains.cancel(caller, params.id)) }),
    }),
  ];
}

function nameOf(cursor: string | undefined): string | undefined {
  return cursor === undefined ? undefined : decodeCursor(cursor, byName).name;
}

function pageByName<Row extends { readonly name: string }>(rows: readonly Row[], limit: number, shown: (row: Row) => unknown) {
  const items = rows.slice(0, limit);
  const last = rows.length > limit ? items.at(-1) : undefined;
  return { items: items.map(shown), nextCursor: last === undefined ? null : encodeCursor({ name: last.name }) };
}

function view({ id, name, chainId, rpcHosts, policy, createdAt, updatedAt }: ChainRecord) {
  return { id, name, chainId, rpcHosts, policy, createdAt, updatedAt };
}

function signerOf({ id, name, chain, chainId, address, keyKind, keyName, trouble, troubleDetail, troubleSince, createdAt }: SignerRecord) {
  return { id, name, chain, chainId, address, key: { kind: keyKind, name: keyName }, trouble: trouble === null ? null : { type: trouble, detail: troubleDetail ?? '', since: troubleSince }, createdAt };
}

function transactionOf({ id, signerId, reference, to, value, data, state, outcome, carrierId, calls, nonce, hash, blockNumber, blockHash, gasUsed, gasPrice, contractAddress, failure, failureDetail, createdAt, doneAt }: TransactionRecord) {
  return {
    id,
    signer: signerId,
    reference,
    to,
    value,
    data: `0x${data.toString('hex')}`,
    state,
    outcome,
    carrier: carrierId,
    calls,
    nonce,
    hash,
    blockNumber,
    blockHash,
    gasUsed,
    gasPrice,
    contractAddress,
    failure: failure === null ? null : { type: failure, detail: failureDetail ?? '' },
    createdAt,
    doneAt,
  };
}

function attemptOf({ n, kind, hash, maxFee, priorityFee, signedAt, broadcastAt, broadcasts, rejection }: AttemptRecord) {
  return { n, kind, hash, maxFeePerGas: maxFee, priorityFeePerGas: priorityFee, signedAt, broadcastAt, broadcasts, rejection };
}

function eventOf({ at, what, detail }: TransactionEvent) {
  return { at, what, detail };
}
