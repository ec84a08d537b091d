import { createHash } from 'node:crypto';
import pg, { type ClientBase } from 'pg';
import { HalError } from '../../schemas/errors.ts';

/** Attempts of a transaction that others got in the way of. */
const ATTEMPTS = 8;
/** Serialization failure, deadlock, lock not available: the same transaction may succeed a moment later. */
const IN_THE_WAY = new Set(['40001', '40P01', '55P03']);

/**
 * Works in one transaction that sees one snapshot, again when others get in its way.
 * @param what is done, for what is told when the database refuses.
 * @throws {HalError} Conflict naming what refused, without any value; `pg` errors when the database is away.
 */
export async function inTransaction<Answer>(client: ClientBase, end: 'commit' | 'rollback', what: 'erasure' | 'change', work: () => Promise<Answer>): Promise<Answer> {
  for (let attempt = 1; ; attempt += 1) {
    await client.query("begin transaction isolation level repeatable read; set local lock_timeout = '10s'; set local datestyle = 'ISO, YMD'; set local intervalstyle = 'postgres'");
    try {
      const answer = await work();
      await client.query(end);
      return answer;
    } catch (error) {
      await client.query('rollback').catch((failure: unknown) => {
        // The connection is gone, and the transaction with it.
        if (!(failure instanceof Error)) throw failure;
      });
      if (!(error instanceof pg.DatabaseError)) throw error;
      if (IN_THE_WAY.has(error.code ?? '') && attempt < ATTEMPTS) continue;
      throw refusalOf(error, what) ?? error;
    }
  }
}

/** No two transactions of the same fence run at once. */
export async function takeFence(client: ClientBase, fence: string): Promise<void> {
  await client.query('select pg_advisory_xact_lock($1::bigint)', [createHash('sha256').update(fence).digest().readBigInt64BE(0).toString()]);
}

/** What a database refuses for good, in words of its schema: its own message may show values. */
function refusalOf(error: pg.DatabaseError, what: 'erasure' | 'change'): HalError | undefined {
  const where = [error.table === undefined ? undefined : `${error.schema ?? ''}.${error.table}`, error.column, error.constraint].filter((part) => part !== undefined).join(', ');
  const kinds: Readonly<Record<string, string>> = { '23': `a constraint refuses the ${what}`, '42': 'the account may not do it, or the schema changed', '22': `a ${what === 'erasure' ? 'masked' : 'corrected'} value does not fit`, P0: `a trigger refuses the ${what}`, '25': 'the database is read-only' };
  const kind = kinds[(error.code ?? '').slice(0, 2)];
  return kind === undefined ? undefined : new HalError('Conflict', `${kind}: ${where === '' ? '' : `${where}: `}SQLSTATE ${error.code ?? ''}`);
}
