import type { Logger } from 'pino';
import type { Database } from '../../database/database.ts';
import { OpenRunPlaceStore } from '../../database/open-run-places.ts';
import { PlanStore } from '../../database/plans.ts';
import { UsageStore } from '../../database/usage.ts';
import { HalError } from '../../schemas/errors.ts';
import { METERS, type Meter } from '../../schemas/usage/meters.ts';
import type { Entitlements, PlanName } from '../../schemas/usage/plans.ts';
import { monthOf } from './month.ts';

/** How long what was read of an organisation is believed, milliseconds. */
const FRESH_MS = 1_000;
/** How long that an organisation has no quotas is believed while it is read again behind its requests, milliseconds. */
const UNLIMITED_MS = 2_000;
/** Organisations remembered by a process. */
const REMEMBERED = 10_000;

export interface QuotaGateOptions {
  readonly database: Database;
  /** Of organisations for which none was set (`HAL9_DEFAULT_PLAN`). */
  readonly defaultPlan: PlanName;
  readonly logger: Pick<Logger, 'warn'>;
  /** Milliseconds; for tests. */
  readonly now?: () => number;
}

interface Known {
  readonly entitlements: Entitlements;
  /** Whether any quota or limit that the gate checks is set. */
  readonly limited: boolean;
  readonly month: string;
  readonly loadedAt: number;
  /** In PostgreSQL when it was read, and let through here since. */
  readonly used: Record<Meter, number>;
}

/** What asks before using. */
export interface Admission {
  /**
   * Lets a use through, or throws; asked before the use. Answers at once in most cases, a promise when it must read first.
   * @throws {HalError} QuotaExceeded.
   */
  admit(orgId: string, meter: Meter, quantity: number): Promise<void> | undefined;
  /**
   * Takes a place for an open run, or throws; asked before the start, after {@link admit}. Exact, whichever process asks; an organisation whose plan does not
   * limit open runs is never waited for. @throws {HalError} QuotaExceeded.
   */
  openRun(orgId: string, runId: string): Promise<void> | undefined;
  /** Gives back the place of a start that came to nothing. */
  notOpened(orgId: string, runId: string): Promise<void> | undefined;
  /** Soft quotas that are passed, as the header `Hal9-Quota-Warning` names them; undefined for none. */
  warning(orgId: string): string | undefined;
}

/**
 * Holds organisations to their hard quotas. It believes what it read for a second and adds what it let through itself, so the
 * quota is passed at the most by what other processes let through within that second and by what is under way between
 * admission and commit. A busy organisation without quotas is never waited for: its plan is read again behind its requests, and a new
 * one counts within two seconds.
 */
export class QuotaGate implements Admission {
  readonly #plans: PlanStore;
  readonly #usage: UsageStore;
  readonly #places: OpenRunPlaceStore;
  readonly #options: QuotaGateOptions;
  readonly #now: () => number;
  readonly #known = new Map<string, Known>();
  readonly #loading = new Map<string, Promise<Known>>();

  constructor(options: QuotaGateOptions) {
    this.#options = options;
    this.#plans = new PlanStore(options.database);
    this.#usage = new UsageStore(options.database);
    this.#places = new OpenRunPlaceStore(options.database);
    this.#now = options.now ?? Date.now;
  }

  admit(orgId: string, meter: Meter, quantity: number): Promise<void> | undefined {
    const known = this.#known.get(orgId);
    const age = known === undefined ? Infinity : this.#now() - known.loadedAt;
    if (known !== undefined && age <= FRESH_MS) return take(known, meter, quantity);
    if (known !== undefined && !known.limited && age <= UNLIMITED_MS) {
      this.#load(orgId).catch((error: unknown) => this.#options.logger.warn({ orgId, reason: error instanceof Error ? error.message : String(error) }, 'plan not read, the one known holds on'));
      return undefined;
    }
    return this.#load(orgId).then((fresh) => take(fresh, meter, quantity));
  }

  openRun(orgId: string, runId: string): Promise<void> | undefined {
    const { plan, most } = this.#openRunsOf(orgId);
    if (most === null) return undefined;
    return this.#places.take(orgId, runId, most).then((taken) => {
      if (!taken) throw new HalError('QuotaExceeded', `the plan ${plan} has ${most} open runs at once, and so many are open`);
    });
  }

  notOpened(orgId: string, runId: string): Promise<void> | undefined {
    return this.#openRunsOf(orgId).most === null ? undefined : this.#places.release(orgId, runId);
  }

  /** The plan was read when the start was admitted. */
  #openRunsOf(orgId: string): { plan: string; most: number | null } {
    const entitlements = this.#known.get(orgId)?.entitlements;
    return { plan: entitlements?.plan ?? '', most: entitlements?.limits.openRuns ?? null };
  }

  warning(orgId: string): string | undefined {
    const known = this.#known.get(orgId);
    if (known === undefined || !known.limited) return undefined;
    const passed = METERS.filter((meter) => known.entitlements.quotas[meter].soft !== null && known.used[meter] > (known.entitlements.quotas[meter].soft ?? 0));
    if (passed.length === 0) return undefined;
    return passed.map((meter) => `${meter}; used=${known.used[meter]}; soft=${known.entitlements.quotas[meter].soft}; hard=${known.entitlements.quotas[meter].hard ?? 'none'}`).join(', ');
  }

  /** One read at a time for an organisation. */
  #load(orgId: string): Promise<Known> {
    const under = this.#loading.get(orgId);
    if (under !== undefined) return under;
    const loading = this.#read(orgId)
      .then((known) => {
        if (this.#known.size >= REMEMBERED) this.#known.clear();
        this.#known.set(orgId, known);
        return known;
      })
      .finally(() => this.#loading.delete(orgId));
    this.#loading.set(orgId, loading);
    return loading;
  }

  async #read(orgId: string): Promise<Known> {
    const loadedAt = this.#now();
    const plan = await this.#plans.ofAnyOrganisation(orgId, this.#options.defaultPlan);
    if (plan === undefined) throw new HalError('NotFound', 'no such organisation');
    const { entitlements } = plan;
    const month = monthOf(new Date(loadedAt));
    const limited = entitlements.limits.openRuns !== null || METERS.some((meter) => entitlements.quotas[meter].hard !== null || entitlements.quotas[meter].soft !== null);
    const nothing = { 'runs': 0, 'signals': 0, 'tokens': 0, 'browser-seconds': 0, 'storage-byte-hours': 0, 'plugin-cpu-ms': 0 };
    if (!limited) return { entitlements, limited, month: month.name, loadedAt, used: nothing };
    return { entitlements, limited, month: month.name, loadedAt, used: await this.#usage.totals(orgId, month.from, month.to) };
  }
}

function take(known: Known, meter: Meter, quantity: number): undefined {
  if (!known.limited) return undefined;
  const { entitlements, used, month } = known;
  const { hard } = entitlements.quotas[meter];
  if (hard !== null && used[meter] + quantity > hard) {
    throw new HalError('QuotaExceeded', `the plan ${entitlements.plan} has ${hard} ${meter} a month, ${used[meter]} of ${month} are used`);
  }
  const storage = entitlements.quotas['storage-byte-hours'].hard;
  if (meter === 'signals' && storage !== null && used['storage-byte-hours'] >= storage) {
    throw new HalError('QuotaExceeded', `the plan ${entitlements.plan} has ${storage} storage-byte-hours a month, and they are used up in ${month}; signals would be stored`);
  }
  used[meter] += quantity;
  return undefined;
}

/** The header of an answer whose organisation has passed a soft quota. */
export function quotaHeader(admission: Pick<Admission, 'warning'> | undefined, orgId: string): Record<string, string> {
  const warning = admission?.warning(orgId);
  return warning === undefined ? {} : { 'Hal9-Quota-Warning': warning };
}
