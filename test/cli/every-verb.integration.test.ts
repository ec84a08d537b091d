import { randomUUID } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { commandNames } from '../../cli/command-names.ts';
import { EXIT, exitCodeOf } from '../../cli/exit-code.ts';
import { createProgram } from '../../cli/main.ts';
import { OPERATIONS, type OperationParameter, type OperationRow } from '../../clients/typescript/index.ts';
import { startTestApi, type TestApi } from '../api/running-api.ts';

/** Longest time one verb may take until its answer begins, seconds. */
const PATIENCE = 20;
const ROWS: Readonly<Record<string, OperationRow>> = OPERATIONS;

/** What docs/how-to/cli.md says of the answer of an API. */
function documented(status: number): number {
  if (status < 300) return EXIT.ok;
  const codes: Readonly<Record<number, number>> = { 401: EXIT.refused, 402: EXIT.limited, 403: EXIT.refused, 404: EXIT.notFound, 409: EXIT.conflict, 412: EXIT.conflict, 429: EXIT.limited, 504: EXIT.timeout };
  return codes[status] ?? (status < 500 ? EXIT.usage : EXIT.unavailable);
}

/** Of nothing that is there, but of the right form. */
function valueOf({ name, type }: OperationParameter, id: string): string {
  if (type === 'integer' || type === 'number') return '1';
  if (name === 'email') return 'ada@example.org';
  if (name !== 'id' && !name.endsWith('Id') && name !== 'organisation') return 'nothing';
  return ROWS[id]?.path.startsWith('/v1/runs/{id}') === true ? `greet~${randomUUID()}` : randomUUID();
}

/** Every verb that is made of the API, against the API itself: it is reached by the request it is for, and scripts are told how that went. */
describe('every verb of hal9', () => {
  let api: TestApi;
  let folder: string;
  let requests: { readonly method: string; readonly path: string; readonly status: number }[] = [];
  const written: string[] = [];

  beforeAll(async () => {
    api = await startTestApi();
    folder = await mkdtemp(join(tmpdir(), 'hal9-verbs-'));
    await writeFile(join(folder, 'bytes'), 'bytes');
    await writeFile(join(folder, 'signals.ndjson'), `${JSON.stringify({ specversion: '1.0', id: '1', source: 'test', type: 'test.verb', data: {} })}\n`);
    const key = await api.key(await api.database.organisation());
    for (const [name, value] of Object.entries({ HAL9_URL: api.url, HAL9_API_KEY: key.text, HOME: folder })) vi.stubEnv(name, value);
    // The requests are sent as they are, and noted.
    const send = globalThis.fetch;
    vi.spyOn(globalThis, 'fetch').mockImplementation(async (input, init) => {
      const response = await send(input, init);
      requests.push({ method: init?.method ?? 'GET', path: new URL(input instanceof Request ? input.url : input).pathname, status: response.status });
      return response;
    });
    for (const stream of [process.stdout, process.stderr]) {
      vi.spyOn(stream, 'write').mockImplementation((chunk: string | Uint8Array, encoding?: unknown, done?: unknown) => {
        written.push(Buffer.from(chunk).toString());
        const told = typeof encoding === 'function' ? encoding : done;
        if (typeof told === 'function') told();
        return true;
      });
    }
  });
  afterEach(() => {
    process.exitCode = undefined;
  });
  afterAll(async () => {
    vi.restoreAllMocks();
    vi.unstubAllEnvs();
    await api.stop();
    await rm(folder, { recursive: true, force: true });
  });

  const line = (id: string, row: OperationRow): string[] => {
    const { group = '', verb = '' } = commandNames(ROWS).get(id) ?? {};
    const options = row.parameters.filter(({ in: where, required }) => where !== 'path' && required).flatMap((parameter) => [`--${parameter.name.toLowerCase()}`, valueOf(parameter, id)]);
    const bytes = row.body?.types[0] === '*/*' ? ['--input', join(folder, 'bytes')] : [];
    // Commands that are made by hand ask for more than their operation.
    const more: Readonly<Record<string, readonly string[]>> = { sendSignals: [join(folder, 'signals.ndjson')], terminateRun: ['--reason', 'a test'] };
    return [group, verb, ...row.parameters.filter(({ in: where }) => where === 'path').map((parameter) => valueOf(parameter, id)), ...options, ...bytes, ...(more[id] ?? []), '--json'];
  };
  /** As `main` does it. */
  const run = async (args: readonly string[]): Promise<number> => {
    process.exitCode = undefined;
    try {
      await createProgram().parseAsync(['--timeout', String(PATIENCE), ...args], { from: 'user' });
      return Number(process.exitCode ?? EXIT.ok);
    } catch (error) {
      return exitCodeOf(error);
    }
  };

  it('reaches the API, and ends with the code that is documented for its answer', { timeout: 150_000 }, async () => {
    const wrong: unknown[] = [];
    const statuses = new Map<number, number>();
    for (const [id, row] of Object.entries(ROWS)) {
      requests = [];
      written.length = 0;
      const args = line(id, row);
      const code = await run(args);
      const path = new RegExp(`^${row.path.replaceAll(/[.*+?^$()|[\]\\]/g, '\\$&').replaceAll(/\{\w+\}/g, '[^/]+')}$`);
      const own = requests.findLast((request) => request.method === row.method && path.test(request.path));
      const expected = own === undefined ? undefined : documented(own.status);
      if (own !== undefined) statuses.set(own.status, (statuses.get(own.status) ?? 0) + 1);
      if (own === undefined || own.status >= 500 || code !== expected) wrong.push({ id, line: args.join(' '), code, expected, requests, said: written.join('').slice(0, 300) });
    }
    expect(wrong).toEqual([]);
    expect(Object.keys(ROWS).length).toBeGreaterThan(300);
    // It was let in, found things and did not find others.
    for (const status of [200, 404, 422]) expect(statuses.get(status) ?? 0, String(status)).toBeGreaterThan(20);
  });
});
