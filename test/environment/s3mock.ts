import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { endProcess, hasEnded, spawnOwned, tail } from '../../deploy/local/child-process.ts';
import { cacheFolder } from '../../deploy/local/cache-folder.js';
import { freePort } from '../../platform/telemetry/free-port.ts';

const run = promisify(execFile);

const VERSION = '4.7.0';
const PLUGIN = 'org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy';
const START_MS = 120_000;

export const S3MOCK_MISSING = `NOT RUN: a bucket as a source; install Java 17 or newer and Maven (\`apt-get install openjdk-17-jre-headless maven\`), or set HAL9_S3MOCK to an s3mock-${VERSION}-exec.jar`;

/**
 * Adobe's S3Mock, a server of the S3 protocol, in this order: HAL9_S3MOCK, the cache, Maven Central (60 MB). It is never installed.
 * @returns its archive; undefined when there is no way to get it: the caller says {@link S3MOCK_MISSING} and, under CI, fails.
 */
export async function findS3Mock(): Promise<string | undefined> {
  const set = process.env['HAL9_S3MOCK'];
  if (set !== undefined) return existsSync(set) ? set : undefined;
  const folder = join(cacheFolder(process.env), 'tools', `s3mock-${VERSION}`);
  const archive = join(folder, `s3mock-${VERSION}-exec.jar`);
  return existsSync(archive) || (await obtain(folder)) ? archive : undefined;
}

async function obtain(folder: string): Promise<boolean> {
  await mkdir(dirname(folder), { recursive: true });
  const staging = await mkdtemp(`${folder}-new-`);
  try {
    const wanted = join(staging, 'archive');
    await run('mvn', ['-B', '-q', `-Dmaven.repo.local=${join(staging, 'repository')}`, PLUGIN, `-Dartifact=com.adobe.testing:s3mock:${VERSION}:jar:exec`, `-DoutputDirectory=${wanted}`], { cwd: staging });
    await rename(wanted, folder);
    return true;
  } catch (error) {
    // Another test process may have put it there meanwhile.
    if (existsSync(folder)) return true;
    console.log(`S3Mock cannot be had: ${error instanceof Error ? error.message.split('\n')[0] : String(error)}`);
    return false;
  } finally {
    await rm(staging, { recursive: true, force: true });
  }
}

export interface S3Mock {
  /** `http://127.0.0.1:<port>`. */
  readonly url: string;
  readonly port: number;
  stop(): Promise<void>;
}

/** A server of one's own on loopback, its objects in the folder. */
export async function startS3Mock(archive: string, folder: string): Promise<S3Mock> {
  const [port, tlsPort] = [await freePort(), await freePort()];
  const child = spawnOwned('java', ['-Xmx256m', '-XX:TieredStopAtLevel=1', '-jar', archive, `--server.port=${String(tlsPort)}`, `--com.adobe.testing.s3mock.httpPort=${String(port)}`, '--server.address=127.0.0.1'], {
    cwd: folder,
    env: { ...process.env, COM_ADOBE_TESTING_S3MOCK_STORE_ROOT: join(folder, 's3') },
    deathSignal: 'KILL',
  });
  const lastLine = tail(child);
  const url = `http://127.0.0.1:${port}`;
  for (const until = Date.now() + START_MS; ; ) {
    try {
      await fetch(url, { signal: AbortSignal.timeout(2_000) });
      return { url, port, stop: () => endProcess(child, 'SIGTERM', 5_000) };
    } catch (error) {
      if (hasEnded(child) || Date.now() > until) {
        await endProcess(child, 'SIGKILL', 1_000);
        throw new Error(`S3Mock does not answer: ${lastLine()}`, { cause: error });
      }
      await sleep(100);
    }
  }
}
