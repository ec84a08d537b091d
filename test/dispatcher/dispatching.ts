import { randomBytes, randomUUID } from 'node:crypto';
import pino from 'pino';
import { sql } from 'kysely';
import { inject } from 'vitest';
import { z } from 'zod';
import { OpenBatchStore } from '../../database/batches-open.ts';
import { createDataConverter } from '../../platform/codec/data-converter.ts';
import { loadConfig } from '../../platform/config/config.ts';
import { KeyRing } from '../../platform/keys/key-ring.ts';
import type { Operations } from '../../platform/operations/contract.ts';
import { createOperations } from '../../platform/operations/operations.ts';
import { connectTemporalClient } from '../../platform/temporal/connect.ts';
import { defineOperation } from '../../schemas/operations/operation.ts';
import { BatchStarter } from '../../workers/dispatcher/batch-starter.ts';
import { createTestDatabase, type TestDatabase } from '../environment/database.ts';
import { createTestNamespace } from '../environment/temporal.ts';

/** The house around a dispatcher: a database and Temporal. No worker serves the queue, so a cascade stays as it was started. */
export interface Dispatching {
  readonly test: TestDatabase;
  readonly batches: OpenBatchStore;
  readonly starter: BatchStarter;
  readonly operations: Operations;
  readonly logger: pino.Logger;
  /** Puts a waiting chunk into a lane; answers its id. */
  chunk(orgId: string, lane: number, fields?: { signals?: number; depth?: number; mode?: 'batch' | 'interactive'; ageSeconds?: number }): Promise<number>;
  /** What a cascade's last commit does. */
  decide(orgId: string, batchId: string): Promise<void>;
  batchesOf(orgId: string): Promise<BatchRow[]>;
  /** Makes a batch look as if it had been opened and started so long ago. */
  age(orgId: string, batchId: string, seconds: number): Promise<void>;
  close(): Promise<void>;
}

export interface BatchRow {
  readonly id: string;
  readonly lane: number;
  readonly mode: string;
  readonly state: string;
  readonly signals: number;
  readonly depth: number;
  readonly attempts: number;
  readonly started: boolean;
}

export async function createDispatching(): Promise<Dispatching> {
  const [test, namespace] = await Promise.all([createTestDatabase(), createTestNamespace()]);
  const config = loadConfig({ TEMPORAL_ADDRESS: inject('temporalAddress'), TEMPORAL_NAMESPACE: namespace });
  const keys = new KeyRing([{ id: 'test', key: randomBytes(32) }]);
  const temporal = await connectTemporalClient(config, createDataConverter(keys));
  const logger = pino({ level: 'silent' });
  const cascade = defineOperation({
    name: 'cascade',
    summary: 'Stands for the cascade.',
    input: z.object({ batchId: z.uuid() }),
    result: z.object({}),
    taskQueue: `nobody-${randomUUID()}`,
    timeouts: { execution: '1 hour' },
    exposure: 'internal',
  });
  const operations = createOperations({ client: temporal.client, database: test.database, contracts: new Map([[cascade.name, cascade]]), keys, logger });
  const batches = new OpenBatchStore(test.database);
  const { system } = test.database;
  return {
    test,
    batches,
    starter: new BatchStarter({ operations, batches, logger }),
    operations,
    logger,
    async chunk(orgId, lane, { signals = 1, depth = 0, mode = 'batch', ageSeconds = 0 } = {}) {
      return test.database.withOrg(orgId, async (tx) => {
        const { id } = await tx
          .insertInto('chunks')
          .values({ org_id: orgId, lane, signals, depth, mode, received_on: '2026-01-01', received_at: new Date(Date.now() - ageSeconds * 1000), traceparent: null, batch_id: null })
          .returning('id')
          .executeTakeFirstOrThrow();
        await tx.insertInto('lanes').values({ org_id: orgId, lane, open_batch: null }).onConflict((conflict) => conflict.doNothing()).execute();
        return id;
      });
    },
    async decide(orgId, batchId) {
      await system.transaction().execute(async (tx) => {
        await tx.updateTable('batches').set({ state: 'decided', decided_at: new Date() }).where('org_id', '=', orgId).where('id', '=', batchId).execute();
        await tx.updateTable('lanes').set({ open_batch: null }).where('org_id', '=', orgId).where('open_batch', '=', batchId).execute();
      });
    },
    async batchesOf(orgId) {
      return system
        .selectFrom('batches')
        .select(['id', 'lane', 'mode', 'state', 'signals', 'depth', 'attempts'])
        .select(sql<boolean>`started_at is not null`.as('started'))
        .where('org_id', '=', orgId)
        .orderBy('opened_at')
        .orderBy('id')
        .execute();
    },
    async age(orgId, batchId, seconds) {
      await sql`update batches set opened_at = opened_at - make_interval(secs => ${seconds}), started_at = started_at - make_interval(secs => ${seconds}),
        checked_at = checked_at - make_interval(secs => ${seconds}) where org_id = ${orgId} and id = ${batchId}`.execute(system);
    },
    async close() {
      await operations.close();
      await temporal.close();
      await test.drop();
    },
  };
}
