import type { Logger } from 'pino';
import { Gauge, type Registry } from 'prom-client';
import type { Database } from '../../database/database.ts';
import { HealthStore } from '../../database/health.ts';
import type { Finding } from '../../schemas/audit/log-check.ts';
import { AuditSignals } from './signals.ts';

const COMPONENT = 'audit-log';
/** How often the health component is written without news, ms. */
const BEAT_MS = 15_000;
/** A report that is older says nothing any more, seconds. */
const STALE_S = 60;
/** Findings named in a log line and in a signal. */
const NAMED = 20;

export interface AuditAlarmOptions {
  readonly database: Database;
  readonly logger: Logger;
  readonly registry: Registry;
  /** HAL9_LANES. */
  readonly lanes: number;
}

/** Tells everybody who watches that a log is not what was witnessed: log line, metric, health component, signal. */
export class AuditAlarm {
  readonly #health: HealthStore;
  readonly #signals: AuditSignals;
  readonly #logger: Logger;
  readonly #gauge: Gauge;
  readonly #since = new Date();
  readonly #tampered = new Map<string, Date>();
  #beatAt = 0;

  constructor({ database, logger, registry, lanes }: AuditAlarmOptions) {
    this.#health = new HealthStore(database);
    this.#signals = new AuditSignals(database, lanes);
    this.#logger = logger;
    this.#gauge = new Gauge({ name: 'hal9_audit_tampered_logs', help: 'Audit logs that are not what was witnessed.', registers: [registry] });
    this.#gauge.set(0);
  }

  /** What a check of an organisation's log found; nothing is good news. */
  async report(orgId: string, findings: readonly Finding[]): Promise<void> {
    const known = this.#tampered.has(orgId);
    if (findings.length === 0) this.#tampered.delete(orgId);
    else if (!known) this.#tampered.set(orgId, new Date());
    this.#gauge.set(this.#tampered.size);
    if (findings.length > 0 !== known) await this.#writeHealth();
    if (findings.length === 0 || known) return;
    this.#logger.error({ orgId, findings: findings.slice(0, NAMED) }, 'the audit log was tampered with');
    const [first] = findings;
    const id = `tampered/${first?.kind ?? ''}/${String(first?.entries?.first ?? '')}-${String(first?.entries?.last ?? '')}`;
    await this.#signals.send(orgId, [{ type: 'dev.hal9.audit.tampered', id, subject: 'audit-log', time: new Date(), data: { findings: findings.slice(0, NAMED) } }]);
  }

  /** Keeps the health component fresh; to be called often. */
  async beat(): Promise<void> {
    if (Date.now() >= this.#beatAt) await this.#writeHealth();
  }

  async #writeHealth(): Promise<void> {
    this.#beatAt = Date.now() + BEAT_MS;
    const sick = [...this.#tampered.values()];
    const isSick = sick.length > 0;
    await this.#health.recordForPlatform(
      [
        {
          name: COMPONENT,
          kind: 'database',
          state: isSick ? 'unhealthy' : 'healthy',
          detail: isSick ? 'An audit log is not what was witnessed; see the log of the dispatcher and run hal9 audit verify.' : 'Every audit log is what was witnessed.',
          since: sick[0] ?? this.#since,
          dependsOn: [],
          staleSeconds: STALE_S,
        },
      ],
      [],
    );
  }
}
