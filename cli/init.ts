import { mkdir, readFile, readdir, writeFile } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { Command } from 'commander';
import { UsageError } from './exit-code.ts';
import { projectFiles } from './project-template.ts';
import { terminalOf } from './session.ts';

/** `hal9 init`: a project of operations with one that works. */
export function addInitCommand(program: Command): void {
  const command = new Command('init').description('Make a project for operations of your own: contract, workflow, activity, test').argument('<folder>', 'new, or empty');
  command.action(async (folder: string) => {
    const root = resolve(folder);
    const name = basename(root).toLowerCase().replaceAll(/[^a-z0-9]+/g, '-').replaceAll(/^-+|-+$/g, '');
    if (name === '') throw new UsageError(`${folder} gives no name for a package`);
    const present: string[] = await readdir(root).catch(() => []);
    if (present.some((entry) => !['node_modules', 'package.json', 'package-lock.json', '.git'].includes(entry))) throw new UsageError(`${root} is not empty`);
    const files = new Map(projectFiles(name, await ownVersion()));
    const manifest = files.get('package.json');
    if (manifest !== undefined && present.includes('package.json')) files.set('package.json', await merged(join(root, 'package.json'), manifest));
    for (const [path, content] of files) {
      await mkdir(dirname(join(root, path)), { recursive: true });
      await writeFile(join(root, path), content);
    }
    terminalOf(command).show({ folder: root, files: [...files.keys()] });
    terminalOf(command).note(`\nNext:\n  cd ${folder} && npm install\n  npm test\n  npm start\nThen, with the address and key it shows:  hal9 run greet-guest --guest Ada --wait`);
  });
  program.addCommand(command);
}

/**
 * What `npm install` has left in a folder with nothing else in it keeps the versions it has chosen.
 * @throws {UsageError} when it is the manifest of something else.
 */
async function merged(file: string, fresh: string): Promise<string> {
  const present: unknown = JSON.parse(await readFile(file, 'utf8'));
  if (!isRecord(present) || Object.keys(present).some((field) => field !== 'dependencies')) throw new UsageError(`${file} belongs to a package already`);
  const own: unknown = JSON.parse(fresh);
  const chosen = [own, present].map((one) => (isRecord(one) && isRecord(one['dependencies']) ? one['dependencies'] : {}));
  return `${JSON.stringify({ ...(isRecord(own) ? own : {}), dependencies: Object.assign({}, ...chosen) }, null, 2)}\n`;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

async function ownVersion(): Promise<string> {
  const manifest: unknown = JSON.parse(await readFile(join(import.meta.dirname, '../package.json'), 'utf8'));
  return typeof manifest === 'object' && manifest !== null && 'version' in manifest ? String(manifest.version) : '0.0.0';
}
