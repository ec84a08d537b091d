import { setTimeout as sleep } from 'node:timers/promises';
import type { LiveViews } from '../../platform/browser/live-views.ts';
import { liveFrameView, liveInputsBody, liveLinkParams, liveViewView } from '../../schemas/rest/live-views.ts';
import { takeOverSchema } from '../../schemas/operations/browser.ts';
import { runIdParams } from '../../schemas/rest/runs.ts';
import { EventStream } from '../event-stream.ts';
import { defineRoute, type AnyRoute } from '../route.ts';
import { byRun } from '../run-access.ts';

const tag = 'Runs';
/** How often a newer picture is looked for, ms. */
const FRAME_MS = 120;
/** How often it is looked whether the view is still open, ms. */
const PRESENT_MS = 3_000;

/** Live pages of browser sessions. */
export function createLiveViewRoutes({ views }: { views: LiveViews }): AnyRoute[] {
  return [
    defineRoute({
      method: 'post',
      path: '/v1/runs/:id/live-views',
      id: 'openLiveView',
      tag,
      summary: 'Opens the live page of a browser session, and a link to it',
      description: 'The link shows the page for fifteen minutes to whoever has it. While the session waits for a person, mouse and keys go to the page: send it only to them. Needs the permission to decrypt, and to send messages to the run.',
      permission: 'codec:decode',
      audit: 'browser.live-view',
      params: runIdParams,
      responses: { 201: { description: 'The link.', schema: liveViewView } },
      async handler({ caller, params }) {
        const { id, token, url, expiresAt } = await views.open(caller, params.id);
        return { status: 201, body: { id, token, url, expiresAt: expiresAt.toISOString() } };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/v1/runs/:id/browser-take-over',
      id: 'takeOverBrowser',
      tag,
      summary: 'Takes a browser session over, and opens its live page',
      description: 'For runs of `browser` and `browser-session`, at any moment. The flow stops before its next step; from then on mouse and keys go to the page of the link, until the session is handed back or the deadline. Permissions as of its live page.',
      permission: 'codec:decode',
      audit: 'browser.take-over',
      params: runIdParams,
      body: takeOverSchema,
      responses: { 201: { description: 'The link.', schema: liveViewView } },
      async handler({ caller, params, body }) {
        const { expiresAt, ...link } = await views.takeOver(caller, params.id, body);
        return { status: 201, body: { ...link, expiresAt: expiresAt.toISOString() } };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/v1/runs/:id/browser-hand-back',
      id: 'handBackBrowser',
      tag,
      summary: 'Gives a browser session back that was taken over',
      description: 'What was done to the page is checkpointed, and the flow goes on from there.',
      permission: 'runs:write',
      audit: 'run.update',
      access: byRun,
      params: runIdParams,
      responses: { 204: { description: 'It goes on.' } },
      async handler({ caller, params }) {
        await views.handBack(caller, params.id);
        return { status: 204 };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/live/:token/frames',
      id: 'streamLiveView',
      tag,
      summary: 'Streams the page that a live link shows',
      description: 'Server-sent events `frame`, each the whole page as a JPEG, when it changed; `over` when the view ends.',
      permission: 'public',
      timeoutMs: 0,
      params: liveLinkParams,
      responses: { 200: { description: 'Events; `data` is one frame.', schema: liveFrameView, contentType: 'text/event-stream' } },
      async handler({ params, response, signal }) {
        const view = views.read(params.token);
        const stream = new EventStream(response);
        try {
          let seq = 0;
          let askedAt = 0;
          stream.open();
          while (!signal.aborted) {
            if (Date.now() - askedAt > PRESENT_MS) {
              askedAt = Date.now();
              if (!(await views.present(view))) break;
            }
            const frame = await views.frame(view, seq);
            if (frame !== undefined) {
              ({ seq } = frame);
              const { picture, width, height, attended } = frame;
              stream.send({ id: String(seq), event: 'frame', data: JSON.stringify({ runId: view.runId, width, height, attended, picture: picture.toString('base64') }) });
            }
            await sleep(FRAME_MS);
          }
          if (!signal.aborted) {
            stream.send({ id: String(seq + 1), event: 'over', data: '{}' });
            stream.end();
          }
        } finally {
          stream.close();
        }
        return undefined;
      },
    }),
    defineRoute({
      method: 'post',
      path: '/live/:token/inputs',
      id: 'sendLiveInputs',
      tag,
      summary: 'Sends what a person does to the page that a live link shows',
      description: 'Reaches the page while the session waits for a person, and nobody else. The token is the credential; no cookie is involved.',
      permission: 'public',
      audit: { none: 'opening the view is on record; keys and clicks may be secrets' },
      params: liveLinkParams,
      body: liveInputsBody,
      responses: { 204: { description: 'On its way.' } },
      async handler({ params, body }) {
        await views.send(views.read(params.token), body.inputs);
        return { status: 204 };
      },
    }),
  ];
}
