import type { z } from 'zod';
import type { OperationContract } from '../schemas/operations/operation.ts';
import { startedRun } from '../schemas/rest/runs.ts';
import { jsonSchemaOf, type JsonSchema } from './json-schema.ts';
import { PROBLEM_TYPE, problemSchema } from './problem.ts';
import type { AnyRoute } from './route.ts';
import { SCIM_MEDIA_TYPE } from '../schemas/rest/scim.ts';
import { START_HEADERS } from './start-headers.ts';
import { SCIM_PATH, scimProblem } from './scim-problem.ts';
import { sessionCookieName } from '../platform/identity/session-cookie.ts';

export interface OpenApiDocument {
  openapi: '3.1.0';
  info: JsonSchema;
  servers: { url: string }[];
  tags: { name: string }[];
  paths: Record<string, Record<string, JsonSchema>>;
  components: { schemas: Record<string, JsonSchema>; responses: Record<string, JsonSchema>; securitySchemes: Record<string, JsonSchema> };
  security: JsonSchema[];
}

/** OpenAPI 3.1 of the routes, with a start of its own for every public operation. */
export function openApiOf(routes: readonly AnyRoute[], contracts: Iterable<OperationContract>, version: string): OpenApiDocument {
  const schemas = new SchemaBook();
  const paths: OpenApiDocument['paths'] = {};
  for (const route of routes) {
    const path = templated(route.path);
    paths[path] = { ...paths[path], [route.method]: describe(route, schemas) };
  }
  const tags = [...new Set(routes.map((route) => route.tag))];
  for (const contract of contracts) {
    if (contract.exposure === 'public') paths[`/v1/workflows/${contract.name}/runs`] = { post: describeStart(contract, schemas) };
  }
  schemas.named('Problem', problemSchema);
  return {
    openapi: '3.1.0',
    info: {
      title: 'HAL9',
      version,
      description: 'Signals in, layered decisions out, every long operation a durable run. Failures are RFC 9457 problems; each says what you can do now.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: '/' }],
    tags: [...tags, 'Operations'].map((name) => ({ name })),
    paths,
    components: {
      schemas: schemas.all,
      responses: { Problem: { description: 'What went wrong, whose fault it is and what to do now.', content: { [PROBLEM_TYPE]: { schema: { $ref: '#/components/schemas/Problem' } } } } },
      securitySchemes: {
        bearer: { type: 'http', scheme: 'bearer', description: 'An API key, `hal9_<prefix>_<secret>`, or a service token of POST /v1/tokens.' },
        header: { type: 'apiKey', in: 'header', name: 'X-API-Key' },
        session: { type: 'apiKey', in: 'cookie', name: sessionCookieName(true), description: 'Session of a browser, see /sign-in; what is not GET also needs X-CSRF-Token. On plain HTTP without the prefix.' },
      },
    },
    security: [{ bearer: [] }, { header: [] }, { session: [] }],
  };
}

const EVENT_STREAM = 'text/event-stream';

/** One event of a stream, as OpenAPI 3.2 describes them, which newer readers of 3.1 take too: the schema is of what `data` holds. */
function serverSentEvent(data: JsonSchema): JsonSchema {
  const text = { type: 'string' };
  return { type: 'object', required: ['id', 'event', 'data'], properties: { id: text, event: text, data: { ...text, contentMediaType: 'application/json', contentSchema: data } } };
}

/** `/v1/runs/:id` -> `/v1/runs/{id}`; Express writes wildcards as `/*name`. */
function templated(path: string): string {
  return path.replace(/[:*]([A-Za-z]+)/g, '{$1}');
}

function describe(route: AnyRoute, schemas: SchemaBook): JsonSchema {
  const open = route.permission === 'public';
  return {
    operationId: route.id,
    tags: [route.tag],
    summary: route.summary,
    ...(route.description === undefined ? {} : { description: route.description }),
    ...(open ? { security: [] } : { 'x-permission': route.permission, ...(route.permission === 'signed-in' ? { security: [{ session: [] }] } : {}) }),
    parameters: [...pathParameters(route), ...parameters(route.query, 'query', schemas), ...headerParameters(route.headers ?? {})],
    ...requestBody(route, schemas),
    responses: {
      ...Object.fromEntries(
        Object.entries(route.responses).map(([status, { description, schema, contentType, alternatives }]) => [
          status,
          schema === undefined && contentType === undefined
            ? { description }
            : { description, content: Object.fromEntries([[contentType ?? 'application/json', schema] as const, ...Object.entries(alternatives ?? {})].map(([type, content]) => [type, mediaOf(type, content)])) },
        ]),
      ),
      default: failuresOf(route),
    },
  };

  function mediaOf(type: string, content: z.ZodType | undefined): JsonSchema {
    if (content === undefined) return {};
    const schema = schemas.inline(content, 'output');
    return { schema: type === EVENT_STREAM ? serverSentEvent(schema) : schema };
  }

  function failuresOf(of: AnyRoute): JsonSchema {
    // What is refused before its route is known comes as a problem everywhere.
    const problem = { [PROBLEM_TYPE]: { schema: { $ref: '#/components/schemas/Problem' } } };
    if (of.path.startsWith(`${SCIM_PATH}/`)) return { description: 'What went wrong, as SCIM tells it (RFC 7644, 3.12).', content: { [SCIM_MEDIA_TYPE]: { schema: schemas.inline(scimProblem, 'output') }, ...problem } };
    if (of.failurePage === undefined) return { $ref: '#/components/responses/Problem' };
    return { description: 'What went wrong: a page for people, or a problem.', content: { 'text/html': { schema: { type: 'string' } }, ...problem } };
  }

  function pathParameters(of: AnyRoute): JsonSchema[] {
    const described = new Map(parameters(of.params, 'path', schemas).map((parameter) => [parameter['name'], parameter]));
    return [...of.path.matchAll(/[:*]([A-Za-z]+)/g)].map(([, name]) => described.get(name) ?? { name, in: 'path', required: true, schema: { type: 'string' } });
  }
}

function parameters(schema: z.ZodType | undefined, where: 'path' | 'query', schemas: SchemaBook): JsonSchema[] {
  if (schema === undefined) return [];
  const object = schemas.inline(schema, 'input');
  const required = new Set(Array.isArray(object['required']) ? object['required'] : []);
  return Object.entries(isRecord(object['properties']) ? object['properties'] : {}).map(([name, property]) => {
    const { description, ...rest } = isRecord(property) ? property : {};
    return { name, in: where, required: where === 'path' || required.has(name), ...(description === undefined ? {} : { description }), schema: rest };
  });
}

function headerParameters(headers: Readonly<Record<string, string>>): JsonSchema[] {
  return Object.entries(headers).map(([name, description]) => ({ name, in: 'header', required: false, description, schema: { type: 'string' } }));
}

function requestBody(route: AnyRoute, schemas: SchemaBook): JsonSchema | undefined {
  if (route.body !== undefined) {
    return { requestBody: { required: !route.body.safeParse(undefined).success, content: { 'application/json': { schema: schemas.inline(route.body, 'input') } } } };
  }
  if (route.rawBody === undefined) return undefined;
  const content = Object.fromEntries(Object.entries(route.rawBody).map(([type, schema]) => [type, { schema: schemas.inline(schema, 'input') }]));
  return { requestBody: { required: true, content } };
}

function describeStart(contract: OperationContract, schemas: SchemaBook): JsonSchema {
  return {
    operationId: `start${contract.name.split('-').map((part) => part.charAt(0).toUpperCase() + part.slice(1)).join('')}`,
    tags: ['Operations'],
    summary: contract.summary,
    description: `${contract.description}\n\nThe result's schema, the messages and the failures of its own are in \`GET /v1/workflows/${contract.name}\`.`,
    'x-permission': `${contract.permission}:type=${contract.name}`,
    'x-effect': contract.effect,
    parameters: headerParameters(START_HEADERS),
    requestBody: {
      required: true,
      content: {
        'application/json': {
          schema: {
            type: 'object',
            additionalProperties: false,
            required: ['input'],
            properties: {
              input: schemas.inline(contract.input, 'input'),
              tags: { type: 'array', items: { type: 'string' }, maxItems: 20 },
              delaySeconds: { type: 'number', minimum: 0 },
            },
          },
        },
      },
    },
    responses: {
      201: { description: 'The run was started.', content: { 'application/json': { schema: schemas.inline(startedRun, 'output') } } },
      200: { description: 'The run was there already.', content: { 'application/json': { schema: schemas.inline(startedRun, 'output') } } },
      default: { $ref: '#/components/responses/Problem' },
    },
  };
}

/** Schemas that have a name (`meta({id})`) or refer to themselves live once, under `components`. */
class SchemaBook {
  readonly all: Record<string, JsonSchema> = {};
  #anonymous = 0;

  inline(schema: z.ZodType, io: 'input' | 'output'): JsonSchema {
    const made = jsonSchemaOf(schema, io);
    const wanted = typeof made['id'] === 'string' ? made['id'] : referencesItself(made) ? `Recursive${(this.#anonymous += 1)}` : undefined;
    if (wanted === undefined) return this.#adopt(made, io, undefined);
    return { $ref: `#/components/schemas/${this.#put(wanted, this.#adopt(made, io, wanted), io)}` };
  }

  named(id: string, schema: z.ZodType): void {
    this.#put(id, this.#adopt(jsonSchemaOf(schema, 'output'), 'output', id), 'output');
  }

  /** Moves `$defs` to the components and points the references there. */
  #adopt(made: JsonSchema, io: 'input' | 'output', self: string | undefined): JsonSchema {
    const { $defs, id: _, ...rest } = made;
    const definitions = isRecord($defs) ? $defs : {};
    const names = new Map(Object.keys(definitions).map((name) => [name, name.startsWith('__schema') ? `Shared${(this.#anonymous += 1)}` : name]));
    const moved = (value: unknown): unknown => {
      if (Array.isArray(value)) return value.map(moved);
      if (!isRecord(value)) return value;
      const reference = value['$ref'];
      if (reference === '#' && self !== undefined) return { ...value, $ref: `#/components/schemas/${self}` };
      if (typeof reference === 'string' && reference.startsWith('#/$defs/')) {
        const name = reference.slice('#/$defs/'.length);
        return { ...value, $ref: `#/components/schemas/${names.get(name) ?? name}` };
      }
      return Object.fromEntries(Object.entries(value).map(([key, child]) => [key, moved(child)]));
    };
    for (const [name, definition] of Object.entries(definitions)) {
      const { id: __, ...body } = asRecord(moved(definition));
      names.set(name, this.#put(names.get(name) ?? name, body, io));
    }
    return asRecord(moved(rest));
  }

  /** @returns the name it got: what a client sends may differ from what it gets under the same id. */
  #put(id: string, schema: JsonSchema, io: 'input' | 'output'): string {
    for (const name of [id, `${id}${io === 'input' ? 'Input' : 'Output'}`]) {
      const before = this.all[name];
      if (before !== undefined && JSON.stringify(before) !== JSON.stringify(schema)) continue;
      this.all[name] = schema;
      return name;
    }
    throw new Error(`two different schemas are called ${id}`);
  }
}

function referencesItself(schema: JsonSchema): boolean {
  return JSON.stringify(schema).includes('"$ref":"#"');
}

function asRecord(value: unknown): JsonSchema {
  return isRecord(value) ? value : {};
}

function isRecord(value: unknown): value is JsonSchema {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
