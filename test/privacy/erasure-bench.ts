import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Client, Connection } from '@temporalio/client';
import { DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker';
import { pino } from 'pino';
import { expect, inject } from 'vitest';
import accessExportActivities from '../../activities/access-export/index.ts';
import approvalActivities from '../../activities/approvals/index.ts';
import privacyChangeActivities from '../../activities/privacy-change/index.ts';
import privacyActivities from '../../activities/privacy/index.ts';
import { AuditCheckpointStore } from '../../database/audit-checkpoints.ts';
import { AuditSequencerStore } from '../../database/audit-sequencer.ts';
import { Approvals } from '../../platform/approvals/approvals.ts';
import { Checkpoints } from '../../platform/audit/checkpoints.ts';
import { FileWitness } from '../../platform/audit/file-witness.ts';
import { loadAuditSigner } from '../../platform/audit/signer.ts';
import { createBlobStore } from '../../platform/blobs/create.ts';
import type { ErasureRecord } from '../../database/erasures.ts';
import { createDataConverter } from '../../platform/codec/data-converter.ts';
import { loadConfig } from '../../platform/config/config.ts';
import { systemCaller, type Caller } from '../../platform/identity/caller.ts';
import { loadKeyRing } from '../../platform/keys/load.ts';
import { SubjectKeys } from '../../platform/keys/subject-keys.ts';
import { createOperations } from '../../platform/operations/operations.ts';
import { AccessExports } from '../../platform/privacy/access-exports.ts';
import { PrivacyChanges } from '../../platform/privacy/changes.ts';
import { Erasures } from '../../platform/privacy/erasures.ts';
import { LegalHolds } from '../../platform/privacy/legal-holds.ts';
import { PrivacySources } from '../../platform/privacy/sources.ts';
import { auditOrigin } from '../../schemas/audit/note.ts';
import { TASK_QUEUES } from '../../schemas/names/task-queues.ts';
import accessExportContract from '../../schemas/operations/access-export.ts';
import erasureContract from '../../schemas/operations/erasure.ts';
import privacyChangeContract from '../../schemas/operations/privacy-change.ts';
import type { OperationContract } from '../../schemas/operations/operation.ts';
import { activityInterceptors } from '../../workers/interceptors/activity.ts';
import type { TestDatabase } from '../environment/database.ts';
import { createTestNamespace } from '../environment/temporal.ts';

Runtime.install({ logger: new DefaultLogger('ERROR') });

/** Ledger, worker and a growing audit log, against real servers, in a namespace of their own. */
export async function erasureBench(test: TestDatabase) {
  const folder = await mkdtemp(join(tmpdir(), 'hal9-erasure-'));
  const address = inject('temporalAddress');
  const namespace = await createTestNamespace();
  const settings = { DATABASE_URL: test.url, TEMPORAL_ADDRESS: address, TEMPORAL_NAMESPACE: namespace, HAL9_DATA: folder, HAL9_ALLOW_PRIVATE_ADDRESSES: 'true', HAL9_MASTER_KEYS: `t:${Buffer.alloc(32, 3).toString('base64')}` };
  const config = loadConfig(settings);
  const [connection, clientConnection, keys, signer] = [await NativeConnection.connect({ address }), await Connection.connect({ address }), await loadKeyRing(config), await loadAuditSigner(config)];
  const dataConverter = createDataConverter(keys, new SubjectKeys({ database: test.database, keys }));
  const client = new Client({ connection: clientConnection, namespace, dataConverter });
  const logger = pino({ level: 'silent' });
  const { database } = test;
  const operations = createOperations({ client, database, contracts: new Map<string, OperationContract>([erasureContract, accessExportContract, privacyChangeContract].map((contract) => [contract.name, contract])), keys, logger });
  const parts = await Promise.all([privacyActivities, privacyChangeActivities, accessExportActivities, approvalActivities].map((register) => register({ config, database, operations, logger })));
  const worker = await Worker.create({
    connection,
    namespace,
    taskQueue: TASK_QUEUES.core,
    dataConverter,
    workflowsPath: join(import.meta.dirname, 'workflows.ts'),
    activities: Object.assign({}, ...parts.map(({ queues }) => queues[TASK_QUEUES.core])),
    interceptors: { activity: activityInterceptors },
    shutdownForceTime: '5 seconds',
  });
  const running = worker.run();
  const sources = new PrivacySources({ database, keys });
  const erasures = new Erasures({ database, keys, operations });
  const sequencer = new AuditSequencerStore(database);
  const checkpoints = new Checkpoints(new AuditCheckpointStore(database), signer, await FileWitness.open(join(folder, 'witness')));
  let auditing = true;
  const audited = (async () => {
    while (auditing) {
      for (const orgId of await sequencer.waitingOfAllOrganisations()) {
        await sequencer.sequenceAcrossOrganisations(orgId);
        await checkpoints.make(orgId);
      }
      await delay(100);
    }
  })();
  return {
    /** For commands that run beside it. */
    settings,
    client,
    keys,
    masterKeys: config.HAL9_MASTER_KEYS ?? '',
    database,
    sources,
    holds: new LegalHolds({ database, keys }),
    erasures,
    changes: new PrivacyChanges({ database, keys, operations }),
    exports: new AccessExports({ database, keys, blobs: createBlobStore(config, keys), operations, publicUrl: 'https://hal9.example' }),
    approvals: new Approvals({ database, keys, operations }),
    caller: async (): Promise<Caller> => ({ ...systemCaller(await test.organisation(), 'test'), actor: { kind: 'api-key', id: 'test' } }),
    /** Declares the database of `withSchema` as the source `shop`. */
    declare: (caller: Caller, url: string, annotations: string) => sources.create(caller, { name: 'shop', kind: 'postgres', address: `${url}?sslmode=disable`, annotations }),
    /** Waits until an erasure is in a state. */
    async reached(caller: Caller, id: string, state: ErasureRecord['state']): Promise<ErasureRecord> {
      await expect.poll(async () => (await erasures.get(caller, id)).erasure.state).toBe(state);
      return (await erasures.get(caller, id)).erasure;
    },
    logKey: (orgId: string): string => signer.logKey(auditOrigin(orgId)).toString(),
    async stop() {
      worker.shutdown();
      await running;
      auditing = false;
      await audited;
      for (const part of parts) await part.shutdown?.();
      await operations.close();
      await Promise.all([clientConnection.close(), connection.close()]);
      await rm(folder, { recursive: true, force: true });
    },
  };
}

export type ErasureBench = Awaited<ReturnType<typeof erasureBench>>;
