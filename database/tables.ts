import type { OrganisationTables } from './organisations.ts';
import type { SignalTables } from './signal-tables.ts';
import type { CascadeTables } from './cascade-tables.ts';
import type { RemediationTables } from './remediation-actions.ts';
import type { HealthTables } from './health.ts';
import type { DelayedStartTables } from './delayed-starts.ts';
import type { RolloutTables } from './rollouts.ts';
import type { RunTables } from './run-tables.ts';
import type { ConcurrencyTables } from './concurrency-leases.ts';
import type { BrowserBaselineTables } from './browser-baselines.ts';
import type { BrowserLiveTables } from './browser-live-views.ts';
import type { BrowserTables } from './browser-sessions.ts';
import type { BulkTables } from './bulk-actions.ts';
import type { ConnectionTables } from './connections.ts';
import type { ContentTables } from './contents.ts';
import type { MemoryTables } from './memories.ts';
import type { NotificationTables } from './notifications.ts';
import type { BudgetTables } from './budgets.ts';
import type { ApprovalTables } from './approvals.ts';
import type { AuditActTables } from './audit-acts.ts';
import type { AuditTables } from './audit-tables.ts';
import type { IdentityTables } from './identity-tables.ts';
import type { InvitationTables } from './invitations.ts';
import type { ScimTables } from './scim.ts';
import type { PasswordMailTables } from './password-mails.ts';
import type { SessionTables } from './sessions.ts';
import type { FactorTables } from './factors.ts';
import type { SigningKeyTables } from './signing-keys.ts';
import type { PlanTables } from './plans.ts';
import type { BillingTables } from './billing.ts';
import type { ConsentTables } from './consents.ts';
import type { ErasureTables } from './erasures.ts';
import type { AccessExportTables } from './access-exports.ts';
import type { LegalHoldTables } from './legal-holds.ts';
import type { PrivacyChangeTables } from './privacy-changes.ts';
import type { PrivacySourceTables } from './privacy-sources.ts';
import type { SubjectKeyTables } from './subject-keys.ts';
import type { PrivacyTaskTables } from './privacy-tasks.ts';
import type { RetentionReportTables } from './retention-reports.ts';
import type { EvidenceTables } from './evidence.ts';
import type { StatementTables } from './statements.ts';
import type { UsageTables } from './usage-events.ts';
import type { NeuronCallTables } from './neuron-calls.ts';
import type { NeuronBreakerTables } from './neuron-breakers.ts';
import type { AutomationTables } from './automations.ts';
import type { WebhookTables } from './webhooks.ts';
import type { BrokerTables } from './broker-sources.ts';
import type { ScheduleTables } from './schedules.ts';
import type { WebhookEndpointTables } from './webhook-endpoints.ts';

/** Every table of HAL9's own schema, as kysely sees it; each aggregate declares its own. */
export interface Tables
  extends OrganisationTables,
    SignalTables,
    CascadeTables,
    RemediationTables,
    RolloutTables,
    RunTables,
    BrowserBaselineTables,
    BrowserLiveTables,
    BrowserTables,
    BulkTables,
    ConcurrencyTables,
    DelayedStartTables,
    HealthTables,
    ConnectionTables,
    ContentTables,
    MemoryTables,
    NotificationTables,
    BudgetTables,
    ApprovalTables,
    NeuronCallTables,
    NeuronBreakerTables,
    IdentityTables,
    InvitationTables,
    ScimTables,
    SessionTables,
    PasswordMailTables,
    FactorTables,
    SigningKeyTables,
    AuditActTables,
    AuditTables,
    PlanTables,
    StatementTables,
    ConsentTables,
    PrivacySourceTables,
    SubjectKeyTables,
    AccessExportTables,
    PrivacyChangeTables,
    PrivacyTaskTables,
    RetentionReportTables,
    LegalHoldTables,
    ErasureTables,
    BillingTables,
    EvidenceTables,
    UsageTables,
    AutomationTables,
    ScheduleTables,
    BrokerTables,
    WebhookTables,
    WebhookEndpointTables {}
