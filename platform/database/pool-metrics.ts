import { Gauge, type Registry } from 'prom-client';
import type { Database } from '../../database/database.ts';

/** How the process's pools to PostgreSQL stand, read when they are asked for. Who waits here for long is answered 503 after ten seconds; see DATABASE_POOL. */
export function observePools(database: Database, registry: Registry): void {
  const pools = { app: database.appPool, 'app-flights': database.flightPool, system: database.systemPool };
  const waiting = new Gauge({
    name: 'hal9_database_pool_waiting',
    help: 'Work that waits for a connection to PostgreSQL.',
    labelNames: ['role'] as const,
    registers: [registry],
    collect() {
      for (const [role, pool] of Object.entries(pools)) waiting.set({ role }, pool.waitingCount);
    },
  });
  const connections = new Gauge({
    name: 'hal9_database_pool_connections',
    help: 'Connections to PostgreSQL, by whether they are in use.',
    labelNames: ['role', 'state'] as const,
    registers: [registry],
    collect() {
      for (const [role, pool] of Object.entries(pools)) {
        connections.set({ role, state: 'idle' }, pool.idleCount);
        connections.set({ role, state: 'busy' }, pool.totalCount - pool.idleCount);
      }
    },
  });
}
