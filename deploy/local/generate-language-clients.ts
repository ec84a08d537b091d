import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs, promisify } from 'node:util';
import { z } from 'zod';
import { runCommand } from './command.ts';
import { documentApi } from './generate-api-reference.ts';
import { resolvePythonTool } from './python-tool.ts';
import { SetupError } from './setup-error.ts';
import { resolveTool, type Tool } from './tools.ts';

const ROOT = join(import.meta.dirname, '../..');
const run = promisify(execFile);

const LANGUAGES = { python: generatePython, go: generateGo } as const;

const OAPI_CODEGEN: Tool = {
  name: 'oapi-codegen',
  version: '2.8.2',
  setting: 'HAL9_OAPI_CODEGEN',
  module: { folder: join(ROOT, 'deploy/tools/oapi-codegen'), package: 'github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen', flags: ['-trimpath', '-ldflags', '-s -w'], minutes: 1 },
};

/** Their keys are names, of which one may be `default`. */
const NAMED: ReadonlySet<string> = new Set(['properties', 'responses', 'schemas']);

const documentSchema = z.looseObject({ openapi: z.string(), paths: z.record(z.string(), z.record(z.string(), z.looseObject({}))) });
type Document = z.output<typeof documentSchema>;

const HELP = `Makes clients of the API from its OpenAPI document: \`npm run clients -- [python] [go]\`, both by default.

  --out DIR    where to; a folder for each language (default packages)
  --from FROM  address of a HAL9, whose operations of your own are in its clients then, or a file with a document (default: this repository's)
`;

/** `npm run clients`: a Python package and a Go module, ready to be installed from their folders. */
await runCommand(async (signal) => {
  const { values, positionals } = readArguments(process.argv.slice(2));
  if (values.help) {
    process.stdout.write(HELP);
    return;
  }
  const document = await documentFrom(values.from);
  const staging = await mkdtemp(join(tmpdir(), 'hal9-clients-'));
  try {
    for (const [language, generate] of Object.entries(LANGUAGES)) {
      if (positionals.length > 0 && !positionals.includes(language)) continue;
      const folder = join(resolve(values.out), language);
      await rm(folder, { recursive: true, force: true });
      await mkdir(folder, { recursive: true });
      await generate(document, folder, staging, signal);
      process.stdout.write(`${folder}\n`);
    }
  } finally {
    await rm(staging, { recursive: true, force: true });
  }
});

function readArguments(args: readonly string[]) {
  try {
    const parsed = parseArgs({ args: [...args], allowPositionals: true, options: { out: { type: 'string', default: 'packages' }, from: { type: 'string' }, help: { type: 'boolean', default: false } } });
    const unknown = parsed.positionals.find((language) => !Object.hasOwn(LANGUAGES, language));
    if (unknown !== undefined) throw new TypeError(`there is no client for ${unknown}`);
    return parsed;
  } catch (error) {
    throw new SetupError(error instanceof Error ? error.message.split('.')[0] ?? error.message : String(error), 'see `npm run clients -- --help`');
  }
}

async function documentFrom(from: string | undefined): Promise<Document> {
  if (from === undefined) return documentSchema.parse(await documentApi());
  try {
    if (!/^https?:/.test(from)) return documentSchema.parse(JSON.parse(await readFile(from, 'utf8')));
    const url = new URL(from);
    const response = await fetch(url.pathname === '/' ? new URL('/openapi.json', url) : url);
    if (!response.ok) throw new Error(`it answered ${response.status}`);
    return documentSchema.parse(await response.json());
  } catch (error) {
    throw new SetupError(`${from} gives no OpenAPI document: ${error instanceof Error ? error.message : String(error)}`, 'name the address of a running HAL9, or a file', { cause: error });
  }
}

async function generatePython(document: Document, folder: string, staging: string, signal: AbortSignal): Promise<void> {
  const home = join(ROOT, 'clients/python');
  const generator = await resolvePythonTool({ name: 'openapi-python-client', version: '0.29.1', setting: 'HAL9_OPENAPI_PYTHON_CLIENT', requirements: join(home, 'generator-requirements.txt') }, process.env);
  const path = join(staging, 'python.json');
  await writeFile(path, JSON.stringify(forPython(document)));
  const target = join(folder, 'hal9_client');
  const made = await run(generator, ['generate', '--path', path, '--config', join(home, 'generator.yaml'), '--meta', 'none', '--output-path', target], { signal, maxBuffer: 16 * 1024 * 1024 });
  // It leaves out what it does not understand, says so, and ends well.
  const said = `${made.stdout}${made.stderr}`;
  if (/^(WARNING|ERROR|Unable)/m.test(said)) throw new Error(`the Python client would not be whole:\n${said}`);
  await cp(join(home, 'hal9_client'), target, { recursive: true });
  await writeFile(join(target, 'py.typed'), '');
  for (const file of ['pyproject.toml', 'README.md']) await cp(join(home, file), join(folder, file));
}

async function generateGo(document: Document, folder: string, staging: string, signal: AbortSignal): Promise<void> {
  const home = join(ROOT, 'clients/go');
  const generator = await resolveTool(OAPI_CODEGEN, { env: process.env, progress: (message) => process.stderr.write(`${message}\n`), signal });
  const path = join(staging, 'go.json');
  await writeFile(path, JSON.stringify(document));
  for (const file of ['go.mod', 'go.sum', 'README.md', 'connect.go', 'failure.go', 'pages.go', 'runs.go']) await cp(join(home, file), join(folder, file));
  await run(generator, ['-config', join(home, 'generator.yaml'), '-o', join(folder, 'hal9.gen.go'), path], { signal, maxBuffer: 16 * 1024 * 1024 });
}

/** The document as openapi-python-client 0.29 can read it; nothing that a program sends or reads is lost. */
function forPython(document: Document): Document {
  return {
    ...document,
    paths: Object.fromEntries(
      Object.entries(document.paths).map(([path, methods]) => [
        path,
        // Where a body may be of any type it is of a sender that is no client of ours.
        // Pictures are bytes to it, whatever their type.
        Object.fromEntries(Object.entries(methods).flatMap(([method, operation]) => (bodyTypes(operation).includes('*/*') ? [] : [[method, withPlainBytes(withOneBody(operation))]]))),
      ]),
    ),
    ...('components' in document ? { components: withoutObjectDefaults(withoutNesting(document['components'])) } : {}),
  };
}

/** It tells bodies of several media types apart by checks that fail for lists at run time. */
function withOneBody(operation: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const body = operation['requestBody'];
  const content = isRecord(body) ? body['content'] : undefined;
  const kept = isRecord(body) && isRecord(content) && 'application/json' in content ? { requestBody: { ...body, content: { 'application/json': content['application/json'] } } } : {};
  const plain = withoutObjectDefaults({ ...operation, ...kept });
  return isRecord(plain) ? plain : {};
}

/** Schemas that hold themselves, as the steps of a browser flow do, are more than it can follow: they are plain objects to it. */
function withoutNesting(components: unknown): unknown {
  if (!isRecord(components) || !isRecord(components['schemas'])) return components;
  const { schemas } = components;
  const reaches = (from: unknown, wanted: string, seen: Set<string>): boolean => {
    if (Array.isArray(from)) return from.some((item) => reaches(item, wanted, seen));
    if (!isRecord(from)) return false;
    const name = typeof from['$ref'] === 'string' ? from['$ref'].replace('#/components/schemas/', '') : undefined;
    if (name === wanted) return true;
    if (name !== undefined && !seen.has(name)) {
      seen.add(name);
      if (reaches(schemas[name], wanted, seen)) return true;
    }
    return Object.values(from).some((child) => reaches(child, wanted, seen));
  };
  const plain = Object.entries(schemas).map(([name, schema]) => [name, reaches(schema, name, new Set()) ? { type: 'object', additionalProperties: true } : schema]);
  return { ...components, schemas: Object.fromEntries(plain) };
}

function withPlainBytes(operation: Record<string, unknown>): Record<string, unknown> {
  const { responses } = operation;
  if (!isRecord(responses)) return operation;
  const plain = Object.entries(responses).map(([status, response]) => {
    const content = isRecord(response) ? response['content'] : undefined;
    const picture = isRecord(content) && Object.keys(content).some((type) => type.startsWith('image/'));
    return [status, picture && isRecord(response) ? { ...response, content: { 'application/octet-stream': { schema: { type: 'string', format: 'binary' } } } } : response];
  });
  return { ...operation, responses: Object.fromEntries(plain) };
}

/** Objects and lists as defaults stop it, and the server knows them anyhow. */
function withoutObjectDefaults(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutObjectDefaults);
  if (!isRecord(value)) return value;
  return Object.fromEntries(
    Object.entries(value).flatMap(([key, child]) => {
      if (key === 'default' && typeof child === 'object') return [];
      return [[key, NAMED.has(key) && isRecord(child) ? Object.fromEntries(Object.entries(child).map(([name, schema]) => [name, withoutObjectDefaults(schema)])) : withoutObjectDefaults(child)]];
    }),
  );
}

function bodyTypes(operation: Readonly<Record<string, unknown>>): string[] {
  const body = operation['requestBody'];
  return isRecord(body) && isRecord(body['content']) ? Object.keys(body['content']) : [];
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
