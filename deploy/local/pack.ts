import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { parseArgs, promisify } from 'node:util';
import { z } from 'zod';
import { runCommand } from './command.ts';

const ROOT = join(import.meta.dirname, '../..');
/** What an installed HAL9 runs. */
const PRODUCT = ['schemas', 'workflows', 'activities', 'neurons', 'platform', 'database', 'workers', 'api', 'clients', 'cli', 'console', 'deploy'];
/** Of no use without the repository. */
const LEFT_OUT = /^(clients\/(python|go)|deploy\/(docker|helm|dashboards|alerts)|deploy\/local\/(pack|generate-[a-z-]+)\.)/;

const run = promisify(execFile);
const manifestSchema = z.looseObject({ version: z.string(), license: z.string(), description: z.string(), dependencies: z.record(z.string(), z.string()), devDependencies: z.record(z.string(), z.string()) });

/**
 * `npm run pack`: tarballs of `hal9`, `@hal9/client` and `@hal9/sdk` with JavaScript and declarations. Node strips no types inside
 * node_modules, so every file is compiled by itself, in its place, and paths stay what they are in the repository.
 */
await runCommand(async (signal) => {
  const { values } = parseArgs({ options: { out: { type: 'string', default: 'packages' } } });
  const out = resolve(values.out);
  const staging = await mkdtemp(join(tmpdir(), 'hal9-pack-'));
  try {
    await mkdir(out, { recursive: true });
    const compiled = join(staging, 'compiled');
    await compile(staging, compiled, signal);
    const manifest = manifestSchema.parse(JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')));
    for (const make of [product, client, sdk]) {
      const folder = await make(compiled, join(staging, make.name), manifest);
      const { stdout } = await run('npm', ['pack', '--silent', '--pack-destination', out], { cwd: folder, signal });
      process.stdout.write(`${join(out, stdout.trim())}\n`);
    }
  } finally {
    await rm(staging, { recursive: true, force: true });
  }
});

type Manifest = z.output<typeof manifestSchema>;

async function compile(staging: string, outDir: string, signal: AbortSignal): Promise<void> {
  const config = join(staging, 'tsconfig.json');
  const options = { noEmit: false, declaration: true, rewriteRelativeImportExtensions: true, rootDir: ROOT, outDir, typeRoots: [join(ROOT, 'node_modules/@types')] };
  await writeFile(config, JSON.stringify({ extends: join(ROOT, 'tsconfig.json'), compilerOptions: options, include: PRODUCT.map((folder) => join(ROOT, folder)) }));
  // Types were checked before; an error in one of them must not keep a package from being tried.
  await run(process.execPath, [join(ROOT, 'node_modules/typescript/bin/tsc'), '-p', config, '--noCheck'], { signal, maxBuffer: 16 * 1024 * 1024 });
}

async function product(compiled: string, folder: string, manifest: Manifest): Promise<string> {
  await cp(compiled, folder, { recursive: true, filter: (from) => !LEFT_OUT.test(from.slice(compiled.length + 1)) });
  for (const part of PRODUCT) {
    await cp(join(ROOT, part), join(folder, part), {
      recursive: true,
      filter: (from) => !/(?<!\.d)\.ts$/.test(from) && !/node_modules/.test(from.slice(ROOT.length)) && !LEFT_OUT.test(from.slice(ROOT.length + 1)),
    });
  }
  const { version, license, description, dependencies } = manifest;
  await writeManifest(folder, { name: 'hal9', version, license, description, type: 'module', engines: { node: '>=20' }, bin: { hal9: './cli/hal9.js' }, dependencies });
  return folder;
}

async function client(compiled: string, folder: string, manifest: Manifest): Promise<string> {
  await cp(join(compiled, 'clients/typescript'), folder, { recursive: true });
  await cp(join(ROOT, 'clients/typescript/README.md'), join(folder, 'README.md'));
  await writeManifest(folder, {
    name: '@hal9/client', version: manifest.version, license: manifest.license, description: 'Typed client of the HAL9 API', type: 'module', engines: { node: '>=22.12' }, sideEffects: false,
    exports: { '.': { types: './index.d.ts', default: './index.js' } },
    dependencies: pick(manifest.dependencies, ['eventsource-parser']),
  });
  return folder;
}

async function sdk(compiled: string, folder: string, manifest: Manifest): Promise<string> {
  await copyWithImports(compiled, folder, (await readdir(join(compiled, 'clients/sdk'))).map((file) => join('clients/sdk', file)));
  await cp(join(ROOT, 'clients/sdk/README.md'), join(folder, 'README.md'));
  const at = (file: string): object => ({ types: `./clients/sdk/${file}.d.ts`, default: `./clients/sdk/${file}.js` });
  const peers = pick({ ...manifest.dependencies, ...manifest.devDependencies }, ['zod', '@temporalio/workflow', '@temporalio/activity', '@temporalio/worker', '@temporalio/testing']);
  await writeManifest(folder, {
    name: '@hal9/sdk', version: manifest.version, license: manifest.license, description: 'For operations of your own on HAL9', type: 'module', engines: { node: '>=22.12' },
    exports: { '.': at('index'), './workflow': at('workflow'), './activity': at('activity'), './testing': at('testing') },
    peerDependencies: { ...peers, zod: '^4.0.0' },
    peerDependenciesMeta: { '@temporalio/worker': { optional: true }, '@temporalio/testing': { optional: true } },
  });
  return folder;
}

/** Copies compiled files and what they import of the house, declarations included. */
async function copyWithImports(compiled: string, folder: string, files: readonly string[]): Promise<void> {
  const waiting = [...files];
  const copied = new Set<string>();
  for (let file = waiting.pop(); file !== undefined; file = waiting.pop()) {
    if (copied.has(file) || !/\.(js|d\.ts)$/.test(file)) continue;
    copied.add(file);
    const text = await readFile(join(compiled, file), 'utf8');
    await mkdir(dirname(join(folder, file)), { recursive: true });
    await writeFile(join(folder, file), text);
    const suffix = file.endsWith('.d.ts') ? '.d.ts' : '.js';
    // Declarations keep the extension of the source, code has that of what was made of it.
    for (const [, path = ''] of text.matchAll(/(?:from|import\()\s*['"](\.{1,2}\/[^'"]+)\.[jt]s['"]/g)) waiting.push(join(dirname(file), path) + suffix);
  }
}

async function writeManifest(folder: string, manifest: object): Promise<void> {
  await writeFile(join(folder, 'package.json'), `${JSON.stringify(manifest, null, 2)}\n`);
  if ((await readdir(folder)).length < 2) throw new Error(`${folder} is empty`);
}

function pick(versions: Readonly<Record<string, string>>, names: readonly string[]): Record<string, string> {
  return Object.fromEntries(names.map((name) => {
    const version = versions[name];
    if (version === undefined) throw new Error(`package.json does not have ${name}`);
    return [name, version];
  }));
}
