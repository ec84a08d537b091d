import type { Logger } from 'pino';
import { Counter } from 'prom-client';
import { AUTOMATIONS_CHANNEL, type DueFiring, FiringStore } from '../../database/automation-firings.ts';
import { AutomationStore } from '../../database/automations.ts';
import { SignalStore } from '../../database/signals.ts';
import { FiringEffects } from '../../platform/automations/effects.ts';
import { OwnerStandings } from '../../platform/automations/standing.ts';
import { LaneChooser } from '../../platform/signals/lane.ts';
import type { BackgroundProcess } from '../process.ts';
import type { Drain } from './drains.ts';

/** Longest wait between two tries, seconds. */
const MOST_SECONDS = 300;
/** Tries of an effect whose target is away: with {@link MOST_SECONDS} between them about a day. */
const MOST_TRIES = 300;
const FORGET_AFTER_DAYS = 30;
const UPKEEP_MS = 300_000;

/** Lets the effects of automations leave, one after the other for each (automation, partition key), many keys at once. */
export function createAutomationDrain({ config, database, logger, operations, registry }: BackgroundProcess): Drain {
  const firings = new FiringStore(database);
  const effects = new FiringEffects({
    automations: new AutomationStore(database),
    firings,
    standings: new OwnerStandings(database),
    signals: new SignalStore(database),
    operations,
    contracts: operations.contracts,
    lanes: new LaneChooser(config.HAL9_LANES),
  });
  const settled = new Counter({ name: 'hal9_automation_firings_total', help: 'Firings of automations by how they ended.', labelNames: ['state'], registers: [registry] });
  return createFirings({ firings, effects, logger, onSettled: (state) => settled.inc({ state }) });
}

export interface FiringDrainOptions {
  readonly firings: FiringStore;
  readonly effects: FiringEffects;
  readonly logger: Logger;
  readonly onSettled?: (state: 'fired' | 'skipped' | 'failed') => void;
}

export function createFirings({ firings, effects, logger, onSettled = () => undefined }: FiringDrainOptions): Drain {
  const inOrder = async (entries: readonly DueFiring[], signal: AbortSignal): Promise<void> => {
    for (const [position, entry] of entries.entries()) {
      if (signal.aborted) return;
      const outcome = await effects.leave(entry);
      if (outcome.kind === 'settled') {
        onSettled(outcome.state);
      } else if (entry.attempts + 1 >= MOST_TRIES) {
        await firings.settle(entry.orgId, entry.id, { state: 'failed', reason: outcome.reason });
        onSettled('failed');
      } else {
        const wait = Math.min(MOST_SECONDS, Math.max(outcome.afterSeconds ?? 0, 2 ** Math.min(entry.attempts, 12)));
        logger.debug({ firing: entry.id, reason: outcome.reason, wait }, 'the effect of an automation waits');
        await firings.retry(entry.orgId, entries.slice(position).map(({ id }) => id), outcome.reason, wait);
        return;
      }
    }
  };
  return {
    name: 'automations',
    channels: [AUTOMATIONS_CHANNEL],
    pollMs: 1000,
    async run(signal) {
      const entries = await firings.takeAcrossOrganisations();
      await Promise.all([...Map.groupBy(entries, (entry) => `${entry.orgId}/${entry.automationId}/${String(entry.orderKey)}`).values()].map((group) => inOrder(group, signal)));
      return entries.length > 0;
    },
  };
}

/** Forgets what automations did long ago. */
export function createAutomationUpkeep({ database }: Pick<BackgroundProcess, 'database'>): Drain {
  const firings = new FiringStore(database);
  return {
    name: 'automations-upkeep',
    pollMs: UPKEEP_MS,
    async run() {
      await firings.forgetAcrossOrganisations(FORGET_AFTER_DAYS);
      return false;
    },
  };
}
