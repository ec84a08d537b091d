import { createHash } from 'node:crypto';
import type { Logger } from 'pino';
import type { Cluster } from './cluster.ts';
import { KubernetesError, type Kubernetes } from './kubernetes.ts';
import { pathOf } from './objects.ts';

const EVENTS = { apiVersion: 'v1', plural: 'events' } as const;

export type EventReason = 'Created' | 'Changed' | 'DriftCorrected' | 'Removed' | 'Refused' | 'NotApplied' | 'Ready' | 'NotReady' | 'Deleting' | 'Deleted';

/** Writes what `kubectl describe` shows. Equal events of a cluster are counted up, and an event that cannot be written holds nothing up. */
export class EventRecorder {
  readonly #api: Kubernetes;
  readonly #logger: Logger;
  readonly #instance: string;

  constructor(api: Kubernetes, logger: Logger, instance: string) {
    this.#api = api;
    this.#logger = logger;
    this.#instance = instance;
  }

  async record(cluster: Cluster, type: 'Normal' | 'Warning', reason: EventReason, message: string): Promise<void> {
    this.#logger[type === 'Normal' ? 'info' : 'warn']({ cluster: `${cluster.metadata.namespace ?? ''}/${cluster.metadata.name}`, reason }, message);
    try {
      await this.#write(cluster, type, reason, message);
    } catch (error) {
      this.#logger.warn({ err: error }, 'an event was not written');
    }
  }

  async #write({ apiVersion, kind, metadata }: Cluster, type: string, reason: string, message: string): Promise<void> {
    const { name, namespace = '', uid } = metadata;
    const event = `${name}.${createHash('sha256').update(JSON.stringify([uid, type, reason, message])).digest('hex').slice(0, 16)}`;
    const now = new Date().toISOString();
    const body = {
      apiVersion: EVENTS.apiVersion,
      kind: 'Event',
      metadata: { name: event, namespace },
      involvedObject: { apiVersion, kind, name, namespace, uid },
      type,
      reason,
      message: message.slice(0, 1024),
      source: { component: 'hal9-operator' },
      reportingComponent: 'hal9.ai/operator',
      reportingInstance: this.#instance,
      firstTimestamp: now,
      lastTimestamp: now,
      count: 1,
    };
    try {
      await this.#api.create(pathOf(EVENTS, namespace), body);
    } catch (error) {
      if (!(error instanceof KubernetesError) || error.status !== 409) throw error;
      const path = pathOf(EVENTS, namespace, event);
      const before = await this.#api.find<{ count?: number }>(path);
      if (before !== undefined) await this.#api.merge(path, { count: (before.count ?? 1) + 1, lastTimestamp: now });
    }
  }
}
