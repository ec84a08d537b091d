// Plain JavaScript for any Node from 20: runs before anything is installed.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/**
 * Runs `npm ci` when node_modules is missing, half-made or not what package-lock.json says. Output goes to stderr.
 * @param {string} root folder of package-lock.json.
 * @param {{development: boolean}} options whether packages needed for tests only must be there.
 * @returns {boolean} false after a message when it cannot be installed.
 */
export function installIfNeeded(root, options) {
  const reason = whyStale(root, options);
  if (reason === undefined) return true;
  const release = lock(root);
  try {
    // Another command may have installed it meanwhile.
    if (whyStale(root, options) === undefined) return true;
    process.stderr.write(`Installing the locked dependencies (${reason}) ...\n`);
    const npm = process.env.npm_execpath !== undefined && process.env.npm_execpath.endsWith('.js') ? [process.execPath, process.env.npm_execpath] : ['npm'];
    const result = spawnSync(npm[0], [...npm.slice(1), 'ci', '--include=dev', '--no-audit', '--no-fund', '--loglevel=error'], { cwd: root, stdio: ['ignore', 2, 2], env: { ...process.env, SCARF_ANALYTICS: 'false' } });
    if (result.status === 0) return true;
    const cause = result.error === undefined ? `npm ended with ${result.signal ?? `code ${result.status}`}` : `npm cannot be run: ${result.error.message}`;
    process.stderr.write(`The dependencies could not be installed (${cause}): check that ${root} is yours to write and the npm registry can be reached, then run \`npm ci\`.\n`);
    return false;
  } finally {
    release();
  }
}

/** Why node_modules must be installed again, or undefined when it is what package-lock.json says. */
export function whyStale(root, { development }) {
  const wanted = readLock(join(root, 'package-lock.json'));
  // An installed package has none: npm has installed what it needs beside it.
  if (wanted === undefined) return undefined;
  // npm writes this file last: without it an install was never finished.
  const installed = readLock(join(root, 'node_modules/.package-lock.json'));
  if (installed === undefined) return 'there are none yet';
  for (const [path, entry] of Object.entries(wanted)) {
    if (path === '' || entry.link === true) continue;
    const present = installed[path];
    if (present === undefined) {
      const spare = entry.optional === true || entry.devOptional === true || entry.peer === true || (entry.dev === true && !development);
      if (!spare) return `${path.slice(path.lastIndexOf('node_modules/') + 13)} is missing`;
    } else if (present.version !== entry.version) {
      return `${path.slice(path.lastIndexOf('node_modules/') + 13)} is ${present.version} instead of ${entry.version}`;
    }
  }
  return undefined;
}

function readLock(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8')).packages;
  } catch {
    return undefined;
  }
}

/** One install at a time per checkout; the lock of a process that is gone is taken over. */
function lock(root) {
  const folder = join(tmpdir(), `hal9-install-${createHash('sha256').update(root).digest('hex').slice(0, 16)}`);
  for (let told = false; ; ) {
    try {
      mkdirSync(folder);
      writeFileSync(join(folder, 'pid'), String(process.pid));
      return () => rmSync(folder, { recursive: true, force: true });
    } catch (error) {
      if (error.code !== 'EEXIST') return () => {};
    }
    if (isStale(folder)) {
      rmSync(folder, { recursive: true, force: true });
      continue;
    }
    if (!told) process.stderr.write('Waiting for another install of the same folder ...\n');
    told = true;
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 500);
  }
}

function isStale(folder) {
  try {
    const file = join(folder, 'pid');
    if (!existsSync(file)) return Date.now() - statSync(folder).mtimeMs > 5000;
    process.kill(Number(readFileSync(file, 'utf8')), 0);
    return false;
  } catch (error) {
    return error.code === 'ESRCH' || error.code === 'ENOENT';
  }
}
