import { readdir, readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { basename, extname, join, normalize, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { parse } from 'yaml';
import { launchChromium } from '../../../activities/browser/chromium.ts';
import { SetupError } from '../../../deploy/local/setup-error.ts';
import { runCommand } from '../../../deploy/local/command.ts';
import { flowSchema, type Flow } from '../../../schemas/browser/flow.ts';
import { playEpisode } from './episode.ts';

const TYPES: Readonly<Record<string, string>> = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.png': 'image/png', '.gif': 'image/gif', '.jpg': 'image/jpeg', '.svg': 'image/svg+xml', '.json': 'application/json' };

interface Failed {
  readonly task: string;
  readonly seed: string;
  readonly reward: number;
  readonly reason: string;
}

/**
 * `browser:miniwob --dir DIR --flows DIR`: plays each flow (`<task>.yaml`) over several seeds on the pages of MiniWoB++.
 * A task is solved when every seed ends with reward 1.
 */
await runCommand(async (signal) => {
  const { values } = parseArgs({
    options: { dir: { type: 'string' }, flows: { type: 'string', default: join(import.meta.dirname, 'flows') }, seeds: { type: 'string', default: '5' }, task: { type: 'string', multiple: true }, json: { type: 'boolean', default: false }, show: { type: 'boolean', default: false } },
  });
  if (values.dir === undefined) throw new SetupError('it is not said where the pages are', 'give --dir DIR, the `html` folder of the package miniwob 1.1.0 (pip download --no-deps miniwob==1.1.0, then unzip the wheel)');
  const pages = await pageFolder(resolve(values.dir));
  const flows = await readFlows(resolve(values.flows), values.task);
  const server = await serve(pages.root);
  const browser = await launchChromium({ executablePath: process.env['HAL9_CHROMIUM'] });
  const failed: Failed[] = [];
  let solved = 0;
  try {
    for (const [task, flow] of flows) {
      let right = true;
      for (let number = 1; number <= Number(values.seeds); number += 1) {
        signal.throwIfAborted();
        const seed = `hal9-${String(number)}`;
        const outcome = await playEpisode(browser, `${server.url}/${pages.prefix}${task}.html`, flow, seed);
        if (outcome.reward === 1) continue;
        right = false;
        failed.push({ task, seed, ...outcome });
      }
      if (right) solved += 1;
      process.stderr.write(`${right ? 'solved' : 'FAILED'}  ${task}${right ? '' : `: ${failed.findLast((each) => each.task === task)?.reason ?? ''}`}\n`);
    }
  } finally {
    await browser.close();
    await server.close();
  }
  process.stdout.write(values.json ? `${JSON.stringify({ tasks: flows.length, solved, failed })}\n` : `${String(solved)} of ${String(flows.length)} tasks solved\n`);
  if (failed.length > 0) process.exitCode = 1;
});

/** The folder itself may hold the tasks, or `miniwob/` below it. */
async function pageFolder(dir: string): Promise<{ root: string; prefix: string }> {
  const entries = await readdir(dir).catch(() => {
    throw new SetupError(`there is no folder ${dir}`, 'give the `html` folder of the package miniwob');
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
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no address');
  return {
    url: `http://127.0.0.1:${String(address.port)}`,
    close: () =>
      new Promise((closed) => {
        server.close(() => closed());
        server.closeAllConnections();
      }),
  };
}
