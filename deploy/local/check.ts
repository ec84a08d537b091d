import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { historyFromJSON } from '@temporalio/common/lib/proto-utils.js';
import proto from '@temporalio/proto';
import { Runtime } from '@temporalio/worker';
import pino from 'pino';
import { z } from 'zod';
import { createDataConverter, FAILURE_CONVERTER_PATH } from '../../platform/codec/data-converter.ts';
import type { KeyRing } from '../../platform/keys/key-ring.ts';
import { loadKeyRing } from '../../platform/keys/load.ts';
import { contractsByName, discoverProjects, DiscoveryError, projectRoots } from '../../platform/operations/discovery.ts';
import { loadBundle, type WorkflowBundle } from '../../workers/bundle.ts';
import { replayRuns, type ReplayableRun } from '../../workers/replay.ts';
import { sdkLogger } from '../../platform/temporal/sdk-logger.ts';
import { runCommand } from './command.ts';
import { SetupError } from './setup-error.ts';
import { resolveTool, temporalTool } from './tools.ts';

/** Histories kept from runs of earlier code: what is open now was begun by it. */
async function replay(folder: string, bundle: WorkflowBundle, print: (line: string) => void): Promise<void> {
  if (!existsSync(folder)) return;
  const files = (await readdir(folder)).filter((name) => name.endsWith('.json')).sort();
  // The SDK would log every run that fails to be replayed, with its stack.
  Runtime.install({ logger: sdkLogger(pino({ level: 'silent' })), shutdownSignals: [], telemetryOptions: { logging: { filter: { core: 'ERROR' }, forward: {} } } });
  for (const file of files) {
    const text = await readFile(join(folder, file), 'utf8');
    const converter = text.includes(ENCRYPTED) ? createDataConverter(await keysOf(file)) : { failureConverterPath: FAILURE_CONVERTER_PATH };
    const [broken] = await replayRuns(bundle, converter, [readHistory(file, text)]);
    if (broken !== undefined) throw new SetupError(`the history ${file} cannot go on with these workflows: ${/\[TMPRL1100\] ([^"]+)/.exec(broken.reason)?.[1] ?? broken.reason}`, 'guard the change with patched()');
  }
  print(`${files.length} histories replay`);
}

/** How Temporal's JSON writes the encoding of an encrypted payload: base64 of `binary/encrypted`. */
const ENCRYPTED = Buffer.from('binary/encrypted').toString('base64').replace(/=*$/, '');

const recordingSchema = z.object({ workflowId: z.string(), history: z.looseObject({ events: z.array(z.looseObject({})).min(1) }) });
const temporalSchema = z.looseObject({ events: z.array(z.looseObject({ workflowExecutionStartedEventAttributes: z.looseObject({ workflowId: z.string().optional() }).optional() })).min(1) });

/** As `hal9 record` writes them, or as Temporal's own command and UI give them out. */
function readHistory(file: string, text: string): ReplayableRun {
  try {
    const json: unknown = JSON.parse(text);
    const recording = recordingSchema.safeParse(json);
    if (recording.success) return { workflowId: recording.data.workflowId, history: proto.temporal.api.history.v1.History.fromObject(recording.data.history) };
    const history = temporalSchema.parse(json);
    return { workflowId: history.events[0]?.workflowExecutionStartedEventAttributes?.workflowId ?? file, history: historyFromJSON(history) };
  } catch (error) {
    throw new SetupError(`the file ${file} is no history: ${error instanceof Error ? error.message.split('\n')[0] ?? '' : String(error)}`, 'keep one with `hal9 record`, or `temporal workflow show --output json`', { cause: error });
  }
}

/** Keys of the HAL9 that ran what is replayed. */
async function keysOf(file: string): Promise<KeyRing> {
  const { HAL9_MASTER_KEYS, HAL9_DATA = '.hal9' } = process.env;
  if (HAL9_MASTER_KEYS === undefined && !existsSync(join(HAL9_DATA, 'keys', 'master'))) throw new SetupError(`the history ${file} is encrypted and the keys are not here`, 'set HAL9_DATA to the data folder of the HAL9 that ran it, or HAL9_MASTER_KEYS; what `hal9 record` keeps needs no keys');
  return loadKeyRing({ HAL9_MASTER_KEYS, HAL9_DATA });
}

function asSetupError(error: unknown): never {
  if (error instanceof DiscoveryError) throw new SetupError(error.message, 'correct it and check again', { cause: error });
  throw error;
}

/** `hal9 check [DIR]`: everything about a project of operations that can be known before it is served. */
await runCommand(async (signal) => {
  const root = resolve(process.argv[2] ?? '.');
  const print = (line: string): void => void process.stdout.write(`${line}\n`);
  const projects = await discoverProjects(projectRoots(root)).catch(asSetupError);
  const own = projects.filter((project) => project.root === root);
  if (contractsByName(own).size === 0) throw new SetupError(`${root} has no operations`, 'a contract is the default export of a file in schemas/operations; `hal9 init` makes one');
  const bundle = await loadBundle(projects).catch(asSetupError);
  print(`${[...contractsByName(own).keys()].join(', ')}: the contracts load and the workflows build`);
  await replay(join(root, 'test', 'histories'), bundle, print);
  const tests = existsSync(join(root, 'test')) ? (await readdir(join(root, 'test'), { recursive: true })).filter((path) => /\.test\.[jt]s$/.test(path)).map((path) => join(root, 'test', path)) : [];
  if (tests.length === 0) return;
  const executable = await resolveTool(temporalTool(), { env: process.env, progress: (message) => process.stderr.write(`${message}\n`), signal });
  const child = spawn(process.execPath, ['--test', ...tests], { cwd: root, stdio: 'inherit', env: { ...process.env, HAL9_TEMPORAL_CLI: executable }, signal });
  process.exitCode = await new Promise<number>((settle, reject) => {
    child.once('error', reject);
    child.once('exit', (status) => settle(status ?? 1));
  });
});
