import pg from 'pg';
import type { Egress } from '../../platform/connections/egress.ts';
import { explainFailure } from '../../platform/connections/failure.ts';
import type { SourceAddress } from '../../platform/privacy/source-address.ts';
import { HalError } from '../../schemas/errors.ts';

/** Longest statement: a scan of a large table. */
const STATEMENT_MS = 30 * 60_000;
const CONNECT_MS = 15_000;

/**
 * Works on a source over one connection, to an address that was checked. Aborting closes it: PostgreSQL takes an open transaction back.
 * @throws {HalError} ExternalCallFailed when it cannot be reached or refuses the account; it names neither.
 */
export async function withPostgres<Answer>(egress: Egress, address: SourceAddress, signal: AbortSignal, work: (client: pg.Client) => Promise<Answer>): Promise<Answer> {
  const { host, port, database, user, password, tls } = address;
  let client: pg.Client | undefined;
  try {
    client = new pg.Client({
      host: await egress.address(host),
      port,
      database,
      user,
      password,
      ssl: tls === 'disable' ? false : { servername: host, rejectUnauthorized: tls === 'verify-full' },
      connectionTimeoutMillis: CONNECT_MS,
      statement_timeout: STATEMENT_MS,
      idle_in_transaction_session_timeout: 10 * 60_000,
      application_name: 'hal9-privacy',
    });
    // A connection that breaks while nobody waits for it: the next query fails, and says so.
    client.on('error', () => undefined);
    await client.connect();
  } catch (error) {
    await client?.end().catch((failure: unknown) => {
      if (!(failure instanceof Error)) throw failure;
    });
    throw new HalError('ExternalCallFailed', whyNot(error), { cause: error });
  }
  const connected = client;
  const abort = (): void => void connected.end();
  signal.addEventListener('abort', abort, { once: true });
  try {
    return await work(connected);
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof HalError) throw error;
    throw new HalError('ExternalCallFailed', error instanceof pg.DatabaseError ? `SQLSTATE ${error.code ?? 'unknown'}` : 'the connection was lost', { cause: error });
  } finally {
    signal.removeEventListener('abort', abort);
    await connected.end().catch((failure: unknown) => {
      // Ended by the other side: nothing is left to end.
      if (!(failure instanceof Error)) throw failure;
    });
  }
}

/** Texts of PostgreSQL name accounts and databases. */
function whyNot(error: unknown): string {
  if (!(error instanceof pg.DatabaseError)) return explainFailure(error).message;
  if (error.code === '28P01' || error.code === '28000') return 'the account was refused';
  return error.code === '3D000' ? 'there is no such database' : `SQLSTATE ${error.code ?? 'unknown'}`;
}
