import { createHash } from 'node:crypto';
import { access, constants, mkdir, readFile, readdir, rename, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { homedir } from 'node:os';
import { extname, join, relative } from 'node:path';
import { bundleWorkflowCode, type Logger } from '@temporalio/worker';
import { FAILURE_CONVERTER_PATH } from '../platform/codec/data-converter.ts';
import { DiscoveryError, HAL9_ROOT, assertWorkflows, type Project } from '../platform/operations/discovery.ts';
import { workflowName } from '../schemas/operations/operation.ts';

/** Where bundles are kept by the hash of what went into them: a warm start reads a file instead of running webpack. */
export const BUNDLE_FOLDER = join(HAL9_ROOT, '.cache', 'workflows');

/** The same for a user who may not write there. */
const USER_FOLDER = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'hal9', 'workflows');

/** Modules whose `interceptors` wrap every workflow. */
const INTERCEPTORS = [join(import.meta.dirname, 'interceptors', `workflow${extname(import.meta.filename)}`)];

/** What every run needs and what keeps nothing of one: evaluated once for each thread of a worker, not once for each run. */
const SHARED = ['@temporalio/workflow', '@temporalio/common', FAILURE_CONVERTER_PATH, ...INTERCEPTORS];

/** Libraries that have no place in deterministic code. */
const FORBIDDEN = /\/node_modules\/(zod|lodash|kysely|pg|pino|express)\//;

const QUIET: Logger = { log() {}, trace() {}, debug() {}, info() {}, warn() {}, error() {} };

export interface WorkflowBundle {
  /** First 16 hex digits of the hash of everything that went in; the build id of workers. */
  readonly hash: string;
  readonly code: string;
}

/**
 * The workflow code of all projects as one bundle, exporting exactly the workflows of their contracts.
 * @param folder cache; default `.cache/workflows` of the repository.
 * @throws {DiscoveryError} when a contract lacks its workflow, a workflow its export, or the bundle contains a library that
 *   does not belong in workflow code.
 */
export async function loadBundle(projects: readonly Project[], folder: string = BUNDLE_FOLDER): Promise<WorkflowBundle> {
  assertWorkflows(projects);
  const workflows = projects.flatMap((project) => [...project.workflows]);
  const hash = await sourceHash(projects, workflows);
  for (const known of [folder, USER_FOLDER]) {
    const cached = await readFile(join(known, `${hash}.js`), 'utf8').catch(() => undefined);
    if (cached !== undefined) return { hash, code: cached };
  }
  const own = await writableFolder(folder, USER_FOLDER);
  const file = join(own, `${hash}.js`);
  const code = await build(workflows, join(own, `${hash}.entry`));
  await writeWhole(file, code);
  return { hash, code };
}

/** Processes that start at the same time write the same file: none reads a half of it. */
async function writeWhole(file: string, text: string): Promise<void> {
  const draft = `${file}.${process.pid}`;
  await writeFile(draft, text);
  await rename(draft, file);
}

/** The first folder this user may write to, created when missing: an installation may belong to someone else. */
async function writableFolder(wanted: string, instead: string): Promise<string> {
  try {
    await mkdir(wanted, { recursive: true });
    await access(wanted, constants.W_OK);
    return wanted;
  } catch {
    await mkdir(instead, { recursive: true });
    return instead;
  }
}

/**
 * A run evaluates the modules of its own workflow alone: the entry asks for each when its workflow is asked for.
 * @returns the entry's path.
 */
async function writeEntry(workflows: readonly (readonly [string, string])[], folder: string): Promise<string> {
  await mkdir(folder, { recursive: true });
  const asked = await Promise.all(workflows.map(async ([name, file]) => {
    const workflow = workflowName(name);
    // Named, so that a folder whose index lacks the workflow fails the build.
    await writeWhole(join(folder, `${name}.mjs`), `export { ${workflow} } from ${JSON.stringify(file)};\n`);
    return `  get ${workflow}() { return require(${JSON.stringify(`./${name}.mjs`)}).${workflow}; },\n`;
  }));
  const entry = join(folder, 'index.cjs');
  await writeWhole(entry, `module.exports = {\n${asked.join('')}};\n`);
  return entry;
}

async function build(workflows: readonly (readonly [string, string])[], folder: string): Promise<string> {
  const errors: string[] = [];
  const { code } = await bundleWorkflowCode({
    workflowsPath: await writeEntry(workflows, folder),
    failureConverterPath: FAILURE_CONVERTER_PATH,
    workflowInterceptorModules: INTERCEPTORS,
    preloadModules: SHARED,
    logger: { ...QUIET, error: (message) => errors.push(message) },
    webpackConfigHook: (config) => ({
      ...config,
      module: { ...config.module, parser: { javascript: { ...config.module?.parser?.['javascript'], exportsPresence: 'error', reexportExportsPresence: 'error' } } },
      resolve: {
        ...config.resolve,
        // Projects elsewhere use the Temporal packages of this installation: two copies in one bundle do not know each other.
        modules: [...(config.resolve?.modules ?? []), join(HAL9_ROOT, 'node_modules'), join(HAL9_ROOT, '..')],
        alias: { ...aliasesOf(config.resolve?.alias), hal9: HAL9_ROOT, '@hal9/sdk/workflow$': join(HAL9_ROOT, 'clients/sdk', `workflow${extname(import.meta.filename)}`), '@temporalio/workflow$': require.resolve('@temporalio/workflow'), '@temporalio/common$': require.resolve('@temporalio/common') },
      },
    }),
  }).catch((error: unknown) => {
    throw new DiscoveryError(`the workflows do not build: ${errors.length > 0 ? errors.join('\n') : String(error)}`, { cause: error });
  });
  const intruder = FORBIDDEN.exec(code);
  if (intruder !== null) throw new DiscoveryError(`workflow code imports the library "${intruder[1]}": use \`import type\`, and put constants into schemas/names`);
  return code;
}

/** The SDK gives its aliases by name; webpack would also take a list. */
function aliasesOf(alias: object | undefined): object {
  return Array.isArray(alias) ? {} : (alias ?? {});
}

const require = createRequire(import.meta.url);

/** Everything whose change may change the bundle: a superset is harmless, it only builds once more. */
async function sourceHash(projects: readonly Project[], workflows: readonly (readonly [string, string])[]): Promise<string> {
  const hash = createHash('sha256');
  hash.update(JSON.stringify(workflows));
  for (const name of ['worker', 'workflow', 'common']) {
    hash.update(await readFile(require.resolve(`@temporalio/${name}/package.json`)));
  }
  const folders = [...projects.flatMap(({ root }) => [join(root, 'workflows'), join(root, 'schemas', 'names')]), join(HAL9_ROOT, 'clients', 'sdk')];
  const files = await Promise.all([...folders, join(import.meta.dirname, 'interceptors')].map(sources));
  for (const file of [...files.flat(), FAILURE_CONVERTER_PATH, import.meta.filename]) {
    hash.update(`${relative(HAL9_ROOT, file)}\n`).update(await readFile(file));
  }
  return hash.digest('hex').slice(0, 16);
}

async function sources(folder: string): Promise<string[]> {
  const names = await readdir(folder, { recursive: true }).catch(() => []);
  return names.filter((name) => /\.[cm]?[jt]s$/.test(name)).sort().map((name) => join(folder, name));
}
