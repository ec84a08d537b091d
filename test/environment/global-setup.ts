import { mkdtemp, rm, chmod } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';
import { startPostgres } from '../../deploy/local/postgres.ts';
import { startTemporal } from '../../deploy/local/temporal.ts';
import { resolveTool, temporalTool } from '../../deploy/local/tools.ts';
import { freePort } from '../../platform/telemetry/free-port.ts';

declare module 'vitest' {
  export interface ProvidedContext {
    /** Superuser connection string; use `createTestDatabase` for a database of one's own. */
    postgresUrl: string;
    temporalAddress: string;
  }
}

/** One PostgreSQL and one Temporal server for the whole integration project; each test file takes its own database. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const folder = await mkdtemp(join(tmpdir(), 'hal9-test-'));
  // The database server runs as another user when the tests run as root, and must be able to enter its folder.
  await chmod(folder, 0o755);
  // Throwaway data: without fsync the suites are twice as fast, and durability is tested by the chaos runs.
  const postgres = await startPostgres({ folder: join(folder, 'postgres'), port: await freePort(), settings: { fsync: 'off', shared_buffers: '128MB' } });
  const temporal = await startTemporal({ executable: await resolveTool(temporalTool(), { env: process.env, progress: (message) => process.stderr.write(`${message}\n`) }), port: await freePort() });
  project.provide('postgresUrl', postgres.url);
  project.provide('temporalAddress', temporal.address);
  return async () => {
    await temporal.stop();
    await postgres.stop();
    await rm(folder, { recursive: true, force: true });
  };
}
