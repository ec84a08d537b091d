import { z } from 'zod';
import type { NetworkRecord } from '../../database/chain-networks.ts';
import type { ConsensusRecord } from '../../database/consensus.ts';
import type { Tokens } from '../../platform/chain/tokens.ts';
import type { Networks } from '../../platform/chain/networks.ts';
import type { Consensuses } from '../../platform/chain/consensus/consensuses.ts';
import { formatRunId } from '../../schemas/names/workflow-id.ts';
import { consensusDetail, consensusQuery, consensusView, networkDraft, networkParams, networkView } from '../../schemas/rest/networks.ts';
import { pageOf, pageQuery } from '../../schemas/rest/page.ts';
import { accountParams, accountView, tokenActionDraft, tokenActionView } from '../../schemas/rest/token.ts';
import { decodeCursor, encodeCursor } from '../cursor.ts';
import { defineRoute, type AnyRoute } from '../route.ts';

const tag = 'Chains';
const byName = z.object({ name: z.string() });
const bySeq = z.object({ seq: z.int() });

/** Networks of HAL9's contracts, and rounds of consensus on them. */
export function createNetworkRoutes({ networks, consensuses, tokens }: { readonly networks: Networks; readonly consensuses: Consensuses; readonly tokens: Tokens }): AnyRoute[] {
  return [
    defineRoute({
      method: 'get',
      path: '/v1/chain-networks',
      id: 'listChainNetworks',
      tag,
      summary: 'Lists networks of contracts by name',
      permission: 'chains:read',
      query: pageQuery,
      responses: { 200: { description: 'A page of networks.', schema: pageOf(networkView) } },
      handler: async ({ caller, query }) => {
        const after = query.cursor === undefined ? undefined : decodeCursor(query.cursor, byName).name;
        const page = await networks.list(caller, query.limit + 1, after);
        const items = page.slice(0, query.limit);
        const last = page.length > query.limit ? items.at(-1) : undefined;
        return { status: 200, body: { items: items.map(networkOf), nextCursor: last === undefined ? null : encodeCursor({ name: last.name }) } };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/v1/chain-networks',
      id: 'addChainNetwork',
      tag,
      summary: 'Adds contracts that are on a chain already',
      description: 'They are asked whether they are what they are said to be. To deploy new ones start the operation `chain-network`.',
      permission: 'chains:write',
      audit: 'chain-network.create',
      body: networkDraft,
      responses: { 201: { description: 'The network.', schema: networkView } },
      handler: async ({ caller, body }) => {
        const made = await networks.add(caller, body);
        return { status: 201, body: networkOf(made), headers: { Location: `/v1/chain-networks/${made.id}` } };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/v1/chain-networks/:id',
      id: 'getChainNetwork',
      tag,
      summary: 'Reads a network of contracts',
      permission: 'chains:read',
      params: networkParams,
      responses: { 200: { description: 'The network.', schema: networkView } },
      handler: async ({ caller, params }) => ({ status: 200, body: networkOf(await networks.get(caller, params.id)) }),
    }),
    defineRoute({
      method: 'post',
      path: '/v1/chain-networks/:id/actions',
      id: 'actOnChainNetwork',
      tag,
      summary: 'Stakes, claims, registers neurons, proposes, votes',
      description: 'Submits the transactions of one action of a signer, and answers when they are written down.',
      permission: 'chain-transactions:write',
      audit: 'chain-transaction.submit',
      params: networkParams,
      body: tokenActionDraft,
      responses: { 202: { description: 'The transactions.', schema: tokenActionView } },
      handler: async ({ caller, params, body }) => ({ status: 202, body: await tokens.act(caller, params.id, body) }),
    }),
    defineRoute({
      method: 'get',
      path: '/v1/chain-networks/:id/accounts/:address',
      id: 'getChainAccount',
      tag,
      summary: 'Reads an account from the chain: tokens, stakes, rewards, votes, its neuron',
      permission: 'chains:read',
      params: accountParams,
      responses: { 200: { description: 'The account, as the last block has it.', schema: accountView } },
      handler: async ({ caller, params }) => ({ status: 200, body: await tokens.account(caller, params.id, params.address) }),
    }),
    defineRoute({
      method: 'get',
      path: '/v1/consensus',
      id: 'listConsensus',
      tag,
      summary: 'Lists rounds of consensus, newest first',
      permission: 'chains:read',
      query: consensusQuery,
      responses: { 200: { description: 'A page of rounds.', schema: pageOf(consensusView) } },
      handler: async ({ caller, query }) => {
        const before = query.cursor === undefined ? undefined : decodeCursor(query.cursor, bySeq).seq;
        const page = await consensuses.list(caller, query.limit + 1, before);
        const items = page.slice(0, query.limit);
        const last = page.length > query.limit ? items.at(-1) : undefined;
        return { status: 200, body: { items: items.map(consensusOf), nextCursor: last === undefined ? null : encodeCursor({ seq: last.seq }) } };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/v1/consensus/:id',
      id: 'getConsensus',
      tag,
      summary: 'Reads a round of consensus with its votes, as the chain has them',
      permission: 'chains:read',
      params: networkParams,
      responses: { 200: { description: 'The round.', schema: consensusDetail } },
      handler: async ({ caller, params }) => {
        const { request, votes } = await consensuses.get(caller, params.id);
        return { status: 200, body: { ...consensusOf(request), votes } };
      },
    }),
  ];
}

function networkOf({ id, name, chain, token, registry, market, anchor, governance, timelock, createdAt }: NetworkRecord) {
  return { id, name, chain, token, registry, market, anchor, governance, timelock, createdAt };
}

function consensusOf({ id, networkId, requester, mode, phase, requestId, round, resultHash, paid, slashed, blockNumber, final, createdAt, updatedAt }: ConsensusRecord) {
  return { id, runId: formatRunId({ operation: 'consensus', uuid: id }), network: networkId, requester, mode, phase, requestId, round, resultHash, paid, slashed, blockNumber, final, createdAt, updatedAt };
}
