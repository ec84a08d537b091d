import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { inject } from 'vitest';
import { readCatalog, sampleColumns } from '../../activities/privacy/postgres-catalog.ts';
import { readAnnotations } from '../../platform/privacy/annotation-file.ts';
import { makeDataMap, reportOf, type DataMap, type DataMapReport } from '../../platform/privacy/data-map.ts';

/** A foreign database with these tables, for one test. */
export async function withSchema<Answer>(sql: string, use: (client: pg.Client, url: string) => Promise<Answer>): Promise<Answer> {
  const server = new pg.Client({ connectionString: inject('postgresUrl') });
  await server.connect();
  const name = `foreign_${randomUUID().replaceAll('-', '')}`;
  try {
    await server.query(`create database ${name}`);
    const url = new URL(inject('postgresUrl'));
    url.pathname = `/${name}`;
    const client = new pg.Client({ connectionString: url.href });
    await client.connect();
    try {
      await client.query(sql);
      return await use(client, url.href);
    } finally {
      await client.end();
      await server.query(`drop database ${name} with (force)`);
    }
  } finally {
    await server.end();
  }
}

/** The map of a schema with HAL9's or Fides' annotations. */
export async function mapOf(sql: string, annotations: string): Promise<DataMapReport & { map: DataMap }> {
  return withSchema(sql, async (client) => {
    const catalog = await readCatalog(client);
    const read = readAnnotations(annotations);
    const tables = [...makeDataMap(catalog, read).schema.tables.values()];
    const samples = await sampleColumns(client, tables.map(({ id, relation }) => ({ id, relation, columns: relation.columns })));
    const map = makeDataMap(catalog, read, samples);
    return { ...reportOf(map), map };
  });
}
