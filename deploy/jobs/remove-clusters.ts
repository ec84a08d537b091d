import { setTimeout as delay } from 'node:timers/promises';
import { loadConfig } from '../../platform/config/config.ts';
import { createLogger } from '../../platform/telemetry/logger.ts';
import { Kubernetes } from '../operator/kubernetes.ts';
import { CLUSTERS, pathOf, type KubernetesObject } from '../operator/objects.ts';

const LOOK_MS = 500;

/**
 * Deletes the HAL9Clusters of HAL9_OPERATOR_WATCH and waits until they are gone: the operator drains them, so it must go after them. Whoever
 * started this bounds the time.
 */
const config = loadConfig(process.env);
const logger = createLogger(config, 'remove-clusters');
const api = Kubernetes.fromEnvironment();
const path = pathOf(CLUSTERS, config.HAL9_OPERATOR_WATCH);
for (;;) {
  const { items } = await api.get<{ items: readonly KubernetesObject[] }>(path);
  if (items.length === 0) break;
  for (const { metadata } of items) {
    if (metadata.deletionTimestamp !== undefined) continue;
    logger.info({ cluster: metadata.name }, 'deleting');
    await api.remove(pathOf(CLUSTERS, metadata.namespace ?? '', metadata.name));
  }
  await delay(LOOK_MS);
}
