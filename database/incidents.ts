import type { Database } from './database.ts';

/** Emissions of this type, by whichever neuron, tell an incident's story under `data.incidentId`. */
const INCIDENT_TYPE = 'hal9.incident';
/** Most recent emissions a list looks through. */
const SCAN_EMISSIONS = 5000;

export interface StoredIncident {
  readonly id: string;
  readonly severity: string;
  readonly subject: string | null;
  readonly openedAt: Date;
  readonly updatedAt: Date;
  /** Of its latest emission. */
  readonly data: Readonly<Record<string, unknown>>;
  readonly emissions: readonly string[];
  readonly decisions: readonly { readonly id: string; readonly summary: string; readonly reason: string; readonly severity: string; readonly state: string; readonly runId: string | null; readonly createdAt: Date }[];
}

interface IncidentRow {
  id: string;
  severity: string;
  subject: string | null;
  opened_at: Date;
  updated_at: Date;
  data: Record<string, unknown>;
  emissions: string[];
}

interface DecisionRow {
  id: string;
  summary: string;
  reason: string;
  severity: string;
  state: string;
  run_id: string | null;
  created_at: Date;
  causes: string[];
}

/** Incidents: what correlators opened, gathered from their emissions. */
export class IncidentStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** Latest change first, of the last {@link SCAN_EMISSIONS} emissions. */
  async list(orgId: string, limit: number): Promise<StoredIncident[]> {
    return this.#database.withOrgClient(orgId, async (client) => {
      const { rows } = await client.query<IncidentRow>(
        `with recent as (
           select id, type, subject, severity, event_time, created_at, ordinal, data from emissions
           where org_id = hal9_org() and type = $1 and layer <> 'L2' and data ? 'incidentId' order by created_at desc limit $2
         ) select data->>'incidentId' as id, (array_agg(severity order by event_time desc, created_at desc, ordinal desc))[1] as severity,
             (array_agg(subject order by event_time desc, created_at desc, ordinal desc))[1] as subject, min(event_time) as opened_at, max(event_time) as updated_at,
             (array_agg(data order by created_at desc, event_time desc, ordinal desc))[1] as data, array_agg(id order by event_time) as emissions
           from recent group by data->>'incidentId' order by max(created_at) desc, 1 limit $3`,
        [INCIDENT_TYPE, SCAN_EMISSIONS, limit],
      );
      const { rows: decisions } = await client.query<DecisionRow>(
        `select id, summary, reason, severity, state, run_id, created_at, causes from decisions
         where org_id = hal9_org() and causes && $1::uuid[] order by created_at`,
        [rows.flatMap((row) => row.emissions)],
      );
      return rows.map((row) => ({
        id: row.id,
        severity: row.severity,
        subject: row.subject,
        openedAt: row.opened_at,
        updatedAt: row.updated_at,
        data: row.data,
        emissions: row.emissions,
        decisions: decisions
          .filter((decision) => decision.causes.some((cause) => row.emissions.includes(cause)))
          .map(({ id, summary, reason, severity, state, run_id: runId, created_at: createdAt }) => ({ id, summary, reason, severity, state, runId, createdAt })),
      }));
    });
  }
}
