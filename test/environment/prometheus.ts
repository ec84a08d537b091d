import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { endProcess, spawnOwned } from '../../deploy/local/child-process.ts';
import { debianPackage } from './debian-package.ts';
import { freePort } from '../../platform/telemetry/free-port.ts';

/** Prometheus and its tool, executables of one version. */
export interface PrometheusTools {
  readonly prometheus: string;
  readonly promtool: string;
}

export const PROMETHEUS_MISSING = 'NOT RUN: alerts and dashboards against Prometheus; get it with `apt-get install prometheus`, or set HAL9_PROMETHEUS to the folder of its executables';

/**
 * Prometheus in this order: the folder HAL9_PROMETHEUS, PATH, the cache, Debian's package unpacked into the cache. It is never installed.
 * @returns undefined when there is no way to get it; the caller says {@link PROMETHEUS_MISSING} and, under CI, fails.
 */
export async function findPrometheus(): Promise<PrometheusTools | undefined> {
  const set = process.env['HAL9_PROMETHEUS'];
  const folders = set === undefined ? (process.env['PATH'] ?? '').split(':') : [resolve(set)];
  const found = folders.find((folder) => ['prometheus', 'promtool'].every((name) => existsSync(join(folder, name))));
  if (set !== undefined && found === undefined) throw new Error(`HAL9_PROMETHEUS names ${set}, which has no prometheus and promtool`);
  const root = found === undefined ? await debianPackage('prometheus') : undefined;
  const folder = found ?? (root === undefined ? undefined : join(root, 'usr/bin'));
  return folder === undefined ? undefined : { prometheus: join(folder, 'prometheus'), promtool: join(folder, 'promtool') };
}

export interface Prometheus {
  /** Where its HTTP API is. */
  readonly url: string;
  /** An instant query (HTTP API v1); answers its samples. */
  query(expression: string): Promise<{ metric: Record<string, string>; value: number }[]>;
  /** A path of the HTTP API v1, its `data`. */
  api(path: string): Promise<unknown>;
  stop(): Promise<void>;
}

/** A real Prometheus on loopback. @param folder empty, for its data. */
export async function startPrometheus(tools: PrometheusTools, folder: string, config: string): Promise<Prometheus> {
  const port = await freePort();
  const file = join(folder, 'prometheus.yaml');
  await writeFile(file, config);
  const child = spawnOwned(tools.prometheus, [`--config.file=${file}`, `--storage.tsdb.path=${join(folder, 'data')}`, `--web.listen-address=127.0.0.1:${port}`, '--log.level=warn'], { deathSignal: 'KILL' });
  let log = '';
  child.stderr?.on('data', (chunk: Buffer) => {
    log += chunk.toString();
  });
  const api = async (path: string): Promise<unknown> => {
    const response = await fetch(`http://127.0.0.1:${port}/api/v1/${path}`);
    const body = (await response.json()) as { status: string; data: unknown; error?: string };
    if (body.status !== 'success') throw new Error(`${path}: ${body.error ?? response.status}`);
    return body.data;
  };
  for (let attempt = 1; ; attempt += 1) {
    if (child.exitCode !== null) throw new Error(`prometheus ended:\n${log}`);
    const ready = await fetch(`http://127.0.0.1:${port}/-/ready`).then((response) => response.ok, () => false);
    if (ready) break;
    if (attempt === 400) throw new Error(`prometheus does not get ready:\n${log}`);
    await sleep(50);
  }
  return {
    url: `http://127.0.0.1:${port}`,
    api,
    async query(expression) {
      const { result } = (await api(`query?query=${encodeURIComponent(expression)}`)) as { result: { metric: Record<string, string>; value: [number, string] }[] };
      return result.map(({ metric, value }) => ({ metric, value: Number(value[1]) }));
    },
    stop: () => endProcess(child, 'SIGTERM', 5000),
  };
}
