import { readdir, readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Hal9Client } from '../../clients/typescript/index.ts';
import { onLoopback } from '../environment/loopback.ts';

const RUN_MS = 300_000;
const MIB = 1024 * 1024;

interface SoakOptions {
  readonly client: Hal9Client;
  /** Process id of the browser worker. */
  readonly worker: number;
  readonly sessions: number;
  readonly warmUp: number;
  /** Sessions at once. */
  readonly abreast: number;
  /** How long after the last session Chromium processes are counted, ms; default 10,000. */
  readonly leftMs?: number;
  readonly progress: (message: string) => void;
  readonly signal: AbortSignal;
}

interface Soak {
  readonly sessions: number;
  /** Sessions that answered what their page says, to them and to nobody else. */
  readonly right: number;
  /**
   * The most that the worker held during each tenth of the sessions after the warm-up, MiB. What it holds at one moment says little: V8 gives
   * back up to a quarter when there is a pause, and takes it again.
   */
  readonly rssMb: readonly number[];
  /** Of the last tenth over the first, e.g. 0.03 for 3 %. */
  readonly growth: number;
  /** Chromium processes below the worker, some time after the last session. */
  readonly chromiumsLeft: number;
}

/** Takes short sessions through the operation `browser`, each of which is given a cookie and says which ones it has. */
export async function soak({ client, worker, sessions, warmUp, abreast, leftMs = 10_000, progress, signal }: SoakOptions): Promise<Soak> {
  const site = await startSite();
  try {
    let right = 0;
    let done = 0;
    const through = async (count: number): Promise<void> => {
      let left = count;
      await Promise.all(Array.from({ length: abreast }, async () => {
        while (left > 0) {
          signal.throwIfAborted();
          left -= 1;
          if (await isRight(client, site.url, signal)) right += 1;
          done += 1;
          if (done % 50 === 0) progress(`${String(done)} sessions, the worker held ${String(Math.round((await mostOf(worker)) / MIB))} MiB at the most`);
        }
      }));
    };
    await through(warmUp);
    const most: number[] = [];
    for (let tenth = 1; tenth <= 10; tenth += 1) {
      await forgetMost(worker);
      await through(Math.round((sessions * tenth) / 10) - Math.round((sessions * (tenth - 1)) / 10));
      most.push(await mostOf(worker));
    }
    await sleep(leftMs, undefined, { signal });
    const chromiumsLeft = await chromiumsBelow(worker);
    return { sessions, right: right - warmUp, rssMb: most.map(megabytes), growth: Math.round(((most.at(-1) ?? Number.NaN) / (most[0] ?? Number.NaN) - 1) * 1000) / 1000, chromiumsLeft };
  } finally {
    await site.close();
  }
}

async function isRight(client: Hal9Client, url: string, signal: AbortSignal): Promise<boolean> {
  const steps = [{ do: 'navigate', url: `${url}/first` }, { do: 'click', on: { role: 'link', name: 'Next' } }, { do: 'wait', for: { url: '**/next', text: 'visits' } }, { do: 'extract', as: 'visits', on: { text: 'visits' }, match: '([0-9]+) visits', type: 'integer' }];
  const { runId } = await client.runs.start('browser', { flow: { steps, result: 'vars.visits' } });
  const outcome = await client.runs.result(runId, { limitMs: RUN_MS, signal });
  // The first page counts one visit; a cookie of somebody else would count more.
  return outcome.status === 'completed' && typeof outcome.result === 'object' && outcome.result !== null && 'result' in outcome.result && outcome.result.result === 2;
}

/** Counts the visits of a visitor in a cookie. */
async function startSite(): Promise<{ url: string; close: () => Promise<void> }> {
  const server = createServer(({ url, headers }, response) => {
    if (url !== '/first' && url !== '/next') {
      response.writeHead(404).end();
      return;
    }
    const visits = Number(/visits=(\d+)/.exec(headers.cookie ?? '')?.[1] ?? 0) + 1;
    response.writeHead(200, { 'content-type': 'text/html', 'set-cookie': `visits=${String(visits)}; Path=/` }).end(`<!doctype html><title>Counter</title><p>${String(visits)} visits</p><a href="/next">Next</a>`);
  });
  return onLoopback(server);
}

/** The peak of resident memory since it was last forgotten, see proc_pid_status(5), bytes. */
async function mostOf(pid: number): Promise<number> {
  const status = await readFile(`/proc/${String(pid)}/status`, 'utf8');
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
}

/** See proc_pid_clear_refs(5). */
async function forgetMost(pid: number): Promise<void> {
  await writeFile(`/proc/${String(pid)}/clear_refs`, '5');
}

/** Chromium processes that a worker started and that still run. */
export async function chromiumsBelow(worker: number): Promise<number> {
  let count = 0;
  for (const entry of await readdir('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    const [stat, command] = await Promise.all([readFile(`/proc/${entry}/stat`, 'utf8'), readFile(`/proc/${entry}/cmdline`, 'utf8')]).catch(() => ['', '']); // it ended meanwhile
    const [state, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    if (Number(parent) === worker && state !== 'Z' && command.includes('--headless')) count += 1;
  }
  return count;
}

function megabytes(bytes: number): number {
  return Math.round((bytes / MIB) * 10) / 10;
}
