import type pg from 'pg';
import type { DecisionRecord, JoinedDecision } from './cascade-commit.ts';

/** Any constant: the class of the advisory locks below. */
const LOCK_CLASS = 4_240_012;
/** Locks are striped, because PostgreSQL keeps advisory locks in shared memory of bounded size. */
const LOCK_STRIPES = 1024;

/**
 * Merges decisions of one neuron with the same key whose event times lie within the cooldown of each other: with those stored
 * before, and among themselves in order of event time. Two batches that decide the same at once wait for each other here.
 * @returns what is left to store, and the earlier decisions that gain causes.
 */
export async function settleCooldowns(client: pg.ClientBase, decisions: readonly DecisionRecord[]): Promise<{ kept: DecisionRecord[]; joins: JoinedDecision[] }> {
  const limited = decisions.filter((decision) => decision.key !== null && decision.cooldownSeconds > 0);
  if (limited.length === 0) return { kept: [...decisions], joins: [] };
  const earlier = await lockAndRead(client, limited);
  const causesOf = new Map<string, string[]>();
  const covered = new Set<string>();
  const replaced = new Map<string, DecisionRecord>();
  for (const decision of limited.toSorted((a, b) => a.timeMs - b.timeMs || a.ordinal - b.ordinal)) {
    const key = dedupKey(decision.neuronId, decision.key ?? '');
    const known = earlier.get(key) ?? [];
    const same = known.find((other) => Math.abs(decision.timeMs - other.timeMs) < decision.cooldownSeconds * 1000);
    if (same === undefined) {
      earlier.set(key, [...known, { id: decision.id, timeMs: decision.timeMs }]);
      replaced.set(decision.id, decision);
      continue;
    }
    covered.add(decision.id);
    const causes = causesOf.get(same.id);
    if (causes === undefined) causesOf.set(same.id, [...decision.causes]);
    else causes.push(...decision.causes);
  }
  const kept = decisions
    .filter((decision) => !covered.has(decision.id))
    .map((decision) => {
      const more = replaced.has(decision.id) ? causesOf.get(decision.id) : undefined;
      if (more === undefined) return decision;
      causesOf.delete(decision.id);
      return { ...decision, causes: [...new Set([...decision.causes, ...more])] };
    });
  return { kept, joins: [...causesOf].map(([decisionId, causes]) => ({ decisionId, causes: [...new Set(causes)] })) };
}

function dedupKey(neuronId: string, key: string): string {
  return `${neuronId}/${key}`;
}

async function lockAndRead(client: pg.ClientBase, decisions: readonly DecisionRecord[]): Promise<Map<string, { id: string; timeMs: number }[]>> {
  const spans = new Map<string, { neuronId: string; key: string; from: number; to: number }>();
  for (const decision of decisions) {
    const key = decision.key ?? '';
    const id = dedupKey(decision.neuronId, key);
    const reach = decision.cooldownSeconds * 1000;
    const span = spans.get(id) ?? { neuronId: decision.neuronId, key, from: Infinity, to: -Infinity };
    span.from = Math.min(span.from, decision.timeMs - reach);
    span.to = Math.max(span.to, decision.timeMs + reach);
    spans.set(id, span);
  }
  await client.query(
    `select pg_advisory_xact_lock(${LOCK_CLASS}, stripe) from (
       select distinct hashtext(hal9_org()::text || k) & ${LOCK_STRIPES - 1} as stripe from unnest($1::text[]) as k order by stripe) as s`,
    [[...spans.keys()]],
  );
  const list = [...spans.values()];
  const { rows } = await client.query<{ neuron_id: string; dedup_key: string; id: string; time_ms: number }>(
    `select d.neuron_id, d.dedup_key, d.id, (extract(epoch from d.event_time) * 1000)::float8 as time_ms
     from unnest($1::uuid[], $2::text[], $3::float8[], $4::float8[]) as k(neuron_id, key, low, high)
     join decisions d on d.org_id = hal9_org() and d.neuron_id = k.neuron_id and d.dedup_key = k.key
       and d.event_time > to_timestamp(k.low / 1000) and d.event_time < to_timestamp(k.high / 1000)
     order by d.event_time`,
    [list.map((span) => span.neuronId), list.map((span) => span.key), list.map((span) => span.from), list.map((span) => span.to)],
  );
  const found = new Map<string, { id: string; timeMs: number }[]>();
  for (const row of rows) {
    const id = dedupKey(row.neuron_id, row.dedup_key);
    const known = found.get(id);
    const entry = { id: row.id, timeMs: row.time_ms };
    if (known === undefined) found.set(id, [entry]);
    else known.push(entry);
  }
  return found;
}
