import { Counter } from 'prom-client';

/** In prom-client's default registry, which every process serves. */
export const deliveryMetrics = new Counter({ name: 'hal9_notification_attempts_total', help: 'Attempts to hand a message over.', labelNames: ['kind', 'outcome'] as const });
