import type { Logger } from 'pino';
import { Counter, type Registry } from 'prom-client';
import { AuditActStore, type Act } from '../../database/audit-acts.ts';
import type { Database } from '../../database/database.ts';

/** How long refusals of one kind are counted before the next act about them, ms. */
const STRETCH_MS = 10_000;
/** Kinds of refusals counted at once; beyond it each is written. */
const MOST_KINDS = 10_000;

interface Stretch {
  readonly timer: NodeJS.Timeout;
  last: Act;
  repeated: number;
}

/**
 * Writes acts that have no transaction of their own. Refusals of one actor by one route are written at once the first time, then as one
 * act for each ten seconds with their number: whoever is refused a thousand times a second must not fill the log.
 */
export class ActWriter {
  readonly #store: AuditActStore;
  readonly #logger: Logger;
  readonly #missing: Counter;
  readonly #lost: Counter;
  readonly #stretches = new Map<string, Stretch>();
  readonly #writing = new Set<Promise<void>>();

  constructor(database: Database, logger: Logger, registry: Registry) {
    this.#store = new AuditActStore(database);
    this.#logger = logger;
    const registers = [registry];
    this.#missing = new Counter({ name: 'hal9_audit_missing_total', help: 'Requests that changed something and wrote no act.', labelNames: ['route'], registers });
    this.#lost = new Counter({ name: 'hal9_audit_lost_refusals_total', help: 'Acts about refused requests that could not be written.', registers });
  }

  /** @throws when it cannot be written: what must not happen unseen does not happen. */
  async record(act: Act): Promise<void> {
    await this.#store.record(act);
  }

  /** Notes a refused request; never fails and never waits. */
  refused(act: Act): void {
    const kind = [act.orgId, act.actor.kind, act.actor.id, act.action, act.details['type'], act.details['route']].join(' ');
    const stretch = this.#stretches.get(kind);
    if (stretch !== undefined) {
      stretch.last = act;
      stretch.repeated++;
      return;
    }
    this.#write(act);
    if (this.#stretches.size >= MOST_KINDS) return;
    const timer = setTimeout(() => this.#end(kind), STRETCH_MS);
    timer.unref();
    this.#stretches.set(kind, { timer, last: act, repeated: 0 });
  }

  /** A route said that it writes an act, succeeded, and wrote none. */
  missing(route: string): void {
    this.#missing.inc({ route });
    this.#logger.error({ route }, 'a request changed something and wrote no act');
  }

  /** Writes what was counted. */
  async close(): Promise<void> {
    for (const [kind, { timer }] of this.#stretches) {
      clearTimeout(timer);
      this.#end(kind);
    }
    await Promise.all(this.#writing);
  }

  #end(kind: string): void {
    const stretch = this.#stretches.get(kind);
    this.#stretches.delete(kind);
    if (stretch !== undefined && stretch.repeated > 0) this.#write({ ...stretch.last, details: { ...stretch.last.details, repeated: stretch.repeated } });
  }

  #write(act: Act): void {
    const writing = this.#store
      .record(act)
      .catch((error: unknown) => {
        this.#lost.inc();
        this.#logger.warn({ err: error, action: act.action }, 'a refusal was not written down');
      })
      .finally(() => this.#writing.delete(writing));
    this.#writing.add(writing);
  }
}
