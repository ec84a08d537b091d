#!/usr/bin/env node
// The way into every command. Plain JavaScript for any Node from 20, because it runs before anything is installed: it
// installs what package-lock.json says, then runs the command on the Node pinned there.
import { spawn, spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, readFileSync, readdirSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { compileCache } from './cache-folder.js';
import { installIfNeeded } from './install.js';

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '../..');

/** Where npm puts programs: beside the sources, or beside the installed package. The folder may not be there before the install. */
const BINARIES = [join(ROOT, 'node_modules/.bin'), join(ROOT, '../.bin')];

const COMMANDS = {
  start: { script: 'deploy/local/start.ts', usage: 'start [--operations DIR] [--data DIR] [--port N] [--verbose]' },
  demo: { script: 'deploy/local/demo/main.ts', usage: 'demo [--exit] [--json] [--data DIR --labels FILE]' },
  api: { script: 'api/main.ts', usage: 'api' },
  worker: { folder: 'workers', usage: 'worker <NAME>' },
  operator: { script: 'deploy/operator/main.ts', usage: 'operator' },
  bench: { script: 'test/bench/main.ts', usage: 'bench <NAME> [--json]' },
  load: { script: 'test/load/main.ts', usage: 'load [--users N] [--json]' },
  chaos: { script: 'test/chaos/main.ts', usage: 'chaos <NAME> [--json]' },
  test: { script: 'test/main.ts', usage: 'test' },
  check: { script: 'deploy/local/check.ts', usage: 'check [DIR]' },
  'audit verify': { script: 'cli/audit.ts', usage: 'audit verify EXPORT --key KEY [--witness FILE --witness-key KEY] [--json]' },
  judge: { script: 'test/judge/main.ts', usage: 'judge --cases FILE [--json]' },
  'anchor verify': { script: 'cli/anchor.ts', usage: 'anchor verify PROOF [--rpc URL] [--json]' },
  'privacy verify-receipt': { script: 'cli/privacy.ts', usage: 'privacy verify-receipt FILE --key KEY [--json]' },
  'privacy replay-erasures': { script: 'deploy/local/replay-erasures.ts', usage: 'privacy replay-erasures [--receipts DIR] [--json]' },
  privacy: { script: 'deploy/local/privacy-map.ts', usage: 'privacy map --sql FILE --dataset FILE [--json]' },
  'browser:miniwob': { script: 'test/browser/miniwob/main.ts', usage: 'browser:miniwob --dir DIR [--flows DIR] [--renamed] [--json]' },
  'verify:vectors': { script: 'test/vectors/main.ts', usage: 'verify:vectors --dir DIR [--json]' },
  contracts: { script: 'test/contracts/main.ts', usage: 'contracts [test|invariants|gas|artifacts]' },
  pack: { script: 'deploy/local/pack.ts', usage: 'pack [--out DIR]', development: true },
  clients: { script: 'deploy/local/generate-language-clients.ts', usage: 'clients [python] [go] [--out DIR] [--from ADDRESS]', development: true },
  generate: { script: 'deploy/local/generate-docs.ts', usage: 'generate', development: true },
};

/** @param {readonly string[]} args */
export async function launch(args) {
  // Everything that is not about this machine is the API's, in `cli/`; it knows the commands it has not.
  const name = (args[0] === 'audit' || args[0] === 'anchor') && args[1] === 'verify' ? `${args[0]} verify` : args[0] === 'privacy' && ['verify-receipt', 'replay-erasures'].includes(args[1] ?? '') ? `privacy ${args[1]}` : args[0];
  const local = Object.hasOwn(COMMANDS, name ?? '') && !(name === 'api' && args.length > 1) && !(name === 'privacy' && args.length > 1 && args[1] !== 'map');
  const command = local ? COMMANDS[name] : { script: 'cli/main.ts' };
  const rest = args.slice(local ? 1 : 0);
  let script = command.script;
  if (script === undefined) {
    const workers = readdirSync(join(ROOT, command.folder)).filter((entry) => scriptOf(`${command.folder}/${entry}/main.ts`) !== undefined);
    const worker = rest.shift();
    if (worker === undefined || !workers.includes(worker)) {
      process.stderr.write(`${worker === undefined ? 'Say which worker' : `There is no worker ${worker}`}; there are: ${workers.join(', ')}.\n`);
      return 2;
    }
    script = `${command.folder}/${worker}/main.ts`;
  }
  if (!installIfNeeded(ROOT, { development: command.script?.startsWith('test/') === true || command.development === true })) return 1;
  const node = pinnedNode();
  if (node === undefined) return 1;
  const file = scriptOf(script);
  if (file === undefined) {
    process.stderr.write(`${name} is for the repository of HAL9, not for an installed package.\n`);
    return 2;
  }
  return run(node, [file, ...rest]);
}

/** The repository holds TypeScript, a package what was made of it. */
function scriptOf(path) {
  return [path, path.replace(/\.ts$/, '.js')].map((candidate) => join(ROOT, candidate)).find((candidate) => existsSync(candidate));
}

/** The Node that package-lock.json pins, or this one when it is as new. */
function pinnedNode() {
  for (const pinned of BINARIES.map((folder) => join(folder, 'node'))) {
    try {
      accessSync(pinned, constants.X_OK);
      return pinned;
    } catch {
      // not installed there; see below
    }
  }
  const wanted = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')).dependencies.node;
  if (Number(process.versions.node.split('.')[0]) >= Number(wanted.split('.')[0])) return process.execPath;
  process.stderr.write(`HAL9 runs on Node ${wanted}, which npm was not allowed to install: run \`npm rebuild node --ignore-scripts=false --foreground-scripts\`, or start HAL9 with a Node ${wanted.split('.')[0]} of your own.\n`);
  return undefined;
}

/** Runs the command with this terminal; passes signals on, and ends it when npm, or whoever started this, is gone. */
async function run(node, args) {
  const owned = process.platform === 'linux' && spawnSync('setpriv', ['--pdeathsig', 'TERM', '--', 'true'], { stdio: 'ignore' }).status === 0;
  const [command, prefix] = owned ? ['setpriv', ['--pdeathsig', 'TERM', '--', node]] : [node, []];
  const child = spawn(command, [...prefix, ...args], {
    stdio: 'inherit',
    env: { ...compileCache(process.env), ...process.env, PATH: [...BINARIES, process.env.PATH ?? ''].join(':') },
  });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    process.on(signal, () => {
      // Ctrl-C in a terminal reaches the whole process group: the child has it already.
      if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal);
    });
  }
  const elders = process.env.npm_lifecycle_event === undefined ? [] : ancestorsUpToNpm();
  const watch = setInterval(() => {
    if (elders.some(({ pid, start }) => startOf(pid) !== start)) {
      clearInterval(watch);
      child.kill('SIGTERM');
    }
  }, 500);
  const code = await new Promise((settle) => {
    child.once('error', (error) => {
      process.stderr.write(`${node} cannot be run: ${error.message}\n`);
      settle(1);
    });
    child.once('exit', (status, signal) => settle(signal === null ? (status ?? 1) : 128 + (signal === 'SIGINT' ? 2 : signal === 'SIGKILL' ? 9 : 15)));
  });
  clearInterval(watch);
  return code;
}

/** npm and the shell between it and this process: when one is killed nobody would pass Ctrl-C on any more. Linux only. */
function ancestorsUpToNpm() {
  const found = [];
  let pid = process.ppid;
  for (let depth = 0; depth < 4 && pid > 1; depth += 1) {
    const stat = statOf(pid);
    if (stat === undefined) break;
    found.push({ pid, start: stat.start });
    if (/node|npm/.test(stat.command)) return found;
    pid = stat.parent;
  }
  return found.slice(0, 1);
}

function startOf(pid) {
  return statOf(pid)?.start;
}

function statOf(pid) {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    return { command: text.slice(text.indexOf('(') + 1, text.lastIndexOf(')')), parent: Number(fields[1]), start: fields[19] };
  } catch {
    return undefined;
  }
}

if (process.argv[1] !== undefined && resolve(process.argv[1]) === fileURLToPath(import.meta.url)) process.exit(await launch(process.argv.slice(2)));
