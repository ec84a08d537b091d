import type { Database } from '../../database/database.ts';
import { DeadLetterStore } from '../../database/dead-letters.ts';
import { HealthStore } from '../../database/health.ts';
import { SignalReadStore } from '../../database/signal-reads.ts';
import { SignalStore } from '../../database/signals.ts';

/** The stores that routes are given: the API sees them as types and never the SQL behind. */
export function openStores(database: Database) {
  return {
    signals: new SignalStore(database),
    signalReads: new SignalReadStore(database),
    deadLetters: new DeadLetterStore(database),
    health: new HealthStore(database),
  };
}

export type Stores = ReturnType<typeof openStores>;
