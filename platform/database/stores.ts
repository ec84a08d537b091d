import type { Database } from '../../database/database.ts';
import { DeadLetterStore } from '../../database/dead-letters.ts';
import { DecisionStore } from '../../database/decisions.ts';
import { HealthStore } from '../../database/health.ts';
import { IncidentStore } from '../../database/incidents.ts';
import { NeuronBreakerStore } from '../../database/neuron-breakers.ts';
import { NeuronStore } from '../../database/neurons.ts';
import { RemediationActionStore } from '../../database/remediation-actions.ts';
import { RunEventStore } from '../../database/run-events.ts';
import { RunStore } from '../../database/runs.ts';
import { NotificationStore } from '../../database/notifications.ts';
import { SignalReadStore } from '../../database/signal-reads.ts';
import { SignalStore } from '../../database/signals.ts';
import { ReceiptStore } from '../../database/webhook-receipts.ts';
import { WebhookStore } from '../../database/webhooks.ts';
import { TraceStore } from '../../database/traces.ts';
import { WorkerStore } from '../../database/workers.ts';

/** The stores that routes are given: the API sees them as types and never the SQL behind. */
export function openStores(database: Database) {
  return {
    signals: new SignalStore(database),
    signalReads: new SignalReadStore(database),
    deadLetters: new DeadLetterStore(database),
    health: new HealthStore(database),
    workers: new WorkerStore(database),
    neurons: new NeuronStore(database),
    breakers: new NeuronBreakerStore(database),
    decisions: new DecisionStore(database),
    traces: new TraceStore(database),
    incidents: new IncidentStore(database),
    remediationActions: new RemediationActionStore(database),
    runs: new RunStore(database),
    runEvents: new RunEventStore(database),
    notifications: new NotificationStore(database),
    webhooks: new WebhookStore(database),
    receipts: new ReceiptStore(database),
  };
}

export type Stores = ReturnType<typeof openStores>;
