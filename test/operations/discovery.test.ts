import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { HAL9_ROOT, assertWorkflows, discoverContracts, discoverProjects, projectRoots } from '../../platform/operations/discovery.ts';
import { loadBundle } from '../../workers/bundle.ts';

const CONTRACT = (name: string): string => `
import { z } from 'zod';
import { defineOperation } from '${HAL9_ROOT}/schemas/operations/operation.ts';
export default defineOperation({ name: '${name}', summary: 'x', input: z.object({}), result: z.null(), timeouts: { execution: '1 minute' } });`;
const WORKFLOW = (name: string, more = ''): string => `${more}\nexport async function ${name}(): Promise<null> { return null; }`;

describe('discovery', { timeout: 60_000 }, () => {
  let root: string;
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'hal9-discovery-'));
  });
  afterEach(() => rm(root, { recursive: true, force: true }));

  const write = async (path: string, text: string, project = root): Promise<void> => {
    await mkdir(join(project, path, '..'), { recursive: true });
    await writeFile(join(project, path), text);
  };
  const bundle = async (): Promise<string> => (await loadBundle(await discoverProjects([root]), join(root, 'bundles'))).code;

  it('finds a project anywhere, with HAL9\'s packages', async () => {
    await write('schemas/operations/water-plants.ts', CONTRACT('water-plants'));
    await write('schemas/operations/shared.ts', 'export const unit = "l";');
    await write('workflows/water-plants/index.ts', WORKFLOW('waterPlants'));
    await write('activities/garden/index.ts', 'export default () => ({ queues: {} });');
    const [project] = await discoverProjects([root]);
    expect(project?.contracts.map(({ name }) => name)).toEqual(['water-plants']);
    expect(project?.activities).toEqual([join(root, 'activities/garden/index.ts')]);
    expect([...(await discoverContracts([root])).keys()]).toEqual(['water-plants']);
    expect(await bundle()).toContain('waterPlants');
  });

  it('names everything that is wrong at once', async () => {
    await write('schemas/operations/a.ts', 'export default { name: "a" };');
    await write('schemas/operations/b.ts', 'import "./missing.ts"; export default 1;');
    await expect(discoverProjects([root, join(root, 'nowhere')])).rejects.toThrow(/a\.ts is not made by defineOperation.*b\.ts does not load.*nowhere does not exist/s);
  });

  it('refuses a name used twice', async () => {
    await write('schemas/operations/a.ts', CONTRACT('water-plants'));
    const other = join(root, 'other');
    await cp(join(root, 'schemas'), join(other, 'schemas'), { recursive: true });
    await expect(discoverProjects([root, other])).rejects.toThrow(`"water-plants" is defined in ${root} and again in ${other}`);
  });

  it('refuses a contract without workflow and a workflow without contract', async () => {
    await write('schemas/operations/a.ts', CONTRACT('water-plants'));
    await write('workflows/mow-lawn/index.ts', WORKFLOW('mowLawn'));
    const projects = await discoverProjects([root]);
    expect(() => assertWorkflows(projects)).toThrow(/"water-plants" has no workflows\/water-plants\/index\.ts.*workflows\/mow-lawn .* has no contract/s);
  });

  it('refuses a workflow folder that does not export its workflow', async () => {
    await write('schemas/operations/a.ts', CONTRACT('water-plants'));
    await write('workflows/water-plants/index.ts', WORKFLOW('waterTrees'));
    await expect(bundle()).rejects.toThrow(/waterPlants/);
  });

  it('refuses a library in workflow code', async () => {
    await write('schemas/operations/a.ts', CONTRACT('water-plants'));
    await write('workflows/water-plants/index.ts', WORKFLOW('waterPlants', 'import { z } from "zod"; export const schema = z.string();'));
    await expect(bundle()).rejects.toThrow('workflow code imports the library "zod"');
  });

  it('builds a bundle once, and again when a source changes', async () => {
    await write('schemas/operations/a.ts', CONTRACT('water-plants'));
    await write('workflows/water-plants/index.ts', WORKFLOW('waterPlants'));
    const projects = await discoverProjects([root]);
    const folder = join(root, 'bundles');
    const first = await loadBundle(projects, folder);
    const began = Date.now();
    expect(await loadBundle(projects, folder)).toEqual(first);
    expect(Date.now() - began).toBeLessThan(500);
    await write('workflows/water-plants/index.ts', WORKFLOW('waterPlants', '// changed'));
    expect((await loadBundle(projects, folder)).hash).not.toBe(first.hash);
  });

  it('loads HAL9\'s own operations the same way', async () => {
    const projects = await discoverProjects(projectRoots(undefined));
    assertWorkflows(projects);
    expect(projects.flatMap(({ contracts }) => contracts.map(({ name }) => name))).toEqual(expect.arrayContaining(['cascade', 'remediate']));
  });
});
