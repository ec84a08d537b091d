import { readFile } from 'node:fs/promises';
import { extname, join } from 'node:path';
import { z } from 'zod';
import { HalError } from '../../schemas/errors.ts';
import { defineRoute, type AnyRoute } from '../route.ts';

const FOLDER = join(import.meta.dirname, '../../console');
/** Only what this server sent itself runs, and it talks to this server only. */
export const PAGE_POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
const MEDIA: Readonly<Record<string, string>> = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css' };

/** The pages of the console. They hold no data: what they show they ask of the API with the reader's own key. */
export function createConsoleRoutes(): AnyRoute[] {
  return [
    defineRoute({
      method: 'get',
      path: '/console',
      id: 'console',
      tag: 'Documentation',
      summary: 'The console: runs, automations, incidents and more as pages',
      permission: 'public',
      responses: { 303: { description: 'To its first page.' } },
      handler: async () => ({ status: 303, headers: { Location: '/console/runs.html' } }),
    }),
    defineRoute({
      method: 'get',
      path: '/console/:file',
      id: 'consoleAsset',
      tag: 'Documentation',
      summary: 'Pages, scripts and styles of the console',
      permission: 'public',
      params: z.object({ file: z.string().regex(/^[a-z][a-z-]*\.(html|js|css)$/) }),
      responses: { 200: { description: 'The file.', schema: z.string(), contentType: 'text/html', alternatives: { 'text/javascript': z.string(), 'text/css': z.string() } } },
      async handler({ params: { file } }) {
        const body = await readFile(join(FOLDER, file), 'utf8').catch((cause: unknown) => {
          throw new HalError('NotFound', 'no such file', { cause });
        });
        return { status: 200, body, headers: { 'Content-Type': `${MEDIA[extname(file)] ?? 'text/plain'}; charset=utf-8`, 'Content-Security-Policy': PAGE_POLICY, 'Cache-Control': 'no-cache' } };
      },
    }),
  ];
}
