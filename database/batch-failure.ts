import type { Database } from './database.ts';
import { LANES_CHANNEL } from './cascade-commit.ts';

/**
 * Gives a batch up: every signal of it becomes a dead letter with the cause, and its lane is free again. A batch that is decided
 * already stays so.
 * @param cause plain words, without data of signals.
 * @returns dead letters written.
 */
export async function failBatch(database: Database, orgId: string, batchId: string, failure: string, cause: string): Promise<number> {
  return database.withOrgClient(orgId, async (client) => {
    const { rows } = await client.query<{ letters: number }>(
      `with failed as (
         update batches set state = 'failed', failure = $2, decided_at = clock_timestamp(), dead_letters = dead_letters + signals
         where org_id = hal9_org() and id = $1 and state = 'open' returning id, lane
       ), letters as (
         insert into dead_letters (org_id, id, batch_id, layer, ref, failure, cause)
         select hal9_org(), overlay(overlay(md5($1::uuid::text || s.key::text) placing '8' from 13) placing 'a' from 17)::uuid, $1, 'L2', s.key, $3, $2
         from failed, chunks c join signals s on s.org_id = c.org_id and s.received_on = c.received_on and s.chunk_id = c.id
         where c.org_id = hal9_org() and c.batch_id = $1 on conflict do nothing returning 1
       ), freed as (
         update lanes l set open_batch = null from failed f where l.org_id = hal9_org() and l.lane = f.lane and l.open_batch = f.id returning l.lane
       ) select (select count(*) from letters)::int as letters, (select pg_notify('${LANES_CHANNEL}', hal9_org()::text || ':' || lane) from freed)`,
      [batchId, cause, failure],
    );
    return rows[0]?.letters ?? 0;
  });
}
