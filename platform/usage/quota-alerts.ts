import type { Database } from '../../database/database.ts';
import { PlanStore, type QuotaLevel } from '../../database/plans.ts';
import type { SignalStore } from '../../database/signals.ts';
import { UsageStore } from '../../database/usage.ts';
import { METERS, type Meter } from '../../schemas/usage/meters.ts';
import { LaneChooser } from '../signals/lane.ts';
import { prepareValue } from '../signals/prepare.ts';
import { monthOf } from './month.ts';

export interface QuotaAlertOptions {
  readonly database: Database;
  readonly signals: Pick<SignalStore, 'commit'>;
  /** Lanes of an organisation (`HAL9_LANES`). */
  readonly lanes: number;
}

const SOURCE = 'hal9/usage';

/**
 * Tells organisations by a signal of their own that a quota is passed, once a month for each meter and level: the signal's id is
 * the alert's, so a repetition after a crash is a duplicate.
 * @returns how many were told.
 */
export async function tellPassedQuotas({ database, signals, lanes }: QuotaAlertOptions, now = new Date()): Promise<number> {
  const plans = new PlanStore(database);
  const month = monthOf(now);
  const day = `${month.name}-01`;
  const chooser = new LaneChooser(lanes);
  const [totals, known, told] = await Promise.all([new UsageStore(database).totalsAcrossOrganisations(month.from, month.to), plans.listAcrossOrganisations(), plans.alertsAcrossOrganisations(day)]);
  let count = 0;
  for (const { orgId, plan, entitlements } of known) {
    const used = totals.get(orgId);
    if (used === undefined) continue;
    for (const { meter, level, quota } of passed(used, entitlements.quotas)) {
      if (told.has(`${orgId}/${meter}/${level}`)) continue;
      const signal = {
        specversion: '1.0',
        id: `${month.name}/${meter}/${level}`,
        source: SOURCE,
        type: `hal9.usage.${level}-quota`,
        subject: meter,
        time: now.toISOString(),
        data: { meter, level, month: month.name, plan, used: used[meter], quota },
      };
      const { row, errors } = prepareValue(signal, { orgId, lanes: chooser, receivedAt: now.toISOString(), defaultSpecversion: false });
      if (row === undefined) throw new Error(`the signal of a quota is none: ${JSON.stringify(errors)}`);
      await signals.commit({ orgId, rows: [row], traceparent: undefined });
      await plans.markAlertOfAnyOrganisation(orgId, meter, day, level);
      count += 1;
    }
  }
  return count;
}

function passed(used: Readonly<Record<Meter, number>>, quotas: Readonly<Record<Meter, { soft: number | null; hard: number | null }>>): { meter: Meter; level: QuotaLevel; quota: number }[] {
  return METERS.flatMap((meter) => {
    const { soft, hard } = quotas[meter];
    return [
      ...(soft !== null && used[meter] > soft ? [{ meter, level: 'soft' as const, quota: soft }] : []),
      ...(hard !== null && used[meter] >= hard ? [{ meter, level: 'hard' as const, quota: hard }] : []),
    ];
  });
}
