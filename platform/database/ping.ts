import type { Database } from '../../database/database.ts';

/** Resolves when PostgreSQL answers a statement of the application role; rejects otherwise. */
export async function pingDatabase(database: Database): Promise<void> {
  await database.appPool.query('select 1');
}
