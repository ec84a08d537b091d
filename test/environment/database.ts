import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { inject } from 'vitest';
import { Database } from '../../database/database.ts';
import { migrate } from '../../database/migrate.ts';
import { OrganisationStore } from '../../database/organisations.ts';

export interface TestDatabase {
  /** Owner connection string. */
  url: string;
  database: Database;
  /** Creates an organisation and returns its id. */
  organisation(name?: string): Promise<string>;
  drop(): Promise<void>;
}

/** A migrated database of one's own on the suite's server. Call `drop` in `afterAll`. */
export async function createTestDatabase(): Promise<TestDatabase> {
  const server = inject('postgresUrl');
  const name = `test_${randomUUID().replaceAll('-', '')}`;
  await administrate(server, `create database ${name}`);
  const url = new URL(server);
  url.pathname = `/${name}`;
  await migrate(url.href);
  const database = new Database({ url: url.href, poolSize: 8, applicationName: 'hal9-test' });
  return {
    url: url.href,
    database,
    async organisation(title = 'test') {
      const orgId = randomUUID();
      await new OrganisationStore(database).create({ orgId, name: title });
      return orgId;
    },
    async drop() {
      await database.close();
      await administrate(server, `drop database ${name} with (force)`);
    },
  };
}

async function administrate(server: string, statement: string): Promise<void> {
  const client = new pg.Client({ connectionString: server });
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}
