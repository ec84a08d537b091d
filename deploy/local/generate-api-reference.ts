import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import pino from 'pino';
import { permissionReferencePage } from '../../api/permission-reference.ts';
import { startApi, type RunningApi } from '../../api/process.ts';
import { apiReferencePage } from '../../api/reference.ts';
import type { OpenApiDocument } from '../../api/openapi.ts';
import { loadConfig } from '../../platform/config/config.ts';
import { discoverContracts, projectRoots } from '../../platform/operations/discovery.ts';

/** Path of the generated page in the repository. */
export const API_REFERENCE = 'docs/reference/api.md';
export const PERMISSION_REFERENCE = 'docs/reference/permissions.md';

/** OpenAPI of HAL9's own routes and operations. */
export async function documentApi(): Promise<OpenApiDocument> {
  return (await describedApi()).openApi;
}

/** The reference page of permissions. */
export async function documentPermissions(): Promise<string> {
  const [{ routes }, contracts] = await Promise.all([describedApi(), discoverContracts(projectRoots(undefined))]);
  return permissionReferencePage(routes, contracts.values());
}

/** An API that was up for a moment; needs no server, because nothing is asked. */
async function describedApi(): Promise<RunningApi> {
  const config = loadConfig({
    DATABASE_URL: 'postgres://nobody@127.0.0.1:1/none',
    TEMPORAL_ADDRESS: '127.0.0.1:1',
    HAL9_PORT: '0',
    HAL9_MASTER_KEYS: `none:${Buffer.alloc(32).toString('base64')}`,
  });
  const api = await startApi(config, { version: '1', logger: pino({ level: 'silent' }), drainMs: 0 });
  await api.stop();
  return api;
}

export async function writeApiReference(): Promise<void> {
  await writeFile(join(import.meta.dirname, '../..', API_REFERENCE), apiReferencePage(await documentApi()));
  process.stdout.write(`wrote ${API_REFERENCE}\n`);
  await writeFile(join(import.meta.dirname, '../..', PERMISSION_REFERENCE), await documentPermissions());
  process.stdout.write(`wrote ${PERMISSION_REFERENCE}\n`);
}
