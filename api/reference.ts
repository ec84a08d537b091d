import type { OpenApiDocument } from './openapi.ts';
import type { JsonSchema } from './json-schema.ts';
import { FAILURES } from '../schemas/errors.ts';

/** The reference page of the API, made from its OpenAPI document. */
export function apiReferencePage(document: OpenApiDocument): string {
  const lines = [
    '# REST API',
    '',
    'Made from the routes by `npm run generate`; the same as OpenAPI 3.1 is at `/openapi.json`, and a page to try it at `/docs`.',
    'Failures are `application/problem+json`; see the end of this page.',
    '',
  ];
  const operations = Object.entries(document.paths).flatMap(([path, methods]) => Object.entries(methods).map(([method, operation]) => ({ path, method, operation })));
  for (const { name } of document.tags) {
    const own = operations.filter(({ operation }) => Array.isArray(operation['tags']) && operation['tags'][0] === name);
    if (own.length === 0) continue;
    lines.push(`## ${name}`, '');
    for (const { path, method, operation } of own) lines.push(...section(path, method, operation));
  }
  lines.push('## Failures', '', '| type | status | retry | what you can do |', '| --- | --- | --- | --- |');
  for (const [type, failure] of Object.entries(FAILURES)) lines.push(`| \`${type}\` | ${failure.status} | ${failure.retryable ? 'yes' : 'no'} | ${cell(failure.remedy)} |`);
  return `${lines.join('\n')}\n`;
}

function section(path: string, method: string, operation: JsonSchema): string[] {
  const permission = operation['x-permission'];
  const lines = [`### ${method.toUpperCase()} ${path}`, '', `${text(operation['summary'])}.${typeof permission === 'string' ? ` Needs \`${permission}\`.` : ' Needs no credential.'}`, ''];
  if (operation['description'] !== undefined) lines.push(text(operation['description']), '');
  const parameters = list(operation['parameters']);
  if (parameters.length > 0) {
    lines.push('| parameter | in | type | meaning |', '| --- | --- | --- | --- |');
    for (const parameter of parameters) lines.push(`| \`${text(parameter['name'])}\`${parameter['required'] === true ? '' : ' (optional)'} | ${text(parameter['in'])} | ${typeOf(parameter['schema'])} | ${cell(text(parameter['description']))} |`);
    lines.push('');
  }
  const body = bodySchema(operation['requestBody']);
  if (body !== undefined) lines.push(...bodyTable(body));
  for (const [status, answer] of Object.entries(record(operation['responses']))) {
    if (status !== 'default') lines.push(`- ${status}: ${text(record(answer)['description'])}`);
  }
  return [...lines, ''];
}

function bodySchema(requestBody: unknown): { types: string[]; schema: JsonSchema } | undefined {
  const content = record(record(requestBody)['content']);
  const types = Object.keys(content);
  const [first] = types;
  return first === undefined ? undefined : { types, schema: record(record(content[first])['schema']) };
}

function bodyTable({ types, schema }: { types: string[]; schema: JsonSchema }): string[] {
  const lines = [`Body: ${types.map((type) => `\`${type}\``).join(', ')}, ${typeOf(schema)}.`, ''];
  const properties = Object.entries(record(schema['properties']));
  if (properties.length === 0) return lines;
  const required = new Set(Array.isArray(schema['required']) ? schema['required'] : []);
  lines.push('| field | type | meaning |', '| --- | --- | --- |');
  for (const [name, property] of properties) lines.push(`| \`${name}\`${required.has(name) ? '' : ' (optional)'} | ${typeOf(property)} | ${cell(text(record(property)['description']))} |`);
  return [...lines, ''];
}

/** A schema in a few words; the whole of it is in OpenAPI. */
function typeOf(value: unknown): string {
  const schema = record(value);
  if (typeof schema['$ref'] === 'string') return `\`${schema['$ref'].split('/').at(-1) ?? ''}\``;
  if (Array.isArray(schema['enum'])) return schema['enum'].map((item) => `\`${String(item)}\``).join(', ');
  if ('const' in schema) return `\`${String(schema['const'])}\``;
  const choices = [...list(schema['anyOf']), ...list(schema['oneOf'])];
  if (choices.length > 0) return [...new Set(choices.map(typeOf))].join(' or ');
  if (schema['type'] === 'array') return `list of ${typeOf(schema['items'])}`;
  const preset = ['string', 'number', 'boolean'].includes(typeof schema['default']) ? `, default ${JSON.stringify(schema['default'])}` : '';
  return `${typeof schema['type'] === 'string' ? schema['type'] : 'any'}${preset}`;
}

function cell(value: string): string {
  return value.replaceAll('|', '\\|').replaceAll('\n', ' ');
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

function record(value: unknown): JsonSchema {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? Object.fromEntries(Object.entries(value)) : {};
}

function list(value: unknown): JsonSchema[] {
  return Array.isArray(value) ? value.map(record) : [];
}
