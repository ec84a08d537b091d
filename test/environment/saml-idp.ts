import { execFile, type ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { endProcess, hasEnded, spawnOwned, tail } from '../../deploy/local/child-process.ts';
import { cacheFolder } from '../../deploy/local/cache-folder.js';
import { freePort } from '../../platform/telemetry/free-port.ts';

const run = promisify(execFile);

const VERSION = '26.7.3';
const PLUGIN = 'org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy';
const ADMIN = 'admin';
const START_MS = 120_000;

export const KEYCLOAK_MISSING = `NOT RUN: SAML with Keycloak; install Java 17 or newer, Maven and unzip (\`apt-get install openjdk-17-jre-headless maven unzip\`), or set HAL9_KEYCLOAK to the folder of a Keycloak ${VERSION}`;

/**
 * Keycloak, in this order: HAL9_KEYCLOAK, the cache, the distribution on Maven Central unpacked into the cache (180 MB, and half a minute
 * to prepare it once). It is never installed.
 * @returns its folder; undefined when there is no way to get it: the caller says {@link KEYCLOAK_MISSING} and, under CI, fails.
 */
export async function findKeycloak(): Promise<string | undefined> {
  const set = process.env['HAL9_KEYCLOAK'];
  if (set !== undefined) return existsSync(join(set, 'bin/kc.sh')) ? set : undefined;
  const folder = join(cacheFolder(process.env), 'tools', `keycloak-${VERSION}`);
  return existsSync(folder) || (await obtain(folder)) ? folder : undefined;
}

async function obtain(folder: string): Promise<boolean> {
  await mkdir(dirname(folder), { recursive: true });
  const staging = await mkdtemp(`${folder}-new-`);
  try {
    await run('mvn', ['-B', '-q', `-Dmaven.repo.local=${join(staging, 'repository')}`, PLUGIN, `-Dartifact=org.keycloak:keycloak-quarkus-dist:${VERSION}:zip`, `-DoutputDirectory=${staging}`], { cwd: staging });
    await run('unzip', ['-q', `keycloak-quarkus-dist-${VERSION}.zip`], { cwd: staging });
    await run('sh', ['bin/kc.sh', 'build', '--db=dev-mem'], { cwd: join(staging, `keycloak-${VERSION}`) });
    await rename(join(staging, `keycloak-${VERSION}`), folder);
    return true;
  } catch (error) {
    // Another test process may have put it there meanwhile.
    if (existsSync(folder)) return true;
    console.log(`Keycloak cannot be had: ${error instanceof Error ? error.message.split('\n')[0] : String(error)}`);
    return false;
  } finally {
    await rm(staging, { recursive: true, force: true });
  }
}

export interface Keycloak {
  readonly url: string;
  /** Calls the administration API. @throws {Error} with the answer when it is no success. */
  admin(method: string, path: string, body?: unknown, contentType?: string): Promise<unknown>;
  stop(): Promise<void>;
}

/** A Keycloak of one's own on loopback, its data in memory. About 7 s and 350 MB. */
export async function startKeycloak(folder: string): Promise<Keycloak> {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const child = spawnOwned('sh', ['bin/kc.sh', 'start', '--optimized', '--http-enabled=true', '--http-host=127.0.0.1', `--http-port=${port}`, '--hostname-strict=false', '--cache=local'], {
    cwd: folder,
    env: { ...process.env, KC_BOOTSTRAP_ADMIN_USERNAME: ADMIN, KC_BOOTSTRAP_ADMIN_PASSWORD: ADMIN, JAVA_OPTS_KC_HEAP: '-Xms64m -Xmx512m', KC_RUN_IN_CONTAINER: 'true' },
    deathSignal: 'KILL',
  });
  const lastLine = tail(child);
  const stop = async (): Promise<void> => {
    await endProcess(child, 'SIGTERM', 10_000);
    // The script leads a session of its own, in which Java is a child of it.
    try {
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
    }
  };
  try {
    await ready(`${url}/realms/master`, child, lastLine);
  } catch (error) {
    await stop();
    throw error;
  }
  const token = async (): Promise<string> => {
    const response = await fetch(`${url}/realms/master/protocol/openid-connect/token`, { method: 'POST', body: new URLSearchParams({ grant_type: 'password', client_id: 'admin-cli', username: ADMIN, password: ADMIN }) });
    const { access_token: text } = (await response.json()) as { access_token: string };
    return text;
  };
  return {
    url,
    async admin(method, path, body, contentType = 'application/json') {
      const response = await fetch(`${url}/admin/realms${path}`, {
        method,
        headers: { authorization: `Bearer ${await token()}`, ...(body === undefined ? {} : { 'content-type': contentType }) },
        ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
      });
      const text = await response.text();
      if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
      return text === '' ? undefined : JSON.parse(text);
    },
    stop,
  };
}

async function ready(address: string, child: ChildProcess, lastLine: () => string): Promise<void> {
  const end = Date.now() + START_MS;
  while (Date.now() < end) {
    if (hasEnded(child)) break;
    const answered = await fetch(address).then((response) => response.ok, () => false);
    if (answered) return;
    await sleep(200);
  }
  throw new Error(`Keycloak does not start: ${lastLine()}`);
}
