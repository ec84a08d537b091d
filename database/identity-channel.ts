import { sql } from 'kysely';
import type { Tx } from './database.ts';

/**
 * PostgreSQL channel on which an organisation's id is announced when its users, teams, members, roles, bindings, sessions or the
 * organisation itself changed. Who caches what was derived from them forgets everything that depends on that organisation: of its own
 * people and keys, and of the organisations below it, whose rights and suspension come from above too (`GrantSet.line`,
 * `ApiKeyRecord.line` name every organisation a cached thing rests on).
 */
export const IDENTITY_CHANNEL = 'hal9_identity';

/** Tells every process when the transaction commits; several times in one transaction is told once. */
export async function announceIdentity(tx: Tx, orgId: string): Promise<void> {
  await sql`select pg_notify(${IDENTITY_CHANNEL}, ${orgId})`.execute(tx);
}
