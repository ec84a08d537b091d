import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { endProcess, spawnOwned, tail } from '../../deploy/local/child-process.ts';
import { debianPackage } from './debian-package.ts';
import { freePort } from '../../platform/telemetry/free-port.ts';

export const ALERTMANAGER_MISSING = 'NOT RUN: the real Alertmanager; get it with `apt-get install prometheus-alertmanager`, or set HAL9_ALERTMANAGER to its executable';

export interface AlertmanagerTool {
  readonly executable: string;
  /** What has to stand at /usr/share for it; undefined when that is so already. */
  readonly share: string | undefined;
}

/** Prometheus Alertmanager: HAL9_ALERTMANAGER, PATH, Debian's package unpacked into the cache. */
export async function findAlertmanager(): Promise<AlertmanagerTool | undefined> {
  const set = process.env['HAL9_ALERTMANAGER'];
  if (set !== undefined) return { executable: set, share: undefined };
  for (const folder of (process.env['PATH'] ?? '').split(':')) {
    for (const name of ['prometheus-alertmanager', 'alertmanager']) if (existsSync(join(folder, name))) return { executable: join(folder, name), share: undefined };
  }
  const root = await debianPackage('prometheus-alertmanager');
  return root === undefined ? undefined : { executable: join(root, 'usr/bin/prometheus-alertmanager'), share: join(root, 'usr/share') };
}

export interface Alertmanager {
  readonly url: string;
  /** Posts alerts as Prometheus does. */
  alert(alerts: readonly { labels: Record<string, string>; startsAt: string; endsAt?: string }[]): Promise<void>;
  stop(): Promise<void>;
}

/** Starts it with one receiver, a webhook with a bearer token; groups go out at once and are repeated every second. */
export async function startAlertmanager(tool: AlertmanagerTool, folder: string, receiver: { url: string; token: string }): Promise<Alertmanager> {
  const port = await freePort();
  const config = join(folder, 'alertmanager.yml');
  const file = {
    route: { receiver: 'hal9', group_by: ['alertname'], group_wait: '100ms', group_interval: '1s', repeat_interval: '1s' },
    receivers: [{ name: 'hal9', webhook_configs: [{ url: receiver.url, send_resolved: true, http_config: { authorization: { type: 'Bearer', credentials: receiver.token } } }] }],
  };
  // JSON is YAML.
  await writeFile(config, JSON.stringify(file));
  const options = [`--config.file=${config}`, `--storage.path=${join(folder, 'data')}`, `--web.listen-address=127.0.0.1:${port}`, '--cluster.listen-address='];
  // Debian's build looks for its templates in /usr/share: it gets a view of the file system in which they are there.
  const [command, before] = tool.share === undefined ? [tool.executable, []] : ['unshare', ['--map-root-user', '--mount', 'sh', '-c', 'mount --bind "$1" /usr/share && shift && exec "$@"', 'sh', tool.share, tool.executable]];
  const child = spawnOwned(command, [...before, ...options], { deathSignal: 'KILL' });
  const lastLine = tail(child);
  const url = `http://127.0.0.1:${port}`;
  for (let attempt = 1; ; attempt += 1) {
    const ready = await fetch(`${url}/-/ready`).then((answer) => answer.ok, () => false);
    if (ready) break;
    if (attempt === 400) throw new Error(`Alertmanager does not get ready: ${lastLine()}`);
    await sleep(50);
  }
  return {
    url,
    async alert(alerts) {
      const answer = await fetch(`${url}/api/v2/alerts`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(alerts) });
      if (!answer.ok) throw new Error(`Alertmanager took no alerts: ${String(answer.status)} ${await answer.text()}`);
    },
    stop: () => endProcess(child, 'SIGTERM', 5_000),
  };
}
