import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
// The folder alone: the package's main file runs the whole page.
import swaggerUiFolder from 'swagger-ui-dist/absolute-path.js';
import { z } from 'zod';
import { FAILURES, HalError, type FailureName } from '../../schemas/errors.ts';
import type { OpenApiDocument } from '../openapi.ts';
import { defineRoute, type AnyRoute } from '../route.ts';

const HTML = 'text/html; charset=utf-8';
/** Only what this server sent itself runs; Swagger UI sets styles and draws images inline. */
const POLICY = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const MEDIA: Readonly<Record<string, string>> = { 'swagger-ui.css': 'text/css', 'swagger-ui-bundle.js': 'text/javascript', 'start.js': 'text/javascript' };

const START = `window.onload = () => { window.ui = SwaggerUIBundle({ url: '/openapi.json', dom_id: '#page', deepLinking: true, tryItOutEnabled: true, validatorUrl: null }); };\n`;
const PAGE = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>HAL9 API</title><link rel="stylesheet" href="/docs/swagger-ui.css"></head>
<body><div id="page"></div><script src="/docs/swagger-ui-bundle.js"></script><script src="/docs/start.js"></script></body></html>
`;

const failureView = z.object({ type: z.string(), title: z.string(), status: z.int(), owner: z.enum(['user', 'us', 'outside']), retryable: z.boolean(), remedy: z.string() }).meta({ id: 'FailureType' });

/** The description of the API, a page to try it, and the kinds of failures. They hold no data, so they need no credential. */
export function createDocumentationRoutes(openApi: () => OpenApiDocument): AnyRoute[] {
  return [
    defineRoute({
      method: 'get',
      path: '/openapi.json',
      id: 'openApi',
      tag: 'Documentation',
      summary: 'OpenAPI 3.1 of this server, with its operations',
      permission: 'public',
      responses: { 200: { description: 'The document.', schema: z.record(z.string(), z.unknown()) } },
      handler: async () => ({ status: 200, body: openApi() }),
    }),
    defineRoute({
      method: 'get',
      path: '/docs',
      id: 'documentation',
      tag: 'Documentation',
      summary: 'A page to read about the API and try it',
      permission: 'public',
      responses: { 200: { description: 'The page; everything it loads comes from this server.', schema: z.string(), contentType: HTML } },
      handler: async () => ({ status: 200, body: PAGE, headers: { 'Content-Security-Policy': POLICY } }),
    }),
    defineRoute({
      method: 'get',
      path: '/docs/:file',
      id: 'documentationAsset',
      tag: 'Documentation',
      summary: 'Scripts and styles of the page',
      permission: 'public',
      params: z.object({ file: z.string().max(100) }),
      responses: { 200: { description: 'The file.', schema: z.string(), contentType: 'text/javascript' } },
      async handler({ params: { file } }) {
        const type = Object.hasOwn(MEDIA, file) ? MEDIA[file] : undefined;
        if (type === undefined) throw new HalError('NotFound', 'no such file');
        const body = file === 'start.js' ? START : await readFile(join(swaggerUiFolder(), file));
        return { status: 200, body, headers: { 'Content-Type': `${type}; charset=utf-8`, 'Cache-Control': 'public, max-age=3600' } };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/problems/:type',
      id: 'explainProblem',
      tag: 'Documentation',
      summary: 'Explains a kind of failure: what a problem\'s `type` points to',
      permission: 'public',
      params: z.object({ type: z.string().max(100) }),
      responses: { 200: { description: 'The kind of failure.', schema: failureView } },
      async handler({ params: { type } }) {
        if (!isFailure(type)) throw new HalError('NotFound', 'no such kind of failure');
        return { status: 200, body: { type, ...FAILURES[type] } };
      },
    }),
  ];
}

function isFailure(type: string): type is FailureName {
  return Object.hasOwn(FAILURES, type);
}
