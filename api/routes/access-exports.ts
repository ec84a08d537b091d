import { z } from 'zod';
import type { AccessExportRecord } from '../../database/access-exports.ts';
import { accessExportRunId, type AccessExports } from '../../platform/privacy/access-exports.ts';
import { accessExportDraft, accessExportLink, accessExportView } from '../../schemas/rest/access-exports.ts';
import { pageOf, pageQuery } from '../../schemas/rest/page.ts';
import { BY_TIME, pageOfList } from '../page.ts';
import { defineRoute, type AnyRoute } from '../route.ts';

const tag = 'Privacy';
const params = z.object({ id: z.uuid() });
const BY_REQUEST = { position: BY_TIME.position, of: ({ requestedAt, id }: { readonly requestedAt: string; readonly id: string }) => ({ at: requestedAt, id }) };

/** Copies of all that is held of a person. */
export function createAccessExportRoutes({ exports }: { readonly exports: AccessExports }): AnyRoute[] {
  return [
    defineRoute({
      method: 'get',
      path: '/v1/privacy/exports',
      id: 'listAccessExports',
      tag,
      summary: 'Lists access exports',
      permission: 'privacy:read',
      query: pageQuery,
      responses: { 200: { description: 'Latest first.', schema: pageOf(accessExportView) } },
      handler: async ({ caller, query }) => ({ status: 200, body: await pageOfList(query, BY_REQUEST, async (limit, before) => (await exports.list(caller, limit, before)).map(view)) }),
    }),
    defineRoute({
      method: 'post',
      path: '/v1/privacy/exports',
      id: 'requestAccessExport',
      tag,
      summary: 'Hands a person all that is held of them',
      description: 'Starts a run that looks into every source an erasure would look into and puts what it finds into an archive (JSON, CSV, an index to read), encrypted to the person. Half an answer is none: it waits for sources that do not answer.',
      permission: 'privacy:export',
      audit: 'access-export.request',
      body: accessExportDraft,
      responses: { 202: { description: 'The export; its run goes on.', schema: accessExportView } },
      handler: async ({ caller, body }) => ({ status: 202, body: view(await exports.request(caller, body)) }),
    }),
    defineRoute({
      method: 'get',
      path: '/v1/privacy/exports/:id',
      id: 'getAccessExport',
      tag,
      summary: 'Reads how an access export stands',
      permission: 'privacy:read',
      params,
      responses: { 200: { description: 'The export.', schema: accessExportView } },
      handler: async ({ caller, params: { id } }) => ({ status: 200, body: view(await exports.get(caller, id)) }),
    }),
    defineRoute({
      method: 'post',
      path: '/v1/privacy/exports/:id/resume',
      id: 'resumeAccessExport',
      tag,
      summary: 'Has an access export try again at once',
      description: 'Starts its run where there is none.',
      permission: 'privacy:export',
      audit: 'access-export.resume',
      params,
      responses: { 202: { description: 'The export.', schema: accessExportView } },
      handler: async ({ caller, params: { id } }) => ({ status: 202, body: view(await exports.resume(caller, id)) }),
    }),
    defineRoute({
      method: 'post',
      path: '/v1/privacy/exports/:id/link',
      id: 'linkAccessExport',
      tag,
      summary: 'Makes a link to an access export, for the person',
      description: 'Good for a day, and no longer than the export. Whoever follows it gets the encrypted archive; each time is in the audit log.',
      permission: 'privacy:export',
      audit: 'access-export.link',
      params,
      responses: { 201: { description: 'The link.', schema: accessExportLink } },
      handler: async ({ caller, params: { id } }) => {
        const { url, expiresAt } = await exports.link(caller, id);
        return { status: 201, body: { url, expiresAt: expiresAt.toISOString() } };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/access-exports/:token',
      id: 'downloadAccessExport',
      tag,
      summary: 'Fetches an access export by its link',
      description: 'The token is the credential; the archive opens with the key or passphrase of the person only.',
      permission: 'public',
      audit: 'access-export.download',
      params: z.object({ token: z.string().min(20).max(1000) }),
      responses: { 200: { description: 'A ZIP archive, encrypted with age.', contentType: 'application/octet-stream' } },
      failurePage: true,
      handler: async ({ params: { token } }) => {
        const { id, bytes } = await exports.follow(token);
        return { status: 200, body: bytes, headers: { 'Content-Disposition': `attachment; filename="export-${id}.zip.age"`, 'Cache-Control': 'no-store' } };
      },
    }),
  ];
}

function view({ id, state, verification, requestedAt, requestedBy, reasons, contents, bytes, readyAt, expiresAt, downloads }: AccessExportRecord) {
  return { id, runId: accessExportRunId(id), state, verification, requestedAt: requestedAt.toISOString(), requestedBy, reasons: [...reasons], contents: [...contents], bytes, readyAt: readyAt?.toISOString() ?? null, expiresAt: expiresAt?.toISOString() ?? null, downloads };
}
