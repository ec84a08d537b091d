import { access, readdir } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { OperationContract } from '../../schemas/operations/operation.ts';
import { resolveFromHal9 } from './project-modules.ts';

/** HAL9's own project: the repository. People's projects have the same layout. */
export const HAL9_ROOT = resolve(import.meta.dirname, '../..');

/** What a project folder holds, as paths; nothing is loaded yet but the contracts. */
export interface Project {
  readonly root: string;
  readonly contracts: readonly OperationContract[];
  /** `workflows/<name>/index.ts` by operation name. */
  readonly workflows: ReadonlyMap<string, string>;
  /** `activities/<folder>/index.ts`. */
  readonly activities: readonly string[];
}

/** The projects disagree with themselves or each other; the message lists everything that is wrong. */
export class DiscoveryError extends Error {
  override readonly name = 'DiscoveryError';
}

/**
 * The folders to discover: HAL9's own and, with HAL9_OPERATIONS, one of the user.
 * @param operations folder, relative to the working directory.
 */
export function projectRoots(operations: string | undefined): string[] {
  return operations === undefined ? [HAL9_ROOT] : [HAL9_ROOT, resolve(operations)];
}

/**
 * Loads the contracts of all projects.
 * @throws {DiscoveryError} for a folder that is missing, a file that does not load, a default export that is no contract, or
 *   a name used twice.
 */
export async function discoverContracts(roots: readonly string[]): Promise<Map<string, OperationContract>> {
  const projects = await discoverProjects(roots);
  return contractsByName(projects);
}

/** As {@link discoverContracts}, with the paths of workflows and activities. */
export async function discoverProjects(roots: readonly string[]): Promise<Project[]> {
  resolveFromHal9(HAL9_ROOT);
  const problems: string[] = [];
  const projects: Project[] = [];
  for (const root of roots) projects.push(await readProject(root, problems));
  const seen = new Map<string, string>();
  for (const project of projects) {
    for (const contract of project.contracts) {
      const other = seen.get(contract.name);
      if (other !== undefined) problems.push(`the operation "${contract.name}" is defined in ${other} and again in ${project.root}`);
      seen.set(contract.name, project.root);
    }
  }
  if (problems.length > 0) throw new DiscoveryError(`cannot load the operations: ${problems.join('; ')}`);
  return projects;
}

export function contractsByName(projects: readonly Project[]): Map<string, OperationContract> {
  return new Map(projects.flatMap((project) => project.contracts.map((contract) => [contract.name, contract])));
}

/**
 * Checks that every contract has a workflow folder and every workflow folder a contract. For processes that run workflows.
 * @throws {DiscoveryError} listing every mismatch.
 */
export function assertWorkflows(projects: readonly Project[]): void {
  const problems = projects.flatMap((project) => {
    const names = new Set(project.contracts.map((contract) => contract.name));
    return [
      ...project.contracts.filter((contract) => !project.workflows.has(contract.name)).map((contract) => `operation "${contract.name}" has no workflows/${contract.name}/index.ts in ${project.root}`),
      ...[...project.workflows.keys()].filter((name) => !names.has(name)).map((name) => `workflows/${name} in ${project.root} has no contract in schemas/operations`),
    ];
  });
  if (problems.length > 0) throw new DiscoveryError(`cannot load the operations: ${problems.join('; ')}`);
}

async function readProject(root: string, problems: string[]): Promise<Project> {
  if (!(await exists(root))) {
    problems.push(`the folder ${root} does not exist`);
    return { root, contracts: [], workflows: new Map(), activities: [] };
  }
  const contracts: OperationContract[] = [];
  for (const file of await entries(join(root, 'schemas', 'operations'), /(?<!\.d)\.[jt]s$/)) {
    const contract = await loadContract(file, problems);
    // People's activities are counted by their processor time, so a start asks whether some of it is left.
    if (contract !== undefined) contracts.push(root === HAL9_ROOT || contract.meter !== undefined ? contract : { ...contract, meter: 'plugin-cpu-ms' });
  }
  const workflows = await indexFiles(join(root, 'workflows'));
  const activities = await indexFiles(join(root, 'activities'));
  return { root, contracts, workflows: new Map(workflows.map((file) => [basename(join(file, '..')), file])), activities };
}

/** A file without a default export is no contract but something contracts share. */
async function loadContract(file: string, problems: string[]): Promise<OperationContract | undefined> {
  let loaded: unknown;
  try {
    loaded = await import(pathToFileURL(file).href);
  } catch (error) {
    problems.push(`${file} does not load: ${error instanceof Error ? error.message : String(error)}`);
    return undefined;
  }
  if (typeof loaded !== 'object' || loaded === null || !('default' in loaded)) return undefined;
  if (isContract(loaded.default)) return loaded.default;
  problems.push(`the default export of ${file} is not made by defineOperation`);
  return undefined;
}

function isContract(value: unknown): value is OperationContract {
  if (typeof value !== 'object' || value === null) return false;
  const has = (key: string, test: (member: unknown) => boolean): boolean => key in value && test(Reflect.get(value, key));
  const isSchema = (member: unknown): boolean => typeof member === 'object' && member !== null && 'safeParse' in member;
  const isText = (member: unknown): boolean => typeof member === 'string' && member !== '';
  const isRecord = (member: unknown): boolean => typeof member === 'object' && member !== null;
  return (
    has('name', isText) && has('summary', isText) && has('taskQueue', isText) && has('permission', isText) &&
    has('input', isSchema) && has('result', isSchema) &&
    has('signals', isRecord) && has('queries', isRecord) && has('updates', isRecord) && has('timeouts', isRecord)
  );
}

async function indexFiles(folder: string): Promise<string[]> {
  const folders = await entries(folder, /^[^.]+$/);
  const files = await Promise.all(folders.map(async (path) => ((await exists(join(path, 'index.ts'))) ? [join(path, 'index.ts')] : (await exists(join(path, 'index.js'))) ? [join(path, 'index.js')] : [])));
  return files.flat();
}

async function entries(folder: string, pattern: RegExp): Promise<string[]> {
  if (!(await exists(folder))) return [];
  return (await readdir(folder)).filter((name) => pattern.test(name)).sort().map((name) => join(folder, name));
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
