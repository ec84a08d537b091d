import { z } from 'zod';
import type { AnchorStream } from '../../database/anchors.ts';
import type { Anchors, BatchView } from '../../platform/chain/anchors.ts';
import type { OperationsPort } from '../../platform/operations/contract.ts';
import { anchorBatchQuery, anchorBatchView, anchorHashes, anchorProof, anchorProofParams, anchorReceipt, anchorStreamDraft, anchorStreamParams, anchorStreamView } from '../../schemas/rest/anchors.ts';
import { pageOf, pageQuery } from '../../schemas/rest/page.ts';
import { decodeCursor, encodeCursor } from '../cursor.ts';
import { defineRoute, type AnyRoute } from '../route.ts';

const tag = 'Chains';
const byName = z.object({ name: z.string() });
const byPosition = z.object({ position: z.int() });

/** Hashes that are anchored on a chain, and the proofs of it. */
export function createAnchorRoutes({ anchors, operations }: { readonly anchors: Anchors; readonly operations: Pick<OperationsPort, 'start'> }): AnyRoute[] {
  return [
    defineRoute({
      method: 'get',
      path: '/v1/anchor-streams',
      id: 'listAnchorStreams',
      tag,
      summary: 'Lists streams of anchored hashes by name',
      permission: 'chains:read',
      query: pageQuery,
      responses: { 200: { description: 'A page of streams.', schema: pageOf(anchorStreamView) } },
      handler: async ({ caller, query }) => {
        const after = query.cursor === undefined ? undefined : decodeCursor(query.cursor, byName).name;
        const page = await anchors.streams(caller, query.limit + 1, after);
        const items = page.slice(0, query.limit);
        const last = page.length > query.limit ? items.at(-1) : undefined;
        return { status: 200, body: { items: items.map(streamOf), nextCursor: last === undefined ? null : encodeCursor({ name: last.name }) } };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/v1/anchor-streams',
      id: 'createAnchorStream',
      tag,
      summary: 'Makes a stream of hashes to anchor',
      permission: 'chains:write',
      audit: 'anchor-stream.create',
      body: anchorStreamDraft,
      responses: { 201: { description: 'The stream.', schema: anchorStreamView } },
      handler: async ({ caller, body }) => {
        const made = await anchors.create(caller, body);
        return { status: 201, body: streamOf(made), headers: { Location: `/v1/anchor-streams/${made.id}` } };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/v1/anchor-streams/:id',
      id: 'getAnchorStream',
      tag,
      summary: 'Reads a stream of anchored hashes',
      permission: 'chains:read',
      params: anchorStreamParams,
      responses: { 200: { description: 'The stream.', schema: anchorStreamView } },
      handler: async ({ caller, params }) => ({ status: 200, body: streamOf(await anchors.stream(caller, params.id)) }),
    }),
    defineRoute({
      method: 'post',
      path: '/v1/anchor-streams/:id/hashes',
      id: 'anchorHashes',
      tag,
      summary: 'Puts hashes into a stream and has them anchored',
      description: 'Answers when they are written down. A hash is anchored once in a stream, however often it is put in.',
      permission: 'chain-transactions:write',
      audit: 'anchor-stream.add',
      params: anchorStreamParams,
      body: anchorHashes,
      responses: { 202: { description: 'What was added, and the run that anchors it.', schema: anchorReceipt } },
      handler: async ({ caller, params, body }) => {
        const added = await anchors.add(caller, params.id, body.hashes);
        const { runId } = await operations.start(caller, { operation: 'anchor', input: { stream: params.id }, origin: 'api' });
        return { status: 202, body: { added, runId } };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/v1/anchor-streams/:id/batches',
      id: 'listAnchorBatches',
      tag,
      summary: 'Lists batches of a stream, newest first',
      permission: 'chains:read',
      params: anchorStreamParams,
      query: anchorBatchQuery,
      responses: { 200: { description: 'A page of batches.', schema: pageOf(anchorBatchView) } },
      handler: async ({ caller, params, query }) => {
        const before = query.cursor === undefined ? undefined : decodeCursor(query.cursor, byPosition).position;
        const page = await anchors.batches(caller, params.id, query.limit + 1, before);
        const items = page.slice(0, query.limit);
        const last = page.length > query.limit ? items.at(-1) : undefined;
        return { status: 200, body: { items: items.map(batchOf), nextCursor: last === undefined ? null : encodeCursor({ position: last.position }) } };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/v1/anchor-streams/:id/proofs/:hash',
      id: 'getAnchorProof',
      tag,
      summary: 'Proves that a hash is anchored',
      description: 'All that is needed to check it without HAL9: `hal9 anchor verify`, or `MemoryAnchor.verify` on the chain.',
      permission: 'chains:read',
      params: anchorProofParams,
      responses: { 200: { description: 'The proof.', schema: anchorProof } },
      handler: async ({ caller, params }) => ({ status: 200, body: await anchors.proof(caller, params.id, params.hash) }),
    }),
  ];
}

function streamOf({ id, name, networkId, signerId, source, stream, createdAt }: AnchorStream) {
  return { id, name, network: networkId, signer: signerId, source, stream, createdAt };
}

function batchOf({ position, root, count, state, transaction, blockNumber, gasUsed, createdAt }: BatchView) {
  return { position, root, count, state, transaction, blockNumber, gasUsed, createdAt };
}
