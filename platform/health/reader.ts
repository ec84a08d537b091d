import type { HealthStore, Recovery } from '../../database/health.ts';
import type { WorkerStore } from '../../database/workers.ts';
import { cascade, overall } from './cascade.ts';
import type { ComponentHealth, ComponentReport, HealthState } from './component.ts';
import { connectionReport, neuronReport } from './organisation.ts';
import { processReports } from './processes.ts';

/** Something this process can ask for itself, now. */
export interface Probe {
  readonly name: string;
  /** Resolves when it answers; rejects or outlasts the signal when not. */
  check(signal: AbortSignal): Promise<void>;
}

export interface HealthPicture {
  readonly state: HealthState;
  readonly components: readonly ComponentHealth[];
  readonly recoveries: readonly Recovery[];
}

const PROBE_MS = 2000;

/**
 * Health as one picture: what monitors recorded of the platform, the heartbeats of its processes, the caller's own connections
 * and neurons that call out, corrected by what this process sees itself, with states cascaded. While the database is away
 * the platform's last picture stands in, and the database is named.
 */
export class HealthReader {
  readonly #store: HealthStore;
  readonly #workers: Pick<WorkerStore, 'list' | 'now'>;
  readonly #probes: readonly Probe[];
  readonly #sickSince = new Map<string, Date>();
  #last: { reports: ComponentReport[]; recoveries: Recovery[] } = { reports: [], recoveries: [] };

  /**
   * @param workers heartbeats of background processes.
   * @param probes asked on every reading; those that answer override what monitors recorded under the same name.
   */
  constructor(store: HealthStore, workers: Pick<WorkerStore, 'list' | 'now'>, probes: readonly Probe[]) {
    this.#store = store;
    this.#workers = workers;
    this.#probes = probes;
  }

  /**
   * @param orgId whose connections and neurons to add; nobody sees those of another organisation.
   * @param recoveries most recoveries to return, newest first.
   */
  async read(orgId: string, recoveries: number): Promise<HealthPicture> {
    const [probed, , own] = await Promise.all([Promise.all(this.#probes.map((probe) => this.#probe(probe))), this.#refresh(recoveries), this.#ofOrganisation(orgId)]);
    const reports = new Map([...this.#last.reports, ...own].map((report) => [report.name, report]));
    for (const { name, sick } of probed) {
      const recorded = reports.get(name);
      if (sick) reports.set(name, { name, kind: recorded?.kind ?? 'dependency', state: 'unhealthy', detail: 'It does not answer the API.', since: this.#sickSince.get(name) ?? new Date(), dependsOn: recorded?.dependsOn ?? [] });
      else if (recorded === undefined) reports.set(name, { name, kind: 'dependency', state: 'healthy', detail: 'It answers.', since: new Date(), dependsOn: [] });
    }
    const components = cascade([...reports.values()].sort((a, b) => a.name.localeCompare(b.name)));
    return { state: overall(components), components, recoveries: this.#last.recoveries };
  }

  async #refresh(limit: number): Promise<void> {
    try {
      const [stored, recoveries, workers, now] = await Promise.all([this.#store.listForPlatform(), this.#store.listRecoveriesForPlatform(limit), this.#workers.list(), this.#workers.now()]);
      const reports = stored.map((report): ComponentReport => {
        const { name, kind, dependsOn, since, state, detail } = report;
        if (!report.stale) return { name, kind, state, detail, since, dependsOn };
        return { name, kind, state: 'unhealthy', detail: `Nothing was heard of it since ${report.reportedAt.toISOString()}.`, since: report.reportedAt, dependsOn };
      });
      this.#last = { reports: [...reports, ...processReports(workers, now)], recoveries };
    } catch {
      // The probe of the database says so; what was known last stands.
    }
  }

  async #ofOrganisation(orgId: string): Promise<ComponentReport[]> {
    try {
      const [connections, neurons] = await Promise.all([this.#store.connections(orgId), this.#store.neurons(orgId)]);
      return [...connections.map(connectionReport), ...neurons.map(neuronReport)];
    } catch {
      // The probe of the database says so; what one organisation has is not kept in memory.
      return [];
    }
  }

  async #probe(probe: Probe): Promise<{ name: string; sick: boolean }> {
    const limit = new AbortController();
    const late = Promise.withResolvers<boolean>();
    const timer = setTimeout(() => {
      late.resolve(true);
      limit.abort();
    }, PROBE_MS);
    const answered = probe.check(limit.signal).then(
      () => false,
      () => true,
    );
    const sick = await Promise.race([answered, late.promise]);
    clearTimeout(timer);
    if (!sick) this.#sickSince.delete(probe.name);
    else if (!this.#sickSince.has(probe.name)) this.#sickSince.set(probe.name, new Date());
    return { name: probe.name, sick };
  }
}
