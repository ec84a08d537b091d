import { chmod, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Database } from '../../../database/database.ts';
import { ApiKeys } from '../../../platform/identity/api-keys.ts';
import { systemCaller } from '../../../platform/identity/caller.ts';
import type { NeuronDraft } from '../../../schemas/neurons/definition.ts';
import { startStack, type Stack } from '../stack.ts';
import type { ProcessKind } from '../stack-processes.ts';
import { DemoApi } from './api.ts';
import { FAULT_FILES, faultMarks } from './fault.ts';

export interface DemoSession {
  readonly stack: Stack;
  readonly api: DemoApi;
  /** API key of the demo, with every scope. */
  readonly apiKey: string;
  /** The watched folder of temporary files. */
  readonly folder: string;
  close(): Promise<void>;
}

export interface SessionOptions {
  readonly processes: readonly ProcessKind[];
  readonly neurons: readonly NeuronDraft[];
  readonly signal: AbortSignal;
  readonly progress: (message: string) => void;
}

/** A stack with a data folder of its own that goes with it, two core workers, and the neurons installed over REST. */
export async function openSession(options: SessionOptions): Promise<DemoSession> {
  const { signal, progress } = options;
  const data = await mkdtemp(join(tmpdir(), 'hal9-demo-'));
  // The database server runs as another user when the demo runs as root, and must be able to enter.
  await chmod(data, 0o755);
  const folder = join(data, 'temporary');
  await mkdir(folder);
  progress('starting PostgreSQL, Temporal and the HAL9 processes');
  let stack: Stack | undefined;
  try {
    stack = await startStack({ settings: settingsOf(data, folder), processes: options.processes, signal, progress, deafMs: 600_000 });
    const apiKey = stack.first?.apiKey ?? (await createKey(stack));
    const api = new DemoApi(stack.url, apiKey, signal);
    progress(`installing ${options.neurons.length} neurons`);
    for (const neuron of options.neurons) await api.createNeuron(neuron);
    const started = stack;
    return {
      stack,
      api,
      apiKey,
      folder,
      async close() {
        await started.stop();
        await rm(data, { recursive: true, force: true });
      },
    };
  } catch (error) {
    await stack?.stop();
    await rm(data, { recursive: true, force: true });
    throw error;
  }
}

/** What the host agent may touch is exactly what the demo breaks. Ports are free ones, so that the demo runs beside a stack of one's own. */
function settingsOf(data: string, folder: string): Record<string, string> {
  const marks = faultMarks(folder);
  return {
    HAL9_DATA: data,
    HAL9_PORT: process.env['HAL9_PORT'] ?? '0',
    HAL9_CORE_WORKERS: '2',
    HAL9_AGENT_ACTIONS: 'terminateProcess,killProcess,resumeProcess,terminateBackend,deleteTemporaryFiles',
    HAL9_AGENT_APPROVAL: 'none',
    HAL9_AGENT_PROCESSES: marks.processes,
    HAL9_AGENT_BACKENDS: marks.sessions,
    HAL9_AGENT_TEMP: folder,
    HAL9_AGENT_TEMP_MARK: FAULT_FILES,
    HAL9_AGENT_MAX_PER_HOUR: '100',
  };
}

/** For a database that had an organisation already: a key for the organisation whose machine this is. */
async function createKey(stack: Stack): Promise<string> {
  const orgId = stack.environment['HAL9_AGENT_ORG'];
  if (orgId === undefined) throw new Error('the database has no organisation');
  const database = new Database({ url: stack.databaseUrl, poolSize: 2, applicationName: 'hal9-demo' });
  try {
    return (await new ApiKeys(database).create(systemCaller(orgId, 'demo'), { name: 'demo', scopes: ['*'], expiresAt: new Date(Date.now() + 86_400_000) })).secret;
  } finally {
    await database.close();
  }
}
