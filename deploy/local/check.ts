import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { Worker } from '@temporalio/worker';
import { contractsByName, discoverProjects, DiscoveryError, projectRoots } from '../../platform/operations/discovery.ts';
import { loadBundle } from '../../workers/bundle.ts';
import { runCommand } from './command.ts';
import { SetupError } from './setup-error.ts';
import { resolveTool, temporalTool } from './tools.ts';

/** `hal9 check [DIR]`: everything about a project of operations that can be known before it is served. */
await runCommand(async (signal) => {
  const root = resolve(process.argv[2] ?? '.');
  const print = (line: string): void => void process.stdout.write(`${line}\n`);
  const projects = await discoverProjects(projectRoots(root)).catch(asSetupError);
  const own = projects.filter((project) => project.root === root);
  if (contractsByName(own).size === 0) throw new SetupError(`${root} has no operations`, 'a contract is the default export of a file in schemas/operations; `hal9 init` makes one');
  const { code } = await loadBundle(projects).catch(asSetupError);
  print(`${[...contractsByName(own).keys()].join(', ')}: the contracts load and the workflows build`);
  await replay(join(root, 'test', 'histories'), code, print);
  const tests = existsSync(join(root, 'test')) ? (await readdir(join(root, 'test'), { recursive: true })).filter((path) => /\.test\.[jt]s$/.test(path)).map((path) => join(root, 'test', path)) : [];
  if (tests.length === 0) return;
  const executable = await resolveTool(temporalTool(), { env: process.env, progress: (message) => process.stderr.write(`${message}\n`), signal });
  const child = spawn(process.execPath, ['--test', ...tests], { cwd: root, stdio: 'inherit', env: { ...process.env, HAL9_TEMPORAL_CLI: executable }, signal });
  process.exitCode = await new Promise<number>((settle, reject) => {
    child.once('error', reject);
    child.once('exit', (status) => settle(status ?? 1));
  });
});

/** Histories kept from runs of earlier code: what is open now was begun by it. */
async function replay(folder: string, code: string, print: (line: string) => void): Promise<void> {
  if (!existsSync(folder)) return;
  const files = (await readdir(folder)).filter((name) => name.endsWith('.json'));
  for (const file of files) {
    const history: unknown = JSON.parse(await readFile(join(folder, file), 'utf8'));
    await Worker.runReplayHistory({ workflowBundle: { code } }, history).catch((error: unknown) => {
      throw new SetupError(`${file} cannot go on with these workflows: ${error instanceof Error ? error.message : String(error)}`, 'guard the change with patched()', { cause: error });
    });
  }
  print(`${files.length} histories replay`);
}

function asSetupError(error: unknown): never {
  if (error instanceof DiscoveryError) throw new SetupError(error.message, 'correct it and check again', { cause: error });
  throw error;
}
