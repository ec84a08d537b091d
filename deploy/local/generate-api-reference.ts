import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import pino from 'pino';
import { startApi } from '../../api/process.ts';
import { apiReferencePage } from '../../api/reference.ts';
import type { OpenApiDocument } from '../../api/openapi.ts';
import { loadConfig } from '../../platform/config/config.ts';

/** Path of the generated page in the repository. */
export const API_REFERENCE = 'docs/reference/api.md';

/** OpenAPI of HAL9's own routes and operations; needs no server, because nothing is asked. */
export async function documentApi(): Promise<OpenApiDocument> {
  const config = loadConfig({
    DATABASE_URL: 'postgres://nobody@127.0.0.1:1/none',
    TEMPORAL_ADDRESS: '127.0.0.1:1',
    HAL9_PORT: '0',
    HAL9_MASTER_KEYS: `none:${Buffer.alloc(32).toString('base64')}`,
  });
  const api = await startApi(config, { version: '1', logger: pino({ level: 'silent' }), drainMs: 0 });
  await api.stop();
  return api.openApi;
}

export async function writeApiReference(): Promise<void> {
  await writeFile(join(import.meta.dirname, '../..', API_REFERENCE), apiReferencePage(await documentApi()));
  process.stdout.write(`wrote ${API_REFERENCE}\n`);
}
