import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { Counter, Gauge, type Registry } from 'prom-client';
import { parse } from 'yaml';
import { z } from 'zod';
import { LABELS, MANAGER } from './desired.ts';
import { EventRecorder } from './event-recorder.ts';
import type { Kubernetes } from './kubernetes.ts';
import { CLUSTERS, keyOf, MADE_KINDS, pathOf, type KubernetesObject, type MadeKind } from './objects.ts';
import { Reconciler } from './reconciler.ts';
import { Watched } from './watched.ts';
import { WorkQueue } from './work-queue.ts';

const DEFINITIONS = { apiVersion: 'apiextensions.k8s.io/v1', plural: 'customresourcedefinitions' } as const;
const definitionSchema = z.looseObject({ metadata: z.looseObject({ name: z.string() }) });

export interface OperatorOptions {
  readonly api: Kubernetes;
  /** Empty: all. */
  readonly namespace: string;
  readonly identity: string;
  readonly relistMs: number;
  readonly logger: Logger;
  readonly metrics: OperatorMetrics;
}

export interface OperatorMetrics {
  readonly leading: Gauge;
  readonly reconciles: Counter<'result'>;
  readonly drift: Counter<'kind'>;
}

export function operatorMetrics(registry: Registry): OperatorMetrics {
  const registers = [registry];
  return {
    leading: new Gauge({ name: 'hal9_operator_leading', help: '1 in the operator that leads.', registers }),
    reconciles: new Counter({ name: 'hal9_operator_reconciles_total', help: 'Clusters looked at, by how it ended.', labelNames: ['result'], registers }),
    drift: new Counter({ name: 'hal9_operator_drift_total', help: 'Objects that somebody else had changed and that were put right.', labelNames: ['kind'], registers }),
  };
}

/** Serves the schema this operator was built with. What is stored stays as it is: fields are only ever added. */
export async function applyDefinition(api: Kubernetes): Promise<void> {
  const definition: unknown = parse(await readFile(join(import.meta.dirname, 'hal9clusters.yaml'), 'utf8'));
  const { metadata } = definitionSchema.parse(definition);
  await api.apply(pathOf(DEFINITIONS, '', metadata.name), definition as object);
}

/** Looks after all clusters while `signal` lasts. One operator of an installation at a time. */
export async function operate({ api, namespace, identity, relistMs, logger, metrics }: OperatorOptions, signal: AbortSignal): Promise<void> {
  const queue = new WorkQueue(
    async (key) => {
      // Reading what is there comes first: without it everything would look missing.
      await Promise.all([clusters, ...Object.values(made)].map(({ synced }) => synced));
      if (signal.aborted) return;
      const again = await reconciler.reconcile(key);
      metrics.reconciles.inc({ result: 'ok' });
      if (again !== undefined) queue.later(key, again);
    },
    (key, error, retryMs) => {
      metrics.reconciles.inc({ result: 'failed' });
      logger.warn({ cluster: key, retryMs, reason: error instanceof Error ? error.message : String(error) }, 'not brought about, trying again');
    },
  );
  const ofCluster = ({ metadata }: KubernetesObject): void => {
    const name = metadata.labels?.[LABELS.cluster];
    if (name !== undefined) queue.add(`${metadata.namespace ?? ''}/${name}`);
  };
  const clusters = new Watched(api, { kind: CLUSTERS, namespace, relistMs, logger, onChange: (object) => queue.add(keyOf(object)) });
  const watch = (kind: MadeKind): Watched => new Watched(api, { kind: MADE_KINDS[kind], namespace, labelSelector: `${LABELS.manager}=${MANAGER}`, relistMs, optional: kind === 'ServiceMonitor', logger, onChange: ofCluster });
  const made = {
    ConfigMap: watch('ConfigMap'),
    Service: watch('Service'),
    NetworkPolicy: watch('NetworkPolicy'),
    Deployment: watch('Deployment'),
    StatefulSet: watch('StatefulSet'),
    HorizontalPodAutoscaler: watch('HorizontalPodAutoscaler'),
    PodDisruptionBudget: watch('PodDisruptionBudget'),
    ServiceMonitor: watch('ServiceMonitor'),
  };
  const reconciler = new Reconciler({ api, clusters, made, events: new EventRecorder(api, logger, identity), onDrift: ({ kind }) => metrics.drift.inc({ kind }) });
  metrics.leading.set(1);
  try {
    await Promise.all([clusters, ...Object.values(made)].map((watched) => watched.run(signal)));
  } finally {
    metrics.leading.set(0);
    await queue.close();
  }
}
