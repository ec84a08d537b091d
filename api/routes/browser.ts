import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { z } from 'zod';
import type { BrowserBaseline } from '../../database/browser-baselines.ts';
import type { StoredBrowserStep } from '../../database/browser-sessions.ts';
import type { BrowserBaselines } from '../../platform/browser/baselines.ts';
import type { BrowserEvidence } from '../../platform/browser/evidence.ts';
import type { BrowserHealings } from '../../platform/browser/healings.ts';
import type { InteractiveBrowsers } from '../../platform/browser/interactive.ts';
import browser from '../../schemas/operations/browser.ts';
import { browserBaselineParams, browserBaselinesQuery, browserBaselineView, browserComparedParams, browserFileParams, browserPictureParams, browserStepsQuery, browserStepsView, type browserStepView, browserTurnBody, browserTurnView, browserHealedFlow, browserHealingBody, browserHealingsView } from '../../schemas/rest/browser.ts';
import { pageOf } from '../../schemas/rest/page.ts';
import { runIdParams } from '../../schemas/rest/runs.ts';
import { decodeCursor, encodeCursor } from '../cursor.ts';
import { defineRoute, type AnyRoute } from '../route.ts';
import { byRun } from '../run-access.ts';

const tag = 'Runs';
/** Scopes narrowed to other operations see no pictures of pages. */
const OF_BROWSERS = () => ({ attributes: { type: browser.name } });

/** What browser sessions did, step by step, and what interactive ones are to do next, and the pictures that pages must be equal to. */
export function createBrowserRoutes({ evidence, baselines, healings, interactive }: { evidence: BrowserEvidence; baselines: BrowserBaselines; healings: BrowserHealings; interactive: InteractiveBrowsers }): AnyRoute[] {
  return [
    defineRoute({
      method: 'post',
      path: '/v1/runs/:id/browser-turns',
      id: 'takeBrowserTurn',
      tag,
      summary: 'Tells an interactive browser session its next step, and answers what the page shows',
      description: 'For runs of `browser-session`. A step that fails is an answer with a `failure`: the session goes on. When the answer takes too long (504) send the same `id` again. The run ends by its update `end`, or after `idleMinutes` without a turn.',
      permission: 'runs:write',
      audit: 'run.update',
      access: byRun,
      timeoutMs: 75_000,
      params: runIdParams,
      body: browserTurnBody,
      responses: { 200: { description: 'What came of it.', schema: browserTurnView } },
      async handler({ caller, params, body }) {
        const id = body.id ?? randomUUID();
        return { status: 200, body: { id, ...(await interactive.take(caller, params.id, { ...body, id })) } };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/v1/runs/:id/browser-healings',
      id: 'listBrowserHealings',
      tag,
      summary: 'Lists the steps of a browser session whose element was found another way than the first',
      permission: 'runs:read',
      access: byRun,
      params: runIdParams,
      responses: { 200: { description: 'The steps.', schema: browserHealingsView } },
      handler: async ({ caller, params }) => ({ status: 200, body: { items: await healings.list(caller, params.id) } }),
    }),
    defineRoute({
      method: 'post',
      path: '/v1/runs/:id/browser-healings',
      id: 'acceptBrowserHealings',
      tag,
      summary: 'Answers the flow of a run with the ways first that found their elements',
      description: 'Shows the input of the run, so it needs the permission to decrypt. The run itself is left as it is: start the next with the changed flow.',
      permission: 'codec:decode',
      audit: 'browser.healing',
      params: runIdParams,
      body: browserHealingBody.prefault({}),
      responses: { 200: { description: 'The changed flow.', schema: browserHealedFlow } },
      handler: async ({ caller, params, body }) => ({ status: 200, body: await healings.accept(caller, params.id, body.paths) }),
    }),
    defineRoute({
      method: 'get',
      path: '/v1/runs/:id/browser-steps',
      id: 'listBrowserSteps',
      tag,
      summary: 'Lists what the browser session of a run did, in order',
      permission: 'runs:read',
      access: byRun,
      params: runIdParams,
      query: browserStepsQuery,
      responses: { 200: { description: 'The session and its steps.', schema: browserStepsView } },
      async handler({ caller, params, query }) {
        const { session, steps } = await evidence.steps(caller, params.id, query.limit, query.after);
        const { state, flow, fence, checkpointedAt, createdAt, closedAt } = session;
        return {
          status: 200,
          body: {
            session: { state, flow, takeUps: fence - (closedAt === null ? 0 : 1), checkpointedAt: checkpointedAt?.toISOString() ?? null, createdAt: createdAt.toISOString(), closedAt: closedAt?.toISOString() ?? null },
            items: steps.map(viewOfStep),
          },
        };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/v1/runs/:id/browser-steps/:seq/picture',
      id: 'getBrowserPicture',
      tag,
      summary: 'The picture of the page after a step',
      description: 'Shows what the page showed, so it needs the permission to decrypt; each look is in the audit log.',
      permission: 'codec:decode',
      params: browserPictureParams,
      responses: { 200: { description: 'A JPEG.', contentType: 'image/jpeg' } },
      handler: async ({ caller, params }) => ({ status: 200, body: await evidence.picture(caller, params.id, params.seq), headers: { 'Cache-Control': 'private, max-age=3600' } }),
    }),
    defineRoute({
      method: 'get',
      path: '/v1/runs/:id/browser-steps/:seq/snapshot',
      id: 'getBrowserSnapshot',
      tag,
      summary: 'The page after a step in words',
      description: 'Roles, names and texts as assistive technology has them, without what stands in password fields and what came from the vault. Shows what the page showed, so it needs the permission to decrypt; each look is in the audit log.',
      permission: 'codec:decode',
      params: browserPictureParams,
      responses: { 200: { description: 'The tree, as YAML.', contentType: 'application/yaml' } },
      handler: async ({ caller, params }) => ({ status: 200, body: await evidence.snapshot(caller, params.id, params.seq), headers: { 'Cache-Control': 'private, max-age=3600' } }),
    }),
    defineRoute({
      method: 'get',
      path: '/v1/runs/:id/browser-steps/:seq/compared/:picture',
      id: 'getComparedBrowserPicture',
      tag,
      summary: 'A picture that a step compared: the page, its baseline then, or how they differ',
      description: 'Shows what the page showed, so it needs the permission to decrypt; each look is in the audit log.',
      permission: 'codec:decode',
      params: browserComparedParams,
      responses: { 200: { description: 'A PNG.', contentType: 'image/png' } },
      handler: async ({ caller, params }) => ({ status: 200, body: await evidence.compared(caller, params.id, params.seq, params.picture), headers: { 'Cache-Control': 'private, max-age=3600' } }),
    }),
    defineRoute({
      method: 'get',
      path: '/v1/runs/:id/browser-steps/:seq/files/:number',
      id: 'getBrowserFile',
      tag,
      summary: 'A file that a step uploaded or downloaded',
      description: 'As it was, so it needs the permission to decrypt; each look is in the audit log. Nobody looked whether it does harm.',
      permission: 'codec:decode',
      params: browserFileParams,
      responses: { 200: { description: 'The file.', contentType: 'application/octet-stream' } },
      async handler({ caller, params }) {
        const { name, content } = await evidence.file(caller, params.id, params.seq, params.number);
        return { status: 200, body: content, headers: { 'Content-Disposition': `attachment; filename*=UTF-8''${encodeURIComponent(name.toWellFormed()).replaceAll(/['()*]/g, (sign) => `%${sign.charCodeAt(0).toString(16)}`)}`, 'Cache-Control': 'no-store' } };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/v1/runs/:id/browser-steps/:seq/accept',
      id: 'acceptBrowserPicture',
      tag,
      summary: 'Makes the picture that a step compared the baseline for its flow, name and size',
      description: 'The run itself is left as it is: the next one is compared with the new baseline. Needs evidence of the step.',
      permission: 'runs:write',
      audit: 'browser.baseline',
      access: byRun,
      params: browserPictureParams,
      responses: { 200: { description: 'The baseline.', schema: browserBaselineView } },
      handler: async ({ caller, params }) => ({ status: 200, body: viewOfBaseline(await baselines.accept(caller, params.id, params.seq)) }),
    }),
    defineRoute({
      method: 'get',
      path: '/v1/browser-baselines',
      id: 'listBrowserBaselines',
      tag,
      summary: 'Lists the pictures that steps of browser flows are compared with',
      permission: 'runs:read',
      access: OF_BROWSERS,
      query: browserBaselinesQuery,
      responses: { 200: { description: 'A page of baselines.', schema: pageOf(browserBaselineView) } },
      async handler({ caller, query }) {
        const after = query.cursor === undefined ? undefined : decodeCursor(query.cursor, z.object({ id: z.uuid() })).id;
        const page = await baselines.list(caller, { flow: query.flow }, query.limit + 1, after);
        const items = page.slice(0, query.limit);
        const last = page.length > query.limit ? items.at(-1) : undefined;
        return { status: 200, body: { items: items.map(viewOfBaseline), nextCursor: last === undefined ? null : encodeCursor({ id: last.id }) } };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/v1/browser-baselines/:id/picture',
      id: 'getBrowserBaselinePicture',
      tag,
      summary: 'The picture that steps of a browser flow are compared with',
      description: 'Shows what a page showed, so it needs the permission to decrypt; each look is in the audit log.',
      permission: 'codec:decode',
      params: browserBaselineParams,
      responses: { 200: { description: 'A PNG.', contentType: 'image/png' } },
      handler: async ({ caller, params }) => ({ status: 200, body: await baselines.picture(caller, params.id), headers: { 'Cache-Control': 'no-store' } }),
    }),
    defineRoute({
      method: 'delete',
      path: '/v1/browser-baselines/:id',
      id: 'deleteBrowserBaseline',
      tag,
      summary: 'Deletes a baseline: the next picture of its flow, name and size becomes it',
      permission: 'runs:write',
      audit: 'browser.baseline-delete',
      access: OF_BROWSERS,
      params: browserBaselineParams,
      responses: { 204: { description: 'It is gone.' } },
      async handler({ caller, params }) {
        await baselines.remove(caller, params.id);
        return { status: 204 };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/v1/runs/:id/browser-evidence',
      id: 'exportBrowserEvidence',
      tag,
      summary: 'Streams what the browser session of a run did as one archive',
      description: 'A page to look at (`index.html`), the steps for programs (`steps.ndjson`), the session (`session.json`), a picture of each step, pages in words, what was compared and files. Shows what pages showed, so it needs the permission to decrypt; each export is in the audit log.',
      permission: 'codec:decode',
      audit: 'browser.evidence',
      timeoutMs: 0,
      params: runIdParams,
      responses: { 200: { description: 'A ZIP archive.', contentType: 'application/zip' } },
      async handler({ caller, params, response, signal }) {
        const parts = await evidence.archive(caller, params.id, signal);
        response.statusCode = 200;
        response.setHeader('Content-Type', 'application/zip');
        response.setHeader('Content-Disposition', `attachment; filename="${params.id.replaceAll(/[^\w.-]/g, '-')}.zip"`);
        response.setHeader('Cache-Control', 'no-store');
        for await (const part of parts) {
          if (!response.write(part)) await Promise.race([once(response, 'drain'), once(response, 'close')]);
          if (signal.aborted) return;
        }
        response.end();
      },
    }),
  ];
}

function viewOfStep({ picture, snapshot, comparison, actual, baseline, difference, startedAt, endedAt, files, troubles, ...step }: StoredBrowserStep): z.input<typeof browserStepView> {
  const blobs = { actual, baseline, difference };
  const pictures = (['actual', 'baseline', 'difference'] as const).filter((which) => blobs[which] !== null);
  return { ...step, hasPicture: picture !== null, hasSnapshot: snapshot !== null, comparison: comparison === null ? null : { ...comparison, pictures }, files: files.map(({ blob, ...file }) => ({ ...file, hasContent: blob !== null })), startedAt: startedAt.toISOString(), endedAt: endedAt.toISOString(), troubles: [...troubles] };
}

function viewOfBaseline({ id, flow, name, viewport, width, height, runId, accepted, takenAt }: BrowserBaseline): z.input<typeof browserBaselineView> {
  return { id, flow, name, viewport, width, height, runId, accepted, takenAt: takenAt.toISOString() };
}
