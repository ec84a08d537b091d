import type { Logger } from 'pino';
import type { BillingStore, UsageReport } from '../../database/billing.ts';
import { monthNamed } from '../usage/month.ts';
import { BillingError, type BillingPort } from './port.ts';

const REPORTS_AT_ONCE = 20;
const MOST_SECONDS = 3_600;
/** Days after which the provider has long stopped repeating an event. */
const EVENT_DAYS = 90;
/**
 * The provider recognises a repetition for 24 hours at least. A report that is still undecided near that limit is not tried again: it
 * might be booked twice. It fails, and a person compares.
 */
const UNDECIDED_MS = 20 * 3_600_000;

export interface ReporterOptions {
  readonly store: BillingStore;
  readonly provider: Pick<BillingPort, 'report'>;
  readonly logger: Pick<Logger, 'warn' | 'error'>;
  readonly now?: () => number;
}

/**
 * Lets lines of closed statements leave as meter events, each once: a row is done when the provider has said so, and a repetition
 * carries the same identifier.
 * @returns whether more may wait.
 */
export async function reportUsage({ store, provider, logger, now = Date.now }: ReporterOptions): Promise<boolean> {
  await store.forgetEvents(EVENT_DAYS);
  await store.prepareReportsAcrossOrganisations();
  const reports = await store.takeReportsAcrossOrganisations(REPORTS_AT_ONCE);
  for (const report of reports) {
    try {
      await provider.report({ identifier: identifierOf(report), customerId: report.customerId, meter: report.meter, quantity: report.quantity, at: new Date(monthNamed(report.month).to.getTime() - 1000) });
      await store.reportDone(report);
    } catch (error) {
      if (!(error instanceof BillingError)) throw error;
      await undelivered(report, error);
    }
  }
  return reports.length === REPORTS_AT_ONCE;

  async function undelivered(report: UsageReport, error: BillingError): Promise<void> {
    const { orgId, month, meter, attempts } = report;
    if (!error.retryable) {
      logger.error({ orgId, month, meter, failure: error.message }, 'the payment provider refused a report of usage');
      await store.failReport(report, error.message);
    } else if (now() - report.firstAttemptAt.getTime() > UNDECIDED_MS) {
      logger.error({ orgId, month, meter, failure: error.message }, 'a report of usage is undecided; compare with the payment provider');
      await store.failReport(report, `undecided: ${error.message}`);
    } else {
      logger.warn({ orgId, month, meter, attempts, failure: error.message }, 'usage not reported, trying again');
      await store.retryReport(report, error.message, Math.min(MOST_SECONDS, Math.max(error.retryAfterSeconds ?? 0, 5 * 2 ** Math.min(attempts - 1, 10))));
    }
  }
}

function identifierOf({ orgId, month, meter }: UsageReport): string {
  return `hal9/${orgId}/${month}/${meter}`;
}
