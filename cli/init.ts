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
    const present = await readdir(root).catch(() => []);
    if (present.some((entry) => !['node_modules', 'package-lock.json', '.git'].includes(entry))) throw new UsageError(`${root} is not empty`);
    const files = projectFiles(name, await ownVersion());
    for (const [path, content] of files) {
      await mkdir(dirname(join(root, path)), { recursive: true });
      await writeFile(join(root, path), content);
    }
    terminalOf(command).show({ folder: root, files: [...files.keys()] });
    terminalOf(command).note(`\nNext:\n  cd ${folder} && npm install\n  npm test\n  npm start`);
  });
  program.addCommand(command);
}

async function ownVersion(): Promise<string> {
  const manifest: unknown = JSON.parse(await readFile(join(import.meta.dirname, '../package.json'), 'utf8'));
  return typeof manifest === 'object' && manifest !== null && 'version' in manifest ? String(manifest.version) : '0.0.0';
}
