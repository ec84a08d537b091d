import { join } from 'node:path';
import { Counter, Gauge } from 'prom-client';
import { AuditCheckpointStore } from '../../database/audit-checkpoints.ts';
import { AuditHoleError, AuditLogStore } from '../../database/audit-log.ts';
import { AuditRiskStore } from '../../database/audit-risk.ts';
import { AuditSequencerStore } from '../../database/audit-sequencer.ts';
import { AuditAlarm } from '../../platform/audit/alarm.ts';
import { Checkpoints } from '../../platform/audit/checkpoints.ts';
import { FileWitness } from '../../platform/audit/file-witness.ts';
import { RiskWatch } from '../../platform/audit/risk.ts';
import { checkLog } from '../../platform/audit/self-check.ts';
import { loadAuditSigner } from '../../platform/audit/signer.ts';
import { AuditSignals } from '../../platform/audit/signals.ts';
import { WitnessRefusal } from '../../platform/audit/witness.ts';
import type { BackgroundProcess } from '../process.ts';
import type { Drain } from './drains.ts';

/** Numbers must be there within a second of the commit. */
const SEQUENCE_MS = 100;
const CHECKPOINT_MS = 1000;
const GAUGES_MS = 2000;
const ERASE_MS = 3_600_000;
const ERASED_AT_ONCE = 5000;
const LOGS_AT_ONCE = 1000;
/** Organisations numbered at the same time. */
const ORGANISATIONS_AT_ONCE = 4;

/** Numbers the acts of every organisation. */
export function createAuditSequencer({ database, registry }: Pick<BackgroundProcess, 'database' | 'registry'>): Drain {
  const store = new AuditSequencerStore(database);
  const sequenced = new Counter({ name: 'hal9_audit_sequenced_total', help: 'Acts that got their number in the audit log.', registers: [registry] });
  return {
    name: 'audit-sequencer',
    pollMs: SEQUENCE_MS,
    async run(signal) {
      const waiting = await store.waitingOfAllOrganisations();
      let more = false;
      const next = async (): Promise<void> => {
        for (let orgId = waiting.pop(); orgId !== undefined && !signal.aborted; orgId = waiting.pop()) {
          const done = await store.sequenceAcrossOrganisations(orgId);
          sequenced.inc(done.sequenced);
          more ||= done.more;
        }
      };
      await Promise.all(Array.from({ length: ORGANISATIONS_AT_ONCE }, next));
      return more;
    },
  };
}

/** How many acts wait for their number, and for how long. */
export function createAuditGauges({ database, registry }: Pick<BackgroundProcess, 'database' | 'registry'>): Drain {
  const store = new AuditSequencerStore(database);
  const registers = [registry];
  const waiting = new Gauge({ name: 'hal9_audit_waiting_acts', help: 'Acts without a number yet.', registers });
  const lag = new Gauge({ name: 'hal9_audit_lag_seconds', help: 'Age of the oldest act without a number, seconds.', registers });
  return {
    name: 'audit-gauges',
    pollMs: GAUGES_MS,
    async run() {
      const backlog = await store.backlogOfAllOrganisations();
      waiting.set(backlog.acts);
      lag.set(backlog.lagSeconds);
      return false;
    },
  };
}

/** Has every log that grew witnessed, and compares whole logs with what was witnessed from time to time. */
export async function createAuditCheckpoints({ config, database, logger, registry }: BackgroundProcess): Promise<Drain> {
  const store = new AuditCheckpointStore(database);
  const witness = await FileWitness.open(config.HAL9_AUDIT_WITNESS_DIR ?? join(config.HAL9_DATA, 'audit-witness'));
  const checkpoints = new Checkpoints(store, await loadAuditSigner(config), witness);
  const alarm = new AuditAlarm({ database, logger, registry, lanes: config.HAL9_LANES });
  const log = new AuditLogStore(database);
  let checkAt = 0;
  return {
    name: 'audit-checkpoints',
    pollMs: CHECKPOINT_MS,
    async run(signal) {
      for (const orgId of await store.dueOfAllOrganisations(LOGS_AT_ONCE)) {
        if (signal.aborted) return false;
        await checkpointOrAlarm(orgId);
      }
      await alarm.beat();
      if (Date.now() < checkAt) return false;
      checkAt = Date.now() + config.HAL9_AUDIT_CHECK_SECONDS * 1000;
      for (const orgId of await store.logsOfAllOrganisations()) {
        if (signal.aborted) return false;
        await alarm.report(orgId, await checkLog({ log, witness }, orgId, signal));
      }
      return false;
    },
  };

  async function checkpointOrAlarm(orgId: string): Promise<void> {
    try {
      await checkpoints.make(orgId);
    } catch (error) {
      if (!(error instanceof WitnessRefusal) && !(error instanceof AuditHoleError)) throw error;
      await alarm.report(orgId, [{ kind: 'rewritten', detail: error.message }]);
    }
  }
}

/** Runs the risk rules over what was numbered. */
export function createAuditRisk({ config, database, registry }: Pick<BackgroundProcess, 'config' | 'database' | 'registry'>): Drain {
  const store = new AuditRiskStore(database);
  const watch = new RiskWatch(store, new AuditSignals(database, config.HAL9_LANES));
  const signals = new Counter({ name: 'hal9_audit_risk_signals_total', help: 'Signals the risk rules of the audit log sent.', registers: [registry] });
  return {
    name: 'audit-risk',
    async run(signal) {
      let again = false;
      for (const orgId of await store.dueOfAllOrganisations(LOGS_AT_ONCE)) {
        if (signal.aborted) return false;
        const { sent, more } = await watch.advance(orgId);
        signals.inc(sent);
        again ||= more;
      }
      return again;
    },
  };
}

/** Erases personal values whose time is over. */
export function createAuditRetention({ config, database, logger }: Pick<BackgroundProcess, 'config' | 'database' | 'logger'>): Drain {
  const log = new AuditLogStore(database);
  return {
    name: 'audit-retention',
    pollMs: ERASE_MS,
    async run() {
      const erased = await log.erasePersonalAcrossOrganisations(config.HAL9_AUDIT_PERSONAL_DAYS, ERASED_AT_ONCE);
      if (erased > 0) logger.info({ erased }, 'personal values of the audit log erased by age');
      return erased === ERASED_AT_ONCE;
    },
  };
}
