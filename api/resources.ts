import type { Registry } from 'prom-client';
import type { Config } from '../platform/config/config.ts';
import type { Stores } from '../platform/database/stores.ts';
import { HealthReader } from '../platform/health/reader.ts';
import { SignalIngest } from '../platform/signals/ingest.ts';
import { IngestMetrics } from '../platform/signals/metrics.ts';
import { SignalReceiver } from '../platform/signals/receive.ts';
import type { AnyRoute } from './route.ts';
import { createDeadLetterRoutes } from './routes/dead-letters.ts';
import { createHealthComponentRoutes } from './routes/health-components.ts';
import type { Dependency } from './routes/health.ts';
import { createSignalRoutes } from './routes/signals.ts';

export interface ResourceParts {
  readonly config: Config;
  readonly stores: Stores;
  readonly registry: Registry;
  readonly dependencies: readonly Dependency[];
}

export interface Resources {
  readonly routes: readonly AnyRoute[];
  /** Commits what is still waiting to be committed. */
  close(): Promise<void>;
}

/** Everything above the ground floor: signals, what became of them, health. */
export function openResources({ config, stores, registry, dependencies }: ResourceParts): Resources {
  const metrics = new IngestMetrics(registry);
  const ingest = new SignalIngest(stores.signals, metrics);
  const receiver = new SignalReceiver({ ingest, metrics, lanes: config.HAL9_LANES });
  return {
    routes: [
      ...createSignalRoutes({ receiver, store: stores.signals, reads: stores.signalReads, bodyLimitBytes: config.HAL9_BODY_LIMIT_BYTES }),
      ...createDeadLetterRoutes({ letters: stores.deadLetters, signals: stores.signals }),
      ...createHealthComponentRoutes(new HealthReader(stores.health, dependencies)),
    ],
    close: () => ingest.close(),
  };
}
