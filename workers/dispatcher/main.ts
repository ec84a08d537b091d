import { OpenBatchStore } from '../../database/batches-open.ts';
import { Listener } from '../../database/listener.ts';
import { SignalUpkeep } from '../../database/signal-upkeep.ts';
import { databaseTls } from '../../platform/database/connect.ts';
import { runProcess } from '../process.ts';
import { createAuditCheckpoints, createAuditGauges, createAuditRetention, createAuditRisk, createAuditSequencer } from './audit.ts';
import { createAutomationDrain, createAutomationUpkeep } from './automations.ts';
import { createBatchOpener, createClock } from './batch-opener.ts';
import { BatchStarter } from './batch-starter.ts';
import { createBillingReporter } from './billing.ts';
import { createBrowserRetention } from './browser.ts';
import { createBulkRecovery } from './bulk.ts';
import { createChainDrain, createChainRecovery } from './chain.ts';
import { createConcurrencyDrain } from './concurrency.ts';
import { createEvidenceSchedule } from './compliance.ts';
import { createContentCleaning } from './content.ts';
import { createErasureWatch } from './erasures.ts';
import { createPrivacyChangeWatch } from './privacy-changes.ts';
import { createDelayedStartGuard } from './delayed-starts.ts';
import { DrainLoop } from './drain-loop.ts';
import type { Drain, DrainFactory } from './drains.ts';
import { createDrillSchedule } from './drills.ts';
import { createOutboxDrain } from './outbox.ts';
import { createPasswordMails } from './password-mails.ts';
import { createRecovery } from './recovery.ts';
import { createRetention } from './retention.ts';
import { createRunsProjector, createRunsUpkeep } from './runs-projector.ts';
import { createScheduleDrain, createScheduleUpkeep } from './schedules.ts';
import { createWebhookDrain, createWebhookUpkeep } from './webhooks.ts';
import { createBacklogGauges, createUpkeep } from './upkeep.ts';
import { createQuotaAlerts, createStatementDrain, createStorageSampler, createUsageFold } from './usage.ts';

/** Drains of other parts of the house; each is built once and runs in a loop of its own. */
const DRAINS: readonly DrainFactory[] = [createRunsProjector, createRunsUpkeep, createBulkRecovery, createConcurrencyDrain, createDelayedStartGuard, createRetention, createBrowserRetention, createOutboxDrain, createPasswordMails, createAutomationDrain, createAutomationUpkeep, createScheduleDrain, createScheduleUpkeep, createDrillSchedule, createWebhookDrain, createWebhookUpkeep, createChainDrain, createChainRecovery, createContentCleaning, createUsageFold, createStorageSampler, createStatementDrain, createQuotaAlerts, createEvidenceSchedule, createErasureWatch, createPrivacyChangeWatch, createBillingReporter, createAuditSequencer, createAuditGauges, createAuditCheckpoints, createAuditRisk, createAuditRetention];

await runProcess('dispatcher', { temporalWorker: false }, async (context) => {
  const { config, database, logger, operations, registry, shutdown } = context;
  const batches = new OpenBatchStore(database);
  const starter = new BatchStarter({ operations, batches, logger });
  const drains: Drain[] = [
    createBatchOpener({ batches, starter, batchSignals: config.HAL9_BATCH_SIGNALS, restMs: config.HAL9_LANE_REST_MS }),
    createClock({ batches, starter }),
    createRecovery({ database, batches, starter, runs: operations, logger }),
    createUpkeep({ upkeep: new SignalUpkeep(database), dedupDays: config.HAL9_DEDUP_DAYS, logger }),
    createBacklogGauges(batches, registry),
    ...(await Promise.all(DRAINS.map(async (create) => create(context)))),
  ];
  const loops = drains.map((drain) => ({ drain, loop: new DrainLoop(drain, logger, shutdown) }));
  const listener = new Listener({
    connection: { connectionString: config.DATABASE_SYSTEM_URL ?? config.DATABASE_URL, ssl: await databaseTls(config), application_name: 'hal9-dispatcher-listen' },
    channels: [...new Set(drains.flatMap((drain) => drain.channels ?? []))],
    onNotify: (channel) => {
      for (const { drain, loop } of loops) if (drain.channels?.includes(channel) === true) loop.notify();
    },
    onLost: (error) => logger.warn({ reason: error.message }, 'notifications lost, polling until they are back'),
  });
  context.ready();
  await Promise.all(loops.map(({ loop }) => loop.run()));
  await listener.close();
  await starter.idle();
});
