import { quoted, quotedRelation } from '../../platform/privacy/catalog.ts';
import type { DataMap } from '../../platform/privacy/data-map.ts';
import { holdsParent, type ExpiringTable } from '../../platform/privacy/retention-plan.ts';
import type { Constraint } from '../../platform/privacy/references.ts';
import type { RowSet } from '../privacy/postgres-rows.ts';

/** Rows that legal holds on people keep, by table; of the transaction they were found in. */
export type HeldRows = ReadonlyMap<string, RowSet>;

/**
 * Which rows go: their time is over, no hold keeps them, and no row points at them that stays. The same condition counts in a dry run and
 * deletes in a real one, so both agree: a row that itself goes in the same run does not hold the one it points at. One for each statement: it
 * gathers its parameters.
 */
export class ExpiredRows {
  readonly #map: DataMap;
  readonly #expiring: ReadonlyMap<string, ExpiringTable>;
  readonly #held: HeldRows;
  readonly parameters: unknown[] = [];
  readonly #places = new Map<string, string>();
  #aliases = 0;

  constructor(map: DataMap, tables: readonly ExpiringTable[], held: HeldRows) {
    this.#map = map;
    this.#expiring = new Map(tables.map((table) => [table.table.id, table]));
    this.#held = held;
  }

  /** Rows of the alias that go. */
  deletable(expiring: ExpiringTable, alias: string): string {
    return [this.#base(expiring, alias, new Set()), ...this.#ofItself(expiring, alias)].join(' and ');
  }

  /** {@link deletable}, and nothing points at them any more: those can be deleted in portions. */
  free(expiring: ExpiringTable, alias: string): string {
    const own = this.#selfReferences(expiring).map((constraint) => {
      const child = this.#alias();
      return `not exists (select from ${quotedRelation(expiring.table.relation)} ${child} where ${joined(constraint, child, alias)} and (${child}.tableoid, ${child}.ctid) is distinct from (${alias}.tableoid, ${alias}.ctid))`;
    });
    return [this.deletable(expiring, alias), ...own].join(' and ');
  }

  /** Whether {@link free} and {@link deletable} may differ. */
  nests(expiring: ExpiringTable): boolean {
    return this.#selfReferences(expiring).length > 0;
  }

  expired(expiring: ExpiringTable, alias: string): string {
    return expiredAt(expiring, alias);
  }

  /** Expired rows of people under a hold. */
  held(expiring: ExpiringTable, alias: string): string {
    return `${expiredAt(expiring, alias)} and not (${this.#notHeld(expiring.table.id, alias)})`;
  }

  #base(expiring: ExpiringTable, alias: string, above: ReadonlySet<string>): string {
    const { table } = expiring;
    const inside = new Set([...above, table.id]);
    const children = this.#map.constraints
      .filter((constraint) => constraint.parent === table && constraint.child !== table && holdsParent(constraint))
      .map((constraint) => {
        const child = this.#alias();
        const own = inside.has(constraint.child.id) ? undefined : this.#expiring.get(constraint.child.id);
        const stays = own === undefined ? '' : ` and not coalesce(${[this.#base(own, child, inside), ...this.#ofItself(own, child)].join(' and ')}, false)`;
        return `not exists (select from ${quotedRelation(constraint.child.relation)} ${child} where ${joined(constraint, child, alias)}${stays})`;
      });
    return [expiredAt(expiring, alias), this.#notHeld(table.id, alias), ...children].join(' and ');
  }

  /** No row of the same table that stays points here, over however many others. */
  #ofItself(expiring: ExpiringTable, alias: string): string[] {
    const relation = quotedRelation(expiring.table.relation);
    return this.#selfReferences(expiring).map((constraint) => {
      const [child, next, below] = [this.#alias(), this.#alias(), this.#alias()];
      const targets = constraint.key.targetColumns;
      const keys = (of: string): string => targets.map((column) => `${of}.${quoted(column)}`).join(', ');
      const stays = (of: string): string => `not coalesce(${this.#base(expiring, of, new Set())}, false)`;
      const step = constraint.key.columns.map((column, at) => `${next}.${quoted(column)} = ${below}.k${at}`).join(' and ');
      return `not exists (with recursive ${below} (${targets.map((_, at) => `k${at}`).join(', ')}, stays) as (
        select ${keys(child)}, ${stays(child)} from ${relation} ${child} where ${joined(constraint, child, alias)}
        union select ${keys(next)}, ${stays(next)} from ${relation} ${next} join ${below} on ${step}) select from ${below} where stays)`;
    });
  }

  #selfReferences({ table }: ExpiringTable): Constraint[] {
    return this.#map.constraints.filter((constraint) => constraint.parent === table && constraint.child === table && holdsParent(constraint));
  }

  #notHeld(id: string, alias: string): string {
    const held = this.#held.get(id);
    if (held === undefined || held.size === 0) return 'true';
    let place = this.#places.get(id);
    if (place === undefined) {
      this.parameters.push(...held.parameters);
      place = `$${this.parameters.length - 1}::oid[], $${this.parameters.length}::tid[]`;
      this.#places.set(id, place);
    }
    return `(${alias}.tableoid, ${alias}.ctid) not in (select * from unnest(${place}))`;
  }

  #alias(): string {
    this.#aliases += 1;
    return `r${this.#aliases}`;
  }
}

function expiredAt({ since, cutoff }: ExpiringTable, alias: string): string {
  // The session's time zone is UTC.
  return `${alias}.${quoted(since.name)} < timestamptz '${cutoff.toISOString()}'::${since.baseType}`;
}

function joined({ key }: Constraint, child: string, parent: string): string {
  return key.columns.map((column, at) => `${child}.${quoted(column)} = ${parent}.${quoted(key.targetColumns[at] ?? '')}`).join(' and ');
}
