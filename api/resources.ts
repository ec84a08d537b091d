import { join } from 'node:path';
import type { Client } from '@temporalio/client';
import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import type { Database } from '../database/database.ts';
import { CompiledAutomation, loopsOf, subscriptionOf, validateAutomation } from '../neurons/automation.ts';
import { Automations } from '../platform/automations/automations.ts';
import type { AutomationEngine } from '../platform/automations/engine.ts';
import { AuditTrail } from '../platform/audit/audit-trail.ts';
import { BrokerIntake } from '../platform/brokers/intake.ts';
import { Sources } from '../platform/brokers/sources.ts';
import { Approvals } from '../platform/approvals/approvals.ts';
import { Billing } from '../platform/billing/billing.ts';
import { billingProvider } from '../platform/billing/provider.ts';
import { Budgets } from '../platform/budgets/budgets.ts';
import { Anchors } from '../platform/chain/anchors.ts';
import { Chains } from '../platform/chain/chains.ts';
import { Consensuses } from '../platform/chain/consensus/consensuses.ts';
import { Networks } from '../platform/chain/networks.ts';
import { Tokens } from '../platform/chain/tokens.ts';
import { Compliance } from '../platform/compliance/compliance.ts';
import { Consents } from '../platform/consent/consents.ts';
import type { Config } from '../platform/config/config.ts';
import { SubjectKeys } from '../platform/keys/subject-keys.ts';
import { Connections } from '../platform/connections/connections.ts';
import { Egress } from '../platform/connections/egress.ts';
import type { Stores } from '../platform/database/stores.ts';
import { publicUrl } from '../platform/approvals/links.ts';
import { openDirectory } from '../platform/identity/directory.ts';
import { Impersonation } from '../platform/identity/impersonation.ts';
import { platformOrganisation } from '../platform/identity/platform-organisation.ts';
import { Scim } from '../platform/identity/scim.ts';
import { HealthReader } from '../platform/health/reader.ts';
import { Contents } from '../platform/content/contents.ts';
import { Memories } from '../platform/memory/memories.ts';
import type { KeyRing } from '../platform/keys/key-ring.ts';
import type { Operations } from '../platform/operations/contract.ts';
import { Schedules } from '../platform/schedules/schedules.ts';
import { Bulk } from '../platform/operations/bulk.ts';
import { DecidedBatches } from '../platform/signals/decided-batches.ts';
import { createDecide } from '../platform/signals/decide.ts';
import { SignalIngest } from '../platform/signals/ingest.ts';
import { IngestMetrics } from '../platform/signals/metrics.ts';
import { SignalReceiver } from '../platform/signals/receive.ts';
import { Plans } from '../platform/usage/plans.ts';
import type { Admission } from '../platform/usage/quota-gate.ts';
import type { RateLimits } from '../platform/usage/rate-limits.ts';
import { openInboundWebhooks } from './inbound-webhooks.ts';
import type { Identity } from './identity.ts';
import type { AnyRoute } from './route.ts';
import { createAuditRoutes } from './routes/audit.ts';
import { createAnchorRoutes } from './routes/anchors.ts';
import { createApprovalRoutes } from './routes/approvals.ts';
import { createAutomationRoutes } from './routes/automations.ts';
import { createBillingRoutes } from './routes/billing.ts';
import { createBulkRoutes } from './routes/bulk.ts';
import { createBudgetRoutes } from './routes/budgets.ts';
import { createChainRoutes } from './routes/chains.ts';
import { createContentRoutes } from './routes/contents.ts';
import { createMemoryRoutes } from './routes/memories.ts';
import { createNetworkRoutes } from './routes/networks.ts';
import { createConnectionRoutes } from './routes/connections.ts';
import { createComplianceRoutes } from './routes/compliance.ts';
import { createConsentRoutes } from './routes/consents.ts';
import { AccessExports } from '../platform/privacy/access-exports.ts';
import { createAccessExportRoutes } from './routes/access-exports.ts';
import { createPrivacyRoutes } from './routes/privacy.ts';
import { createPrivacyChangeRoutes } from './routes/privacy-changes.ts';
import { createPrivacyTaskRoutes } from './routes/privacy-tasks.ts';
import { createRetentionRoutes } from './routes/retention.ts';
import { createRolloutRoutes } from './routes/rollouts.ts';
import { createBrowserRoutes } from './routes/browser.ts';
import { createDecisionRoutes } from './routes/decisions.ts';
import { createBlobStore } from '../platform/blobs/create.ts';
import { BrowserBaselines } from '../platform/browser/baselines.ts';
import { BrowserEvidence } from '../platform/browser/evidence.ts';
import { BrowserHealings } from '../platform/browser/healings.ts';
import { LiveViews } from '../platform/browser/live-views.ts';
import { InteractiveBrowsers } from '../platform/browser/interactive.ts';
import { createLiveViewRoutes } from './routes/live-views.ts';
import { createMcpRoutes } from './routes/mcp.ts';
import { createInvitationAcceptanceRoutes } from './routes/invitation-acceptance.ts';
import { createDirectoryRoutes } from './routes/directory.ts';
import { createImpersonationRoutes } from './routes/impersonation.ts';
import { createDeadLetterRoutes } from './routes/dead-letters.ts';
import { createHealthComponentRoutes } from './routes/health-components.ts';
import type { Dependency } from './routes/health.ts';
import { createNeuronRoutes } from './routes/neurons.ts';
import { createNotificationRoutes } from './routes/notifications.ts';
import { createScimRoutes } from './routes/scim.ts';
import { createRemediationActionRoutes } from './routes/remediation-actions.ts';
import { PrivacyChanges } from '../platform/privacy/changes.ts';
import { Erasures } from '../platform/privacy/erasures.ts';
import { LegalHolds } from '../platform/privacy/legal-holds.ts';
import { PrivacyTasks } from '../platform/privacy/tasks.ts';
import { RetentionReports } from '../platform/privacy/retention-reports.ts';
import { PrivacySources } from '../platform/privacy/sources.ts';
import { RolloutRecords } from '../platform/rollouts/records.ts';
import { LaneChooser } from '../platform/signals/lane.ts';
import { createScheduleRoutes } from './routes/schedules.ts';
import { createSignalRoutes } from './routes/signals.ts';
import { createSourceRoutes } from './routes/sources.ts';
import { createTraceRoutes } from './routes/trace.ts';
import { Endpoints } from '../platform/webhooks/endpoints.ts';
import { createWebhookEndpointRoutes } from './routes/webhook-endpoints.ts';
import { createUsageRoutes } from './routes/usage.ts';

export interface ResourceParts {
  readonly config: Config;
  /** Of HAL9. */
  readonly version: string;
  readonly database: Database;
  readonly stores: Stores;
  readonly keys: KeyRing;
  readonly identity: Identity;
  readonly operations: Operations;
  /** Of Temporal; for schedules. */
  readonly client: Client;
  readonly logger: Logger;
  readonly registry: Registry;
  readonly dependencies: readonly Dependency[];
  readonly admission: Admission;
  readonly rates: RateLimits;
}

export interface Resources {
  readonly routes: readonly AnyRoute[];
  /** Commits what is still waiting to be committed. */
  close(): Promise<void>;
}

/** Everything above the ground floor: signals, what became of them, health. */
export async function openResources({ config, version, database, stores, keys, identity, operations, client, logger, registry, dependencies, admission, rates }: ResourceParts): Promise<Resources> {
  const metrics = new IngestMetrics(registry);
  const ingest = new SignalIngest(stores.signals, metrics);
  const decided = new DecidedBatches(database, logger);
  const decide = createDecide({ operations, decisions: stores.decisions, decided });
  const egress = new Egress({ allowPrivate: config.HAL9_ALLOW_PRIVATE_ADDRESSES });
  const provider = await billingProvider(config, egress);
  const receiver = new SignalReceiver({ ingest, metrics, keys, lanes: config.HAL9_LANES, admission });
  const connections = new Connections({ database, keys, egress });
  const directory = openDirectory({ database, connections, egress, publicUrl: publicUrl(config), platformOrganisation: platformOrganisation(database) });
  const subjects = new SubjectKeys({ database, keys });
  const blobs = createBlobStore(config, keys, subjects);
  const interactive = new InteractiveBrowsers({ operations, database, blobs });
  const inbound = openInboundWebhooks({ config, database, stores, keys, receiver, ingest, limits: rates });
  return {
    routes: [
      ...createSignalRoutes({ receiver, store: stores.signals, reads: stores.signalReads, bodyLimitBytes: config.HAL9_BODY_LIMIT_BYTES, decide, decisions: stores.decisions, admission }),
      ...createBillingRoutes({ billing: new Billing({ database, provider, planAfterEnd: config.HAL9_DEFAULT_PLAN }) }),
      ...createComplianceRoutes({ compliance: new Compliance(database) }),
      ...createConsentRoutes({ consents: new Consents({ database, keys, changes: new PrivacyChanges({ database, keys, operations }) }) }),
      ...createPrivacyRoutes({ sources: new PrivacySources({ database, keys }), holds: new LegalHolds({ database, keys }), erasures: new Erasures({ database, keys, operations }) }),
      ...createAccessExportRoutes({ exports: new AccessExports({ database, keys, blobs, operations, publicUrl: publicUrl(config) }) }),
      ...createPrivacyChangeRoutes({ changes: new PrivacyChanges({ database, keys, operations }) }),
      ...createRetentionRoutes({ reports: new RetentionReports(database) }),
      ...createRolloutRoutes({ records: new RolloutRecords(database) }),
      ...createPrivacyTaskRoutes({ tasks: new PrivacyTasks({ database, keys, erasures: new Erasures({ database, keys, operations }), changes: new PrivacyChanges({ database, keys, operations }) }) }),
      ...createChainRoutes({ chains: new Chains({ database, places: { keys, environment: process.env, folder: config.HAL9_CHAIN_KEYS_DIR } }) }),
      ...createAnchorRoutes({ anchors: new Anchors({ database, egress, places: { keys, environment: process.env, folder: config.HAL9_CHAIN_KEYS_DIR } }), operations }),
      ...createNetworkRoutes({ networks: new Networks({ database, egress, places: { keys, environment: process.env, folder: config.HAL9_CHAIN_KEYS_DIR } }), consensuses: new Consensuses(database), tokens: new Tokens({ database, egress, places: { keys, environment: process.env, folder: config.HAL9_CHAIN_KEYS_DIR } }) }),
      ...createMemoryRoutes({ memories: new Memories({ database, keys, subjects }) }),
      ...createContentRoutes({ contents: new Contents({ database, keys, subjects, connections, egress, folder: join(config.HAL9_DATA, 'content') }) }),
      ...createUsageRoutes({ plans: new Plans(database, config.HAL9_DEFAULT_PLAN) }),
      ...createTraceRoutes({ reads: stores.signalReads, traces: stores.traces, decisions: stores.decisions, incidents: stores.incidents, runs: stores.runs, events: stores.runEvents }),
      ...createAutomationRoutes({ automations: new Automations({ database, engine: automationEngine, contracts: operations.contracts }) }),
      ...createScheduleRoutes({ schedules: new Schedules({ database, client, contracts: operations.contracts, logger }) }),
      ...createSourceRoutes({ sources: new Sources({ database, connections, intake: new BrokerIntake({ database, ingest, keys, lanes: new LaneChooser(config.HAL9_LANES) }) }) }),
      ...inbound.routes,
      ...createWebhookEndpointRoutes({ endpoints: new Endpoints({ database, keys, egress }) }),
      ...createBulkRoutes({ bulk: new Bulk({ database, keys, operations }) }),
      ...createDecisionRoutes(stores.decisions),
      ...createBrowserRoutes({ evidence: new BrowserEvidence({ database, blobs }), baselines: new BrowserBaselines({ database, blobs }), healings: new BrowserHealings({ database, operations }), interactive }),
      ...createLiveViewRoutes({ views: new LiveViews({ database, keys, operations, publicUrl: publicUrl(config) }) }),
      ...createMcpRoutes({ operations, interactive, version }),
      ...createRemediationActionRoutes({ actions: stores.remediationActions }),
      ...createNeuronRoutes({ neurons: stores.neurons, breakers: stores.breakers, contracts: operations.contracts }),
      ...createDeadLetterRoutes({ letters: stores.deadLetters, signals: stores.signals }),
      ...createConnectionRoutes({ connections }),
      ...createDirectoryRoutes(directory),
      ...createImpersonationRoutes({ impersonation: new Impersonation({ database, grants: directory.grants, sessions: identity.sessions }), https: identity.https }),
      ...createInvitationAcceptanceRoutes({ invitations: directory.invitations, identity }),
      ...createScimRoutes({ scim: new Scim(database, { publicUrl: publicUrl(config), ownersAllowed: config.HAL9_MAPPED_OWNERS }), publicUrl: publicUrl(config) }),
      ...createNotificationRoutes({ notifications: stores.notifications }),
      ...createApprovalRoutes({ approvals: new Approvals({ database, keys, operations }) }),
      ...createAuditRoutes({ trail: new AuditTrail(database, version) }),
      ...createBudgetRoutes({ budgets: new Budgets(database) }),
      ...createHealthComponentRoutes(new HealthReader(stores.health, stores.workers, dependencies)),
    ],
    async close() {
      await Promise.all([ingest.close(), egress.close(), inbound.close(), decided.close()]);
    },
  };
}

const automationEngine: AutomationEngine = {
  selection: ({ trigger }) => subscriptionOf(trigger),
  validate: validateAutomation,
  loops: loopsOf,
  judge(definition, signals) {
    const automation = new CompiledAutomation(definition);
    return signals.map((signal) => automation.judge(signal));
  },
};
