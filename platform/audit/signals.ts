import type { Database } from '../../database/database.ts';
import { SignalStore } from '../../database/signals.ts';
import { LaneChooser } from '../signals/lane.ts';
import { prepareValue } from '../signals/prepare.ts';

/** What the audit log tells neurons and automations. */
export interface AuditSignal {
  readonly type: 'dev.hal9.audit.risk' | 'dev.hal9.audit.tampered';
  /** Within the source: the same id is one signal, however often it is sent. */
  readonly id: string;
  readonly subject: string;
  readonly time: Date;
  readonly data: Readonly<Record<string, unknown>>;
}

const SOURCE = 'hal9/audit';

/** Sends signals as anybody sends them, from within. */
export class AuditSignals {
  readonly #store: SignalStore;
  readonly #lanes: LaneChooser;

  /** @param lanes HAL9_LANES. */
  constructor(database: Database, lanes: number) {
    this.#store = new SignalStore(database);
    this.#lanes = new LaneChooser(lanes);
  }

  /** Commits them; those that were sent before are left out. */
  async send(orgId: string, signals: readonly AuditSignal[]): Promise<void> {
    if (signals.length === 0) return;
    const receivedAt = new Date().toISOString();
    const rows = signals.map(({ time, ...signal }) => {
      const envelope = { specversion: '1.0', source: SOURCE, time: time.toISOString(), datacontenttype: 'application/json', ...signal };
      const prepared = prepareValue(envelope, { orgId, lanes: this.#lanes, receivedAt, defaultSpecversion: false });
      if (prepared.row === undefined) throw new Error(`an audit signal is no signal: ${prepared.errors.map(({ path, message }) => `${path} ${message}`).join('; ')}`);
      return prepared.row;
    });
    await this.#store.commit({ orgId, rows, traceparent: undefined });
  }
}
