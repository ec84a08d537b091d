import { pipeline } from 'node:stream/promises';
import { Readable } from 'node:stream';
import { Command, InvalidArgumentError } from 'commander';
import { isJson, OPERATIONS, type Hal9Client, type OperationParameter, type OperationRow } from '../clients/typescript/index.ts';
import { commandNames } from './command-names.ts';
import { UsageError } from './exit-code.ts';
import { readBytes, readInput, splitField, withFields } from './input.ts';
import { openSession, terminalOf, type Session } from './session.ts';

interface BodyOptions {
  readonly input?: string;
  readonly field?: readonly string[];
  readonly idempotencyKey?: string;
  readonly mediaType?: string;
  readonly all?: boolean;
}

/** Adds `hal9 <group> <verb>` for every operation of the API, and `hal9 api <operationId>` for those of newer servers too. */
export function addApiCommands(program: Command): void {
  const rows: Readonly<Record<string, OperationRow>> = OPERATIONS;
  const groups = new Map<string, Command>(program.commands.map((command) => [command.name(), command]));
  for (const [id, { group, verb }] of commandNames(rows)) {
    const row = rows[id];
    if (row === undefined) continue;
    let parent = groups.get(group);
    if (parent === undefined) {
      parent = program.command(group).description(row.tag);
      groups.set(group, parent);
    }
    // Commands made by hand do more for people than the operation alone.
    if (!parent.commands.some((command) => command.name() === verb)) parent.addCommand(commandOf(verb, row));
  }
  program.addCommand(genericCommand(rows));
}

function commandOf(verb: string, row: OperationRow): Command {
  const command = new Command(verb).description(row.summary);
  for (const { name, description } of row.parameters.filter(({ in: where }) => where === 'path')) command.argument(`<${name}>`, description);
  for (const parameter of optionsOf(row)) command.option(`--${kebab(parameter.name)} <${parameter.type ?? 'text'}>`, [parameter.description, parameter.required ? '(required)' : ''].filter(Boolean).join(' '), (text) => typed(parameter, text));
  addBodyOptions(command, row);
  if (row.pages === true) command.option('--all', 'every page');
  command.action(async (...args: unknown[]) => {
    const path = row.parameters.filter(({ in: where }) => where === 'path');
    const params: Record<string, unknown> = Object.fromEntries(path.map(({ name }, index) => [name, args[index]]));
    const options = command.opts<BodyOptions & Record<string, unknown>>();
    for (const { name, required } of optionsOf(row)) {
      const value = options[camel(kebab(name))];
      if (value !== undefined) params[name] = value;
      else if (required) throw new UsageError(`--${kebab(name)} is needed`);
    }
    await perform(await openSession(command), row, params, options);
  });
  return command;
}

function genericCommand(rows: Readonly<Record<string, OperationRow>>): Command {
  const command = new Command('api').description('Send any operation of the API by its operationId, of a newer server too').argument('<operationId>', '`list` shows them');
  command.option('--param <name=value>', 'a parameter of path or query; may be repeated', collect, []);
  addBodyOptions(command, { method: 'POST', path: '', tag: '', summary: '', parameters: [], body: { types: ['application/json'], required: false } });
  command.option('--all', 'every page of a list');
  command.action(async (id: string) => {
    if (id === 'list') {
      terminalOf(command).show({ items: Object.entries(rows).map(([operationId, { method, path, summary }]) => ({ operationId, method, path, summary })), nextCursor: null });
      return;
    }
    const session = await openSession(command);
    const options = command.opts<BodyOptions & { param: string[] }>();
    const row = Object.hasOwn(rows, id) ? rows[id] : await rowOfServer(session.client, id);
    if (row === undefined) throw new UsageError(`the API has no operation ${id}; \`hal9 api\` lists them`);
    await perform(session, row, Object.fromEntries(options.param.map((field) => splitField(field))), options);
  });
  return command;
}

function addBodyOptions(command: Command, row: OperationRow): void {
  if (row.body === undefined) return;
  if (isBytes(row)) {
    command.option('--input <file>', 'what is sent, from a file as it is, - for stdin').option('--media-type <type>', 'what it is', 'application/octet-stream');
    return;
  }
  command.option('--input <file>', 'body as JSON from a file, - for stdin');
  command.option('--field <name=value>', 'a field of the body, over --input; dots go deeper, JSON is read as such; may be repeated', collect, []);
  command.option('--idempotency-key <key>', 'makes repeating safe where the operation takes it');
}

async function perform({ client, terminal }: Session, row: OperationRow, params: Readonly<Record<string, unknown>>, options: BodyOptions): Promise<void> {
  const body = isBytes(row) ? await bytesOf(options) : await fieldsOf(row, options);
  const send = { ...(body === undefined ? {} : { body }), ...(options.mediaType === undefined ? {} : { headers: { 'content-type': options.mediaType } }), ...(options.idempotencyKey === undefined ? {} : { idempotencyKey: options.idempotencyKey }) };
  if (options.all === true && row.pages === true) return showAll(client, terminal, row, params);
  const response = await client.open(row, params, send);
  if (!isJson(response)) {
    // Exports may be larger than memory.
    if (response.body !== null && response.status !== 204) await pipeline(Readable.fromWeb(response.body), process.stdout, { end: false });
    return;
  }
  const text = await response.text();
  terminal.show(text === '' ? undefined : JSON.parse(text));
}

/** Whether the body is none of fields: files of people, deliveries of providers. */
function isBytes(row: OperationRow): boolean {
  return row.body?.types[0] === '*/*';
}

async function bytesOf({ input }: BodyOptions): Promise<Uint8Array> {
  if (input === undefined) throw new UsageError('--input is needed');
  return readBytes(input);
}

async function fieldsOf(row: OperationRow, { input, field }: BodyOptions): Promise<unknown> {
  return withFields(input === undefined ? undefined : await readInput(input), field ?? []) ?? (row.body?.required === true ? {} : undefined);
}

async function showAll(client: Hal9Client, terminal: Session['terminal'], row: OperationRow, params: Readonly<Record<string, unknown>>): Promise<void> {
  const items: unknown[] = [];
  let cursor: unknown;
  do {
    const page = await client.request(row, { ...params, ...(cursor === undefined ? {} : { cursor }) });
    if (typeof page !== 'object' || page === null || !('items' in page) || !Array.isArray(page.items)) throw new UsageError('this operation answers no pages');
    if (terminal.json) for (const item of page.items) terminal.line(JSON.stringify(item));
    else items.push(...page.items);
    cursor = 'nextCursor' in page && typeof page.nextCursor === 'string' ? page.nextCursor : undefined;
  } while (cursor !== undefined);
  if (!terminal.json) terminal.show({ items, nextCursor: null });
}

/** An operation this build does not know: people's own starts, and those of a newer server. */
async function rowOfServer(client: Hal9Client, id: string): Promise<OperationRow | undefined> {
  const document = await client.call('openApi', { params: {} });
  for (const [path, methods] of Object.entries(isRecord(document['paths']) ? document['paths'] : {})) {
    for (const [method, operation] of Object.entries(isRecord(methods) ? methods : {})) {
      if (!isRecord(operation) || operation['operationId'] !== id || !isMethod(method.toUpperCase())) continue;
      const body = operation['requestBody'];
      const parameters = (Array.isArray(operation['parameters']) ? operation['parameters'] : []).filter(isParameter);
      return { method: methodOf(method), path, tag: '', summary: String(operation['summary']), parameters, ...(isRecord(body) ? { body: { types: Object.keys(isRecord(body['content']) ? body['content'] : {}), required: body['required'] === true } } : {}), pages: true };
    }
  }
  return undefined;
}

const METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'] as const;

function isMethod(method: string): boolean {
  return METHODS.some((one) => one === method);
}

function methodOf(method: string): OperationRow['method'] {
  return METHODS.find((one) => one === method.toUpperCase()) ?? 'GET';
}

/** Parameters of query and headers. The key of a repetition is an option of every body. */
function optionsOf(row: OperationRow): OperationParameter[] {
  return row.parameters.filter(({ in: where, name }) => where === 'query' || (where === 'header' && name !== 'Idempotency-Key'));
}

function typed(parameter: OperationParameter, text: string): unknown {
  if (parameter.type === 'integer' || parameter.type === 'number') {
    const number = Number(text);
    if (text.trim() === '' || !Number.isFinite(number)) throw new InvalidArgumentError('a number is needed');
    return number;
  }
  return text;
}

export function collect(value: string, before: readonly string[]): string[] {
  return [...before, value];
}

export function kebab(name: string): string {
  return name.replaceAll(/([a-z0-9])([A-Z])/g, '$1-$2').replaceAll('_', '-').toLowerCase();
}

export function camel(name: string): string {
  return name.replaceAll(/-([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}

function isParameter(value: unknown): value is OperationParameter {
  return isRecord(value) && typeof value['name'] === 'string' && typeof value['in'] === 'string';
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
