import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { startStack, type Stack } from '../../deploy/local/stack.ts';
import { createDataConverter } from '../../platform/codec/data-converter.ts';
import { loadConfig } from '../../platform/config/config.ts';
import { loadKeyRing } from '../../platform/keys/load.ts';
import { connectTemporalClient } from '../../platform/temporal/connect.ts';
import { formatWorkflowId, parseRunId } from '../../schemas/names/workflow-id.ts';
import { recordHistory } from './recorder.ts';

/** `npm run record:operations`: records the standard cases of HAL9's own operations from a fresh stack. For a release, and when a workflow changed before it had one. */
const runsSchema = z.object({ items: z.array(z.object({ runId: z.string(), status: z.string(), operation: z.string() })) });
const startedSchema = z.object({ runId: z.string() });

const folder = await mkdtemp(join(tmpdir(), 'hal9-record-'));
await chmod(folder, 0o755);
const stack = await startStack({ settings: { HAL9_DATA: join(folder, 'data'), HAL9_PORT: '0' }, progress: (line) => process.stderr.write(`${line}\n`) });
try {
  await record(stack);
} finally {
  await stack.stop();
  await rm(folder, { recursive: true, force: true });
}

async function record({ first, url, hostId, environment }: Stack): Promise<void> {
  if (first === undefined) throw new Error('a fresh stack makes an organisation');
  const config = loadConfig(environment);
  const keys = await loadKeyRing(config);
  const temporal = await connectTemporalClient(config, createDataConverter(keys));
  const call = async (method: string, path: string, body?: unknown): Promise<unknown> => {
    const response = await fetch(`${url}${path}`, { method, headers: { authorization: `Bearer ${first.apiKey}`, 'content-type': 'application/json' }, ...(body === undefined ? {} : { body: JSON.stringify(body) }), signal: AbortSignal.timeout(60_000) });
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
    return response.json();
  };
  const closed = async (operation: string, known: readonly string[]): Promise<string> => {
    for (let attempt = 0; attempt < 120; attempt += 1) {
      const { items } = runsSchema.parse(await call('GET', `/v1/runs?operation=${operation}&status=completed&limit=50`));
      const found = items.find(({ runId }) => !known.includes(runId));
      if (found !== undefined) return found.runId;
      await delay(500);
    }
    throw new Error(`no run of ${operation} ended`);
  };
  const keep = async (runId: string, name: string): Promise<void> => {
    const parts = parseRunId(runId);
    if (parts === undefined) throw new Error(`${runId} is no run id`);
    process.stdout.write(`${await recordHistory(temporal.client, keys, formatWorkflowId({ orgId: first.orgId, ...parts }), name)}\n`);
  };

  await call('POST', '/v1/signals?wait=true', { id: 'recorded-1', source: 'test', type: 'test.recorded', data: { value: 1 } });
  const interactive = await closed('cascade', []);
  await keep(interactive, 'interactive');
  await call('POST', '/v1/signals', { id: 'recorded-2', source: 'test', type: 'test.recorded', data: { value: 2 } });
  await keep(await closed('cascade', [interactive]), 'batch');
  const input = { incidentId: 'recorded', cause: 'cpu-hog', hostId, dryRun: true };
  const { runId } = startedSchema.parse(await call('POST', '/v1/workflows/remediate/runs', { input }));
  await call('GET', `/v1/runs/${runId}/result?waitSeconds=50`);
  await keep(runId, 'dry-run');
  await temporal.close();
}
