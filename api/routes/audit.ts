import { once } from 'node:events';
import { z } from 'zod';
import type { LoggedEntry, StoredCheckpoint } from '../../database/audit-log.ts';
import type { AuditTrail, InclusionProof } from '../../platform/audit/audit-trail.ts';
import { auditEntryDetail, auditEntryView, auditFilter, auditKeys, auditParams, checkpointView, consistencyProof, consistencyQuery, erasureAnswer, erasureRequest, exportQuery, inclusionProof, inclusionQuery } from '../../schemas/rest/audit.ts';
import { pageOf, pageQuery } from '../../schemas/rest/page.ts';
import { pageOfList } from '../page.ts';
import { defineRoute, type AnyRoute } from '../route.ts';

const tag = 'Audit';
const BY_SEQUENCE = { position: z.object({ seq: z.int().min(0) }).transform(({ seq }) => seq), of: ({ entry }: { readonly entry: { readonly seq: number } }) => ({ seq: entry.seq }) };
const BY_SIZE = { position: z.object({ size: z.int().min(0) }).transform(({ size }) => size), of: ({ size }: { readonly size: number }) => ({ size }) };
const MEDIA = { verifiable: 'application/x-ndjson', jsonl: 'application/x-ndjson', cef: 'text/plain; charset=utf-8' } as const;

/** What happened in the caller's organisation, and the proof of it. */
export function createAuditRoutes({ trail }: { trail: AuditTrail }): AnyRoute[] {
  return [
    defineRoute({
      method: 'get',
      path: '/v1/audit/entries',
      id: 'listAuditEntries',
      tag,
      summary: 'Lists acts, latest first',
      permission: 'audit:read',
      query: pageQuery.extend(auditFilter.shape),
      responses: { 200: { description: 'A page of acts.', schema: pageOf(auditEntryView) } },
      handler: async ({ caller, query }) => {
        const { limit, cursor, from, to, ...filter } = query;
        const times = { ...(from === undefined ? {} : { from: new Date(from) }), ...(to === undefined ? {} : { to: new Date(to) }) };
        const { items, nextCursor } = await pageOfList({ limit, cursor }, BY_SEQUENCE, (most, before) => trail.list(caller, { ...filter, ...times }, most, before));
        return { status: 200, body: { items: items.map(view), nextCursor } };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/v1/audit/entries/:seq',
      id: 'getAuditEntry',
      tag,
      summary: 'Reads an act with the proof that it is in the log',
      permission: 'audit:read',
      params: auditParams,
      responses: { 200: { description: 'The act.', schema: auditEntryDetail } },
      handler: async ({ caller, params }) => {
        const { logged, inclusion } = await trail.get(caller, params.seq);
        return { status: 200, body: { ...view(logged), inclusion: inclusion === null ? null : inclusionView(inclusion) } };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/v1/audit/checkpoints',
      id: 'listAuditCheckpoints',
      tag,
      summary: 'Lists signed checkpoints of the log, latest first',
      permission: 'audit:read',
      query: pageQuery,
      responses: { 200: { description: 'A page of checkpoints.', schema: pageOf(checkpointView) } },
      handler: async ({ caller, query }) => {
        const { items, nextCursor } = await pageOfList(query, BY_SIZE, (limit, before) => trail.checkpoints(caller, limit, before));
        return { status: 200, body: { items: items.map(checkpointOf), nextCursor } };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/v1/audit/proofs/inclusion',
      id: 'proveAuditInclusion',
      tag,
      summary: 'Proves that an act is in the log',
      permission: 'audit:read',
      query: inclusionQuery,
      responses: { 200: { description: 'The proof, with the signed checkpoint it leads to.', schema: inclusionProof } },
      handler: async ({ caller, query }) => ({ status: 200, body: inclusionView(await trail.inclusion(caller, query.seq, query.size)) }),
    }),
    defineRoute({
      method: 'get',
      path: '/v1/audit/proofs/consistency',
      id: 'proveAuditConsistency',
      tag,
      summary: 'Proves that the log only grew',
      permission: 'audit:read',
      query: consistencyQuery,
      responses: { 200: { description: 'The proof.', schema: consistencyProof } },
      handler: async ({ caller, query }) => {
        const { fromRoot, toRoot, proof, ...sizes } = await trail.consistency(caller, query.from, query.to);
        return { status: 200, body: { ...sizes, fromRoot: base64(fromRoot), toRoot: base64(toRoot), proof: proof.map(base64) } };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/v1/audit/public-key',
      id: 'getAuditKeys',
      tag,
      summary: 'Reads the keys the log is verified with',
      description: 'Fetch them once and keep them outside: a log is only as trustworthy as the key it is checked with.',
      permission: 'audit:read',
      responses: { 200: { description: 'Verifier keys (C2SP signed-note).', schema: auditKeys } },
      handler: async ({ caller }) => ({ status: 200, body: await trail.keys(caller) }),
    }),
    defineRoute({
      method: 'get',
      path: '/v1/audit/export',
      id: 'exportAudit',
      tag,
      summary: 'Streams the log',
      description: 'As `verifiable` lines for `hal9 audit verify`, or as JSON lines or CEF for a SIEM. The export is an act itself.',
      permission: 'audit:export',
      audit: 'audit.export',
      timeoutMs: 0,
      query: exportQuery,
      responses: { 200: { description: 'The entries, oldest first; CEF is plain text.', schema: z.string(), contentType: 'application/x-ndjson', alternatives: { 'text/plain; charset=utf-8': z.string() } } },
      handler: async ({ caller, query, response, signal }) => {
        const lines = await trail.export(caller, { format: query.format, after: query.after, from: query.from === undefined ? undefined : new Date(query.from) }, signal);
        response.statusCode = 200;
        response.setHeader('Content-Type', MEDIA[query.format]);
        for await (const part of lines) {
          if (!response.write(part)) await Promise.race([once(response, 'drain'), once(response, 'close')]);
          if (signal.aborted) return;
        }
        response.end();
      },
    }),
    defineRoute({
      method: 'post',
      path: '/v1/audit/personal-erasures',
      id: 'eraseAuditPersonal',
      tag,
      summary: 'Erases addresses, user agents and typed names in the acts of a user',
      description: 'The acts stay in the log and stay provable.',
      permission: 'audit:erase',
      audit: 'audit.erase-personal',
      body: erasureRequest,
      responses: { 200: { description: 'Erased for good.', schema: erasureAnswer } },
      handler: async ({ caller, body }) => ({ status: 200, body: { erased: await trail.erasePersonal(caller, body.userId) } }),
    }),
  ];
}

function view({ entry, leafHash, opened }: LoggedEntry): z.input<typeof auditEntryView> {
  return { entry, leafHash: base64(leafHash), personal: Object.fromEntries(Object.entries(opened).map(([field, { value }]) => [field, value])) };
}

function inclusionView({ leafHash, root, proof, ...sizes }: InclusionProof): z.input<typeof inclusionProof> {
  return { ...sizes, leafHash: base64(leafHash), root: base64(root), proof: proof.map(base64) };
}

function checkpointOf({ size, note, at }: StoredCheckpoint): z.input<typeof checkpointView> {
  return { size, note, at: at.toISOString() };
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64');
}
