import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdtemp, readFile, rm, chmod } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { startStack, type Stack } from '../../deploy/local/stack.ts';
import { findSchemathesis, SCHEMATHESIS_MISSING } from '../environment/schemathesis.ts';

/**
 * Schemathesis against the shipped processes, from the OpenAPI document they serve. For a longer look set HAL9_SCHEMATHESIS_EXAMPLES (random cases
 * of each operation) and HAL9_SCHEMATHESIS_SECONDS (of its parts); HAL9_SCHEMATHESIS_SEED repeats what a run printed.
 */
const EXAMPLES = Number(process.env['HAL9_SCHEMATHESIS_EXAMPLES'] ?? 3);
const SECONDS = Number(process.env['HAL9_SCHEMATHESIS_SECONDS'] ?? 20);
const SEED = Number(process.env['HAL9_SCHEMATHESIS_SEED'] ?? 1);

/** Longest time for all operations at the borders of their fields, milliseconds; about 75 s on two processors. */
const COVERAGE_MS = 900_000;

/** What an answer must never be. Whether data is refused is HAL9's to say in finer ways than a schema can: those two checks are left out. */
const CHECKS = [
  'not_a_server_error', 'status_code_conformance', 'content_type_conformance', 'response_headers_conformance', 'response_schema_conformance', 'missing_required_header', 'unsupported_method', 'allow_header_conformance', 'ignored_auth',
];

/** Operations that would end the key or the organisation of the others, once Schemathesis has learned their ids from answers: they come last. */
const ENDING = ['revokeApiKey', 'rotateApiKey', 'suspendOrganisation'];

/** Their bodies nest without end: the borders of all fields at all depths are more cases than a run can send. Random ones are sent. */
const NESTED = ['startBrowser', 'takeBrowserTurn'];

/** Their bodies are those of others, which are enough for the borders: the definition of a neuron alone is three thousand cases. */
const SAME_BODY = ['testNeuronDraft', 'replaceNeuron', 'replaceSchedule', 'replaceAutomation', 'dryRunAutomationDraft', 'replaceSource'];

/** Their runs wait for somebody, and with them whoever waits for an end: they come last. */
const ENDLESS = ['startBrowserSession', 'requestErasure', 'requestAccessExport', 'requestPrivacyChange', 'recordConsent', 'startDrill'];
/** They last as long as the run that they wait for. */
const WAITING = ['streamRun', 'getRunResult'];

/** They would end the session of the others. */
const SIGNING_OUT = ['signOut', 'signOutAtProvider', 'endSession'];

const tool = await findSchemathesis();
if (tool === undefined) console.log(SCHEMATHESIS_MISSING);

it.runIf(tool === undefined && process.env['CI'] !== undefined)('has Schemathesis under CI', () => {
  expect.fail(SCHEMATHESIS_MISSING);
});

describe.skipIf(tool === undefined)('Schemathesis', () => {
  let folder: string;
  let stack: Stack;
  let key: string;
  let browser: { cookie: string; csrf: string };

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'hal9-schemathesis-'));
    await chmod(folder, 0o755);
    stack = await startStack({ settings: { HAL9_DATA: join(folder, 'data'), HAL9_PORT: '0', HAL9_RATE_LIMIT: '0', HAL9_FAILED_LOGINS: '0' }, processes: ['api', 'core', 'dispatcher'] });
    key = stack.first?.apiKey ?? '';
    // Now: after some thousand wrong credentials from this address nobody may sign in from here for a while.
    browser = await session();
  });
  afterAll(async () => {
    await stack.stop();
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  });

  // A fixed set of cases, so bounded by itself; how long it takes is the machine's. Half of the operations a process.
  it('finds no 5xx and no break of the schema at the borders of every field', { timeout: COVERAGE_MS + 60_000 }, async () => {
    const ids = (await operationIds()).filter((id) => ![...ENDING, ...ENDLESS, ...WAITING, ...NESTED, ...SAME_BODY].includes(id));
    const halves = [0, 1].map((half) => ids.filter((_, place) => place % 2 === half));
    const found = await Promise.all(halves.map((half) => schemathesis(['--phases', 'examples,coverage', ...only(half)])));
    expect(found.flatMap(({ failures }) => failures)).toEqual([]);
    for (const { cases } of found) expect(cases).toBeGreaterThan(1000);
    await expectLife();
  });

  it(`finds none in random data (seed ${SEED})`, { timeout: (SECONDS * 6 + 60) * 1000 }, async () => {
    const found = await schemathesis(['--phases', 'fuzzing', '--max-examples', String(EXAMPLES), '--max-time', String(SECONDS), ...without([...ENDING, ...ENDLESS, ...WAITING])]);
    expect(found.failures).toEqual([]);
    expect(found.cases).toBeGreaterThan(0);
    await expectLife();
  });

  it(`finds none when it goes on with what was answered (seed ${SEED})`, { timeout: (SECONDS * 6 + 60) * 1000 }, async () => {
    const found = await schemathesis(['--phases', 'stateful', '--max-examples', String(EXAMPLES * 10), '--max-time', String(SECONDS), ...without([...ENDING, ...ENDLESS, ...WAITING])]);
    expect(found.failures).toEqual([]);
    expect(found.cases).toBeGreaterThan(0);
    await expectLife();
  });

  it(`finds none in what a person in a browser does with an own session (seed ${SEED})`, { timeout: (SECONDS * 6 + 60) * 1000 }, async () => {
    const { cookie, csrf } = browser;
    const ids = (await signedInOnly()).filter((id) => !SIGNING_OUT.includes(id));
    expect(ids.length).toBeGreaterThan(8);
    // The cookie is not called as in the document, which is about HTTPS: Schemathesis could not leave it out.
    const found = await schemathesis(['--phases', 'examples,coverage,fuzzing', '--max-examples', String(EXAMPLES), '--max-time', String(Math.ceil(SECONDS / 2)), '--exclude-checks', 'ignored_auth', '--header', `X-CSRF-Token: ${csrf}`, ...only(ids)], `Cookie: ${cookie}`);
    expect(found.failures).toEqual([]);
    expect(found.cases).toBeGreaterThan(0);
    expect((await fetch(`${stack.url}/v1/session`, { headers: { cookie } })).status).toBe(200);
  });

  it(`finds none in what ends keys and organisations, or never ends (seed ${SEED})`, { timeout: (SECONDS * 6 + 60) * 1000 }, async () => {
    const found = await schemathesis(['--phases', 'examples,coverage,fuzzing', '--max-examples', String(EXAMPLES), '--max-time', String(Math.ceil(SECONDS / 3)), ...only([...ENDING, ...ENDLESS])]);
    expect(found.failures).toEqual([]);
    expect(stack.processes().filter(({ restarts }) => restarts > 0)).toEqual([]);
  });

  async function session(): Promise<{ cookie: string; csrf: string }> {
    const signedIn = await fetch(`${stack.url}/v1/sign-in/key`, { method: 'POST', headers: { 'content-type': 'application/json', origin: stack.url }, body: JSON.stringify({ key }) });
    const cookie = signedIn.headers.getSetCookie()[0]?.split(';')[0] ?? '';
    const answer = await fetch(`${stack.url}/v1/session`, { headers: { cookie } });
    return { cookie, csrf: z.object({ csrfToken: z.string() }).parse(await answer.json()).csrfToken };
  }

  async function operationIds(): Promise<string[]> {
    return (await documented()).map(({ operationId }) => operationId);
  }

  /** Operations for which no key is enough. */
  async function signedInOnly(): Promise<string[]> {
    return (await documented()).flatMap(({ operationId, security }) => (security?.length === 1 && 'session' in (security[0] ?? {}) ? [operationId] : []));
  }

  async function documented() {
    const { paths } = documentSchema.parse(await (await fetch(`${stack.url}/openapi.json`)).json());
    return Object.values(paths).flatMap((methods) => Object.values(methods));
  }

  /** Without a credential that still counts, all that was asked would have been refused at the door. */
  async function expectLife(): Promise<void> {
    const answer = await fetch(`${stack.url}/v1/runs`, { headers: { authorization: `Bearer ${key}` } });
    expect([answer.status, stack.processes().filter(({ restarts }) => restarts > 0)]).toEqual([200, []]);
  }

  async function schemathesis(options: readonly string[], credential = `Authorization: Bearer ${key}`): Promise<Findings> {
    const report = join(folder, `${randomUUID()}.json`);
    // A result may be waited for a minute. One thread: CPython before 3.11.8 loses count of its recursion when two of them parse (gh-106905).
    const args = ['run', `${stack.url}/openapi.json`, '--header', credential, '--checks', CHECKS.join(','), '--seed', String(SEED), '--request-timeout', '75', '--workers', '1', '--continue-on-failure', '--no-shrink', '--no-color', '--generation-database', 'none', '--report', 'json', '--report-json-path', report, ...options];
    // It ends with 1 when it found something: the report says what.
    const output = await promisify(execFile)(tool ?? '', args, { cwd: folder, timeout: Math.max(COVERAGE_MS, (SECONDS * 6 + 30) * 1000), maxBuffer: 256 * 1024 * 1024 }).then(({ stdout }) => stdout, stdoutOf);
    return findingsOf(await readFile(report, 'utf8'), output);
  }
});

function only(ids: readonly string[]): string[] {
  return ids.flatMap((id) => ['--include-operation-id', id]);
}

function without(ids: readonly string[]): string[] {
  return ids.flatMap((id) => ['--exclude-operation-id', id]);
}

interface Findings {
  readonly cases: number;
  readonly failures: readonly string[];
}

const documentSchema = z.object({ paths: z.record(z.string(), z.record(z.string(), z.object({ operationId: z.string(), security: z.array(z.record(z.string(), z.unknown())).optional() }))) });

const reportSchema = z.object({
  test_cases: z.object({ generated: z.number() }),
  failures: z.array(z.object({ title: z.string(), operations: z.array(z.string()).default([]) })),
  errors: z.array(z.object({ title: z.string(), count: z.number() })),
});

/** Prints what Schemathesis says about a finding, which ends with the request that repeats it. */
function findingsOf(text: string, output: string): Findings {
  const report = reportSchema.parse(JSON.parse(text));
  const failures = [...report.failures.map(({ title, operations }) => `${title}: ${operations.join(', ')}`), ...report.errors.map(({ title, count }) => `${title}: ${count}`)];
  if (failures.length > 0) console.error(output.split('\n').map((line) => line.slice(0, 600)).join('\n').slice(-40_000));
  return { cases: report.test_cases.generated, failures };
}

function stdoutOf(error: unknown): string {
  if (typeof error === 'object' && error !== null && 'stdout' in error && typeof error.stdout === 'string') return error.stdout;
  throw error;
}
