import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { startStack, type Stack } from '../../deploy/local/stack.ts';
import type { Bench } from '../bench/arguments.ts';
import { BOOKING_LOGIN, bookingFlow, startBookingSite } from '../browser/sites/booking.ts';

/** Steps of the flow; each is cut off once. */
const STEPS = 20;
/** Slow enough that a kill lands in the middle of things. */
const PAGE_MS = 40;
/** The steps before the sign-in has happened: only kills there may make somebody sign in again. */
const SIGN_IN_STEP = 4;
const LOOK_MS = 5;
const WAIT_MS = 120_000;

/**
 * Kills the worker, or the browser under it, at every step of a sign-in and a form over several pages: each run must finish, each booking be
 * made once. Options: `--steps N` (default 20), `--smoke` (four of them).
 */
export const run: Bench = async (args) => {
  const smoke = args.options['smoke'] !== undefined;
  const steps = smoke ? [2, 8, 14, 19] : Array.from({ length: args.number('steps', STEPS) }, (_, index) => index + 1);
  const began = performance.now();
  const site = await startBookingSite(PAGE_MS);
  const stack = await startStack({
    settings: { HAL9_DATA: join(args.folder, 'data'), HAL9_PORT: '0', HAL9_ALLOW_PRIVATE_ADDRESSES: 'true' },
    processes: ['api', 'core', 'dispatcher', 'browser'],
    progress: args.progress,
    signal: args.signal,
  });
  const client = new pg.Client({ connectionString: stack.databaseUrl });
  await client.connect();
  try {
    const call = callerOf(stack);
    await call('POST', '/v1/connections?test=false', { name: 'booking', settings: { kind: 'website', origins: [site.url], ...BOOKING_LOGIN } });
    let finished = 0;
    let kills = 0;
    let asked = 0;
    let answered = 0;
    for (const [index, step] of steps.entries()) {
      const reference = `chaos-${String(step)}`;
      const run = await call('POST', '/v1/workflows/browser/runs', { input: { flow: bookingFlow(site.url), input: { reference } } });
      const runId = String(run['runId']);
      await untilTaken(client, runId, step - 1, args.signal);
      const victim = index % 2 === 0 ? 'browser' : 'worker';
      if (victim === 'worker') stack.kill('browser', 'SIGKILL');
      else await killChromium(stack);
      kills += 1;
      asked += 1;
      const health = await fetch(`${stack.url}/healthz`).catch(() => undefined);
      if (health?.ok === true) answered += 1;
      const outcome = await resultOf(call, runId);
      const result = outcome['result'];
      if (typeof result === 'object' && result !== null && 'result' in result && result.result === `B-${reference}`) finished += 1;
      else args.progress(`step ${String(step)}: ${JSON.stringify(outcome).slice(0, 500)}`);
      args.progress(`step ${String(step)}: ${victim} killed, ${String(finished)} of ${String(kills)} finished`);
    }
    const duplicated = [...site.bookings.values()].reduce((sum, count) => sum + Math.max(0, count - 1), 0);
    const early = steps.filter((step) => step <= SIGN_IN_STEP).length;
    return { kills, finished, duplicated, booked: site.bookings.size, signedInAgain: Math.max(0, site.signIns() - steps.length), signedInAgainAtMost: early, availability: answered / asked, seconds: Math.round((performance.now() - began) / 1000) };
  } finally {
    await client.end();
    await stack.stop();
    await site.close();
  }
};

/** Waits until so many steps of a run are on record. */
async function untilTaken(client: pg.Client, runId: string, steps: number, signal: AbortSignal): Promise<void> {
  const deadline = Date.now() + WAIT_MS;
  while (Date.now() < deadline) {
    signal.throwIfAborted();
    const { rows } = await client.query<{ taken: string; sessions: string }>('select (select count(*) from browser_sessions where run_id = $1) as sessions, (select count(*) from browser_steps t join browser_sessions s on s.org_id = t.org_id and s.id = t.session_id where s.run_id = $1) as taken', [runId]);
    if (Number(rows[0]?.sessions) > 0 && Number(rows[0]?.taken) >= steps) return;
    await sleep(LOOK_MS);
  }
  throw new Error(`the run did not come to step ${String(steps)}`);
}

/** One wait is a minute at most; a take-up on a loaded machine may need more. */
async function resultOf(call: ReturnType<typeof callerOf>, runId: string): Promise<Record<string, unknown>> {
  for (let minute = 1; ; minute += 1) {
    const outcome = await call('GET', `/v1/runs/${encodeURIComponent(runId)}/result?waitSeconds=60`);
    if (outcome['status'] !== 'running' || minute === 3) return outcome;
  }
}

/** Kills the browser processes of the worker, not those of their pages. */
async function killChromium(stack: Stack): Promise<void> {
  const worker = stack.processes().find(({ name }) => name === 'browser')?.pid;
  for (const entry of await readdir('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    const [stat, command] = await Promise.all([readFile(`/proc/${entry}/stat`, 'utf8'), readFile(`/proc/${entry}/cmdline`, 'utf8')]).catch(() => ['', '']);
    const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
    if (parent === worker && command.includes('--headless')) process.kill(Number(entry), 'SIGKILL');
  }
}

function callerOf({ url, first }: Stack): (method: string, path: string, body?: unknown) => Promise<Record<string, unknown>> {
  return async (method, path, body) => {
    const response = await fetch(`${url}${path}`, { method, headers: { 'Authorization': `Bearer ${first?.apiKey ?? ''}`, 'Content-Type': 'application/json' }, ...(body === undefined ? {} : { body: JSON.stringify(body) }) });
    const answer: unknown = await response.json();
    if (!response.ok || typeof answer !== 'object' || answer === null) throw new Error(`${path}: ${String(response.status)} ${JSON.stringify(answer)}`);
    return { ...answer };
  };
}
