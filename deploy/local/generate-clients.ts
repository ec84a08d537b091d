import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { OpenApiDocument } from '../../api/openapi.ts';
import { documentApi } from './generate-api-reference.ts';

const ROOT = join(import.meta.dirname, '../..');

/** What clients are generated from is in the order of the paths, so that a route added elsewhere moves nothing else. */
const METHODS = ['get', 'post', 'put', 'patch', 'delete'] as const;

/** Files of the TypeScript client that are made from the OpenAPI document, by path in the repository. */
export async function generatedClientFiles(document: OpenApiDocument): Promise<ReadonlyMap<string, string>> {
  return new Map([
    ['clients/typescript/schema.ts', await schemaFile(document)],
    ['clients/typescript/operations.ts', operationsFile(document)],
  ]);
}

export async function writeClientFiles(): Promise<void> {
  for (const [path, content] of await generatedClientFiles(await documentApi())) {
    await writeFile(join(ROOT, path), content);
    process.stdout.write(`wrote ${path}\n`);
  }
}

async function schemaFile(document: OpenApiDocument): Promise<string> {
  // A tool of the development, so that a started installation does not load it.
  const { default: openapiTs, astToString } = await import('openapi-typescript');
  // It takes the document as text: what it is given as a value must be typed as its own.
  const nodes = await openapiTs(JSON.stringify(document), { alphabetize: true, exportType: false, silent: true });
  return `// Made from the OpenAPI document by \`npm run generate\`.\n${astToString(nodes)}`;
}

function operationsFile(document: OpenApiDocument): string {
  const rows = Object.entries(document.paths).sort(([a], [b]) => (a < b ? -1 : 1)).flatMap(([path, methods]) =>
    METHODS.flatMap((method) => {
      const operation = methods[method];
      return operation === undefined ? [] : [`  ${String(operation['operationId'])}: ${JSON.stringify(rowOf(method, path, operation))},\n`];
    }),
  );
  return `// Made from the OpenAPI document by \`npm run generate\`.
import type { OperationRow } from './operation-row.ts';

/** Every operation of the API by its operationId. */
export const OPERATIONS = {
${rows.join('')}} as const satisfies Readonly<Record<string, OperationRow>>;
`;
}

interface Parameter {
  readonly name: string;
  readonly in: string;
  readonly required: boolean;
  readonly description?: string;
  readonly schema?: { readonly type?: unknown };
}

function rowOf(method: string, path: string, operation: Readonly<Record<string, unknown>>): object {
  const parameters = (Array.isArray(operation['parameters']) ? operation['parameters'] : []).filter(isParameter);
  const body = operation['requestBody'];
  const types = isRecord(body) && isRecord(body['content']) ? Object.keys(body['content']) : [];
  return {
    method: method.toUpperCase(),
    path,
    tag: Array.isArray(operation['tags']) ? String(operation['tags'][0]) : '',
    summary: String(operation['summary']),
    parameters: parameters.map((parameter) => ({
      name: parameter.name,
      in: parameter.in,
      required: parameter.required,
      ...(typeof parameter.schema?.type === 'string' && parameter.schema.type !== 'string' ? { type: parameter.schema.type } : {}),
      ...(parameter.description === undefined ? {} : { description: parameter.description }),
    })),
    ...(types.length === 0 ? {} : { body: { types, required: isRecord(body) && body['required'] === true } }),
    ...(Object.keys(pageProperties(operation)).length === 0 ? {} : { pages: true }),
  };
}

/** A list answers `{items, nextCursor}`. */
function pageProperties(operation: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const at = (value: unknown, ...keys: string[]): unknown => keys.reduce<unknown>((inner, key) => (isRecord(inner) ? inner[key] : undefined), value);
  const properties = at(operation, 'responses', '200', 'content', 'application/json', 'schema', 'properties');
  return isRecord(properties) && 'items' in properties && 'nextCursor' in properties ? properties : {};
}

function isParameter(value: unknown): value is Parameter {
  return isRecord(value) && typeof value['name'] === 'string' && typeof value['in'] === 'string' && typeof value['required'] === 'boolean';
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
