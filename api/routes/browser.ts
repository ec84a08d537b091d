import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import type { BrowserEvidence } from '../../platform/browser/evidence.ts';
import type { BrowserHealings } from '../../platform/browser/healings.ts';
import type { InteractiveBrowsers } from '../../platform/browser/interactive.ts';
import { browserPictureParams, browserStepsQuery, browserStepsView, browserTurnBody, browserTurnView, browserHealedFlow, browserHealingBody, browserHealingsView } from '../../schemas/rest/browser.ts';
import { runIdParams } from '../../schemas/rest/runs.ts';
import { defineRoute, type AnyRoute } from '../route.ts';
import { byRun } from '../run-access.ts';

const tag = 'Runs';

/** What browser sessions did, step by step, and what interactive ones are to do next. */
export function createBrowserRoutes({ evidence, healings, interactive }: { evidence: BrowserEvidence; healings: BrowserHealings; interactive: InteractiveBrowsers }): AnyRoute[] {
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
            items: steps.map(({ picture, snapshot, startedAt, endedAt, troubles, ...step }) => ({ ...step, hasPicture: picture !== null, hasSnapshot: snapshot !== null, startedAt: startedAt.toISOString(), endedAt: endedAt.toISOString(), troubles: [...troubles] })),
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
      path: '/v1/runs/:id/browser-evidence',
      id: 'exportBrowserEvidence',
      tag,
      summary: 'Streams what the browser session of a run did as one archive',
      description: 'A page to look at (`index.html`), the steps for programs (`steps.ndjson`), the session (`session.json`), a picture of each step and pages in words. Shows what pages showed, so it needs the permission to decrypt; each export is in the audit log.',
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
