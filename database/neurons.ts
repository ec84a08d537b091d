import { sql } from 'kysely';
import type { Neuron, NeuronDraft } from '../schemas/neurons/definition.ts';
import type { Layer } from '../schemas/names/layers.ts';
import { recordAct, type Act } from './audit-acts.ts';
import type { Database, Tx } from './database.ts';

/** A neuron as people see it. */
export interface StoredNeuron {
  readonly id: string;
  readonly version: number;
  readonly draft: NeuronDraft;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

export interface NeuronVersion {
  readonly version: number;
  readonly draft: NeuronDraft;
  readonly createdAt: Date;
  /** Id of the API key, or name of the process. */
  readonly createdBy: string;
}

export interface NeuronFilter {
  readonly layer?: Layer;
  readonly kind?: string;
  readonly enabled?: boolean;
}

/** A change that lost against another, or a name that is taken. */
export type ChangeOutcome = { readonly kind: 'changed'; readonly neuron: StoredNeuron } | { readonly kind: 'missing' } | { readonly kind: 'stale'; readonly version: number } | { readonly kind: 'name-taken' };

/** Neurons of an organisation. Each change is a new version and a new generation, by which workers know to compile again. */
export class NeuronStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** By name. `after` is the name of the last neuron of the page before. */
  async list(orgId: string, filter: NeuronFilter, limit: number, after?: string): Promise<StoredNeuron[]> {
    return this.#database.withOrg(orgId, async (tx) => {
      let query = tx.selectFrom('neurons').selectAll().orderBy('name').limit(limit);
      if (after !== undefined) query = query.where('name', '>', after);
      if (filter.layer !== undefined) query = query.where('layer', '=', filter.layer);
      if (filter.kind !== undefined) query = query.where('kind', '=', filter.kind);
      if (filter.enabled !== undefined) query = query.where('enabled', '=', filter.enabled);
      return (await query.execute()).map(stored);
    });
  }

  async find(orgId: string, id: string): Promise<StoredNeuron | undefined> {
    return this.#database.withOrg(orgId, async (tx) => {
      const row = await tx.selectFrom('neurons').selectAll().where('id', '=', id).executeTakeFirst();
      return row === undefined ? undefined : stored(row);
    });
  }

  /** By its name, enabled or not. */
  async named(orgId: string, name: string): Promise<Neuron | undefined> {
    return this.#database.withOrg(orgId, async (tx) => {
      const row = await tx.selectFrom('neurons').selectAll().where('org_id', '=', orgId).where('name', '=', name).executeTakeFirst();
      if (row === undefined) return undefined;
      const { id, version, draft } = stored(row);
      return { ...draft, id, version };
    });
  }

  /** All enabled neurons, as they are compiled. */
  async enabled(orgId: string): Promise<Neuron[]> {
    return this.#database.withOrg(orgId, async (tx) => {
      const rows = await tx.selectFrom('neurons').select(['id', 'version', 'draft']).where('enabled', '=', true).orderBy('id').execute();
      return rows.map((row) => ({ ...row.draft, id: row.id, version: row.version }));
    });
  }

  /** Newest first. */
  async versions(orgId: string, id: string, limit: number): Promise<NeuronVersion[]> {
    return this.#database.withOrg(orgId, async (tx) => {
      const rows = await tx.selectFrom('neuron_versions').selectAll().where('neuron_id', '=', id).orderBy('version', 'desc').limit(limit).execute();
      return rows.map((row) => ({ version: row.version, draft: row.draft, createdAt: row.created_at, createdBy: row.created_by }));
    });
  }

  /** @returns undefined when the name is taken. */
  async create(orgId: string, id: string, draft: NeuronDraft, by: string, act: Act): Promise<StoredNeuron | undefined> {
    const [created] = await this.createMany(orgId, [{ id, draft }], by, act);
    return created;
  }

  /** Creates those whose names are free, in one transaction and one generation. @param act written for each, with its id. */
  async createMany(orgId: string, neurons: readonly { readonly id: string; readonly draft: NeuronDraft }[], by: string, act: Act): Promise<StoredNeuron[]> {
    return this.#database.withOrg(orgId, async (tx) => {
      const created: StoredNeuron[] = [];
      for (const { id, draft } of neurons) {
        const row = await tx
          .insertInto('neurons')
          .values({ org_id: orgId, id, name: draft.name, layer: draft.layer, kind: draft.behaviour.kind, enabled: draft.enabled, version: 1, draft: JSON.stringify(draft) })
          .onConflict((conflict) => conflict.columns(['org_id', 'name']).doNothing())
          .returningAll()
          .executeTakeFirst();
        if (row === undefined) continue;
        await recordVersion(tx, orgId, id, 1, draft, by);
        await recordAct(tx, { ...act, resource: { kind: 'neuron', id } });
        created.push(stored(row));
      }
      if (created.length > 0) await nextGeneration(tx, orgId);
      return created;
    });
  }

  /**
   * Stores a new version.
   * @param expected the version the change was made from; undefined changes whatever is there.
   */
  async change(orgId: string, id: string, expected: number | undefined, change: (draft: NeuronDraft) => NeuronDraft, by: string, act: Act): Promise<ChangeOutcome> {
    return this.#database.withOrg(orgId, async (tx) => {
      const current = await tx.selectFrom('neurons').selectAll().where('id', '=', id).forUpdate().executeTakeFirst();
      if (current === undefined) return { kind: 'missing' };
      if (expected !== undefined && current.version !== expected) return { kind: 'stale', version: current.version };
      const draft = change(current.draft);
      const taken = draft.name === current.name ? undefined : await tx.selectFrom('neurons').select('id').where('name', '=', draft.name).executeTakeFirst();
      if (taken !== undefined) return { kind: 'name-taken' };
      const version = current.version + 1;
      const row = await tx
        .updateTable('neurons')
        .set({ name: draft.name, layer: draft.layer, kind: draft.behaviour.kind, enabled: draft.enabled, version, draft: JSON.stringify(draft), updated_at: sql<Date>`now()` })
        .where('id', '=', id)
        .returningAll()
        .executeTakeFirstOrThrow();
      await recordVersion(tx, orgId, id, version, draft, by);
      await recordAct(tx, { ...act, details: { ...act.details, version } });
      await nextGeneration(tx, orgId);
      return { kind: 'changed', neuron: stored(row) };
    });
  }
}

function stored(row: { id: string; version: number; draft: NeuronDraft; created_at: Date; updated_at: Date }): StoredNeuron {
  return { id: row.id, version: row.version, draft: row.draft, createdAt: row.created_at, updatedAt: row.updated_at };
}

async function recordVersion(tx: Tx, orgId: string, neuronId: string, version: number, draft: NeuronDraft, by: string): Promise<void> {
  await tx.insertInto('neuron_versions').values({ org_id: orgId, neuron_id: neuronId, version, draft: JSON.stringify(draft), created_by: by }).execute();
}

async function nextGeneration(tx: Tx, orgId: string): Promise<void> {
  await tx
    .insertInto('neuron_generations')
    .values({ org_id: orgId, generation: 1 })
    .onConflict((conflict) => conflict.column('org_id').doUpdateSet({ generation: sql<number>`neuron_generations.generation + 1` }))
    .execute();
}
