import { access, readdir, readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { basename, extname, join, normalize, resolve } from 'node:path';
import type { Browser } from 'playwright-core';
import { parse } from 'yaml';
import { SetupError } from '../../../deploy/local/setup-error.ts';
import { flowSchema, type Flow } from '../../../schemas/browser/flow.ts';
import { playEpisode } from './episode.ts';
import { onLoopback } from '../../environment/loopback.ts';

const TYPES: Readonly<Record<string, string>> = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.png': 'image/png', '.gif': 'image/gif', '.jpg': 'image/jpeg', '.svg': 'image/svg+xml', '.json': 'application/json' };

interface TasksOptions {
  readonly browser: Browser;
  /** The pages: the `html` folder of the package, or one beside or below it. */
  readonly dir: string;
  /** Folder with `<task>.yaml` for each task; default those beside this file. */
  readonly flows?: string;
  /** Only these; default all. */
  readonly tasks?: readonly string[] | undefined;
  /** Episodes of each task. */
  readonly seeds: number;
  /** Whether the pages have other ids and classes than the flows were written for. */
  readonly renamed: boolean;
  readonly progress: (message: string) => void;
  readonly signal: AbortSignal;
}

interface TasksOutcome {
  readonly tasks: number;
  /** Tasks of which every seed ended with reward 1. */
  readonly solved: number;
  readonly episodes: number;
  readonly won: number;
  readonly failed: readonly { readonly task: string; readonly seed: string; readonly reward: number; readonly reason: string }[];
}

/** Plays the flows over several seeds on the pages of MiniWoB++. @throws {SetupError} when pages or flows are missing. */
export async function playTasks({ browser, dir, flows: folder = join(import.meta.dirname, 'flows'), tasks, seeds, renamed, progress, signal }: TasksOptions): Promise<TasksOutcome> {
  const pages = await pageFolder(resolve(dir));
  const flows = await readFlows(resolve(folder), tasks);
  const server = await serve(pages.root);
  const failed: TasksOutcome['failed'][number][] = [];
  let solved = 0;
  try {
    for (const [task, flow] of flows) {
      const before = failed.length;
      for (let number = 1; number <= seeds; number += 1) {
        signal.throwIfAborted();
        const seed = `hal9-${String(number)}`;
        const outcome = await playEpisode(browser, { url: `${server.url}/${pages.prefix}${task}.html`, flow, seed, renamed });
        if (outcome.reward !== 1) failed.push({ task, seed, ...outcome });
      }
      const right = failed.length === before;
      if (right) solved += 1;
      progress(right ? `solved  ${task}` : `FAILED  ${task}: ${failed.at(-1)?.reason ?? ''}`);
    }
  } finally {
    await server.close();
  }
  const episodes = flows.length * seeds;
  return { tasks: flows.length, solved, episodes, won: episodes - failed.length, failed };
}

const REMEDY = 'give the `html` folder of the package miniwob, which holds `core` and `miniwob`';

async function pageFolder(dir: string): Promise<{ root: string; prefix: string }> {
  const pages = await foundIn(dir);
  const script = join(pages.root, 'core/core.js');
  await access(script).catch((error: unknown) => {
    throw new SetupError(`there are no pages of MiniWoB++ in ${dir} (${script} is missing)`, REMEDY, { cause: error });
  });
  return pages;
}

/** The folder itself may hold the tasks, or `miniwob/` below it. */
async function foundIn(dir: string): Promise<{ root: string; prefix: string }> {
  const entries = await readdir(dir).catch(() => {
    throw new SetupError(`there is no folder ${dir}`, REMEDY);
  });
  if (entries.includes('miniwob')) return { root: dir, prefix: 'miniwob/' };
  if (entries.includes('html')) return { root: join(dir, 'html'), prefix: 'miniwob/' };
  return { root: resolve(dir, '..'), prefix: `${basename(dir)}/` };
}

async function readFlows(folder: string, only: readonly string[] | undefined): Promise<[string, Flow][]> {
  const files = (await readdir(folder)).filter((file) => file.endsWith('.yaml') || file.endsWith('.json')).toSorted();
  const flows: [string, Flow][] = [];
  for (const file of files) {
    const task = file.slice(0, -extname(file).length);
    if (only !== undefined && !only.includes(task)) continue;
    const parsed = flowSchema.safeParse(parse(await readFile(join(folder, file), 'utf8')));
    if (!parsed.success) throw new SetupError(`${file} is not a flow: ${parsed.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`).join('; ')}`, 'correct the flow');
    flows.push([task, parsed.data]);
  }
  if (flows.length === 0) throw new SetupError(`there are no flows in ${folder}`, 'give a folder with a file <task>.yaml for each task');
  return flows;
}

async function serve(root: string): Promise<{ url: string; close: () => Promise<void> }> {
  const server = createServer((request, response) => {
    const path = normalize(decodeURIComponent(new URL(request.url ?? '/', 'http://localhost').pathname));
    readFile(join(root, path)).then(
      (content) => response.writeHead(200, { 'content-type': TYPES[extname(path)] ?? 'application/octet-stream' }).end(content),
      () => response.writeHead(404).end(),
    );
  });
  return onLoopback(server);
}
