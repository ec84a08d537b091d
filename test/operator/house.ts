import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { z } from 'zod';
import { endProcess, spawnOwned } from '../../deploy/local/child-process.ts';
import type { ControlPlane } from '../cluster/control-plane.ts';

const ROOT = join(import.meta.dirname, '../..');
const lineSchema = z.looseObject({ event: z.string().optional(), metricsPort: z.number().optional(), webhookPort: z.number().optional() });

export interface RunningOperator {
  readonly metricsPort: number;
  readonly webhookPort: number | undefined;
  /** Value of a metric without labels. */
  metric(name: string): Promise<number>;
  /** SIGTERM, and waits. */
  stop(): Promise<void>;
  /** SIGKILL: the lease stays as it is. */
  kill(): Promise<void>;
  readonly log: readonly string[];
}

/** The shipped process of the operator against a control plane. */
export async function startOperator(cluster: ControlPlane, id: string, settings: Readonly<Record<string, string>> = {}): Promise<RunningOperator> {
  const child = spawnOwned(process.execPath, [join(ROOT, 'deploy/operator/main.ts')], {
    deathSignal: 'KILL',
    env: { ...process.env, KUBECONFIG: cluster.kubeconfig, HAL9_OPERATOR_ID: id, HAL9_OPERATOR_LEASE_SECONDS: '3', HAL9_LOG_LEVEL: 'debug', ...settings },
  });
  const log: string[] = [];
  const ready = Promise.withResolvers<z.output<typeof lineSchema>>();
  createInterface({ input: child.stdout! }).on('line', (line) => {
    log.push(line);
    if (line.includes('"event":"ready"')) ready.resolve(lineSchema.parse(JSON.parse(line)));
  });
  createInterface({ input: child.stderr! }).on('line', (line) => void log.push(line));
  void once(child, 'exit').then(() => ready.reject(new Error(`the operator ended: ${log.join('\n')}`)));
  const { metricsPort = 0, webhookPort } = await ready.promise;
  return {
    metricsPort,
    webhookPort,
    log,
    async metric(name) {
      const text = await (await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).text();
      return Number(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, 'm').exec(text)?.[1] ?? 0);
    },
    stop: () => endProcess(child, 'SIGTERM', 20_000),
    kill: () => endProcess(child, 'SIGKILL', 5000),
  };
}
