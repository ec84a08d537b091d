import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Client } from '@temporalio/client';
import type pg from 'pg';

/** Bytes of the words found, whatever their case. @param words lower case. */
export function bytesOf(words: ReadonlySet<string>, text: string): number {
  let bytes = 0;
  // Each word is looked for among the tokens once: a dump has many people in it.
  for (const token of text.toLowerCase().match(/canary[0-9a-f]{14}|77\d{12}/g) ?? []) if (words.has(token)) bytes += token.length;
  return bytes;
}

/** Of all files below a folder but those of the database servers, which are searched through them. */
export async function bytesInFolder(words: ReadonlySet<string>, folder: string): Promise<number> {
  let bytes = 0;
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) bytes += entry.name === 'postgres' ? 0 : await bytesInFolder(words, path);
    else if (entry.isFile()) bytes += bytesOf(words, await readFile(path, 'latin1'));
  }
  return bytes;
}

/** In every event of every run, opened with the keys there are. */
export async function bytesInHistories(words: ReadonlySet<string>, client: Client): Promise<{ bytes: number; runs: number }> {
  let [bytes, runs] = [0, 0];
  const codecs = client.options.loadedDataConverter.payloadCodecs;
  for await (const { workflowId, runId } of client.workflow.list()) {
    const history = await client.workflow.getHandle(workflowId, runId).fetchHistory();
    const payloads: { metadata?: Record<string, Uint8Array> | null; data?: Uint8Array | null }[] = [];
    gather(history, payloads);
    let open = payloads;
    for (const codec of codecs) {
      const opened: typeof payloads = [];
      for (const payload of open) opened.push(...(await codec.decode([payload]).catch(() => [payload])));
      open = opened;
    }
    bytes += bytesOf(words, `${workflowId}\n${open.map(({ data }) => Buffer.from(data ?? []).toString('utf8')).join('\n')}`);
    runs += 1;
  }
  return { bytes, runs };
}

function gather(node: unknown, into: { metadata?: Record<string, Uint8Array> | null; data?: Uint8Array | null }[]): void {
  if (typeof node !== 'object' || node === null || node instanceof Uint8Array) return;
  if ('data' in node && 'metadata' in node && node.data instanceof Uint8Array) into.push(node as { metadata: Record<string, Uint8Array>; data: Uint8Array });
  else for (const value of Array.isArray(node) ? node : Object.values(node)) gather(value, into);
}

/** All rows of the tables that fit the conditions, and all of the others', as the database writes them: how often each is there. */
export async function rowsOf(client: pg.Client, conditions: Readonly<Record<string, string>>): Promise<Map<string, number>> {
  const { rows: tables } = await client.query<{ schema: string; name: string }>("select n.nspname as schema, c.relname as name from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.relkind = 'r' and n.nspname !~ '^pg_' and n.nspname <> 'information_schema' order by 1, 2");
  const found = new Map<string, number>();
  for (const { schema, name } of tables) {
    const { rows } = await client.query<{ row: string }>(`select t::text as row from "${schema}"."${name}" t where ${(schema === 'public' ? conditions[name] : undefined) ?? 'true'}`);
    for (const { row } of rows) found.set(`${schema}.${name} ${row}`, (found.get(`${schema}.${name} ${row}`) ?? 0) + 1);
  }
  return found;
}

/** Rows of one that are not in the other, in either direction. */
export function difference(before: ReadonlyMap<string, number>, after: ReadonlyMap<string, number>): number {
  let differing = 0;
  for (const row of new Set([...before.keys(), ...after.keys()])) differing += Math.abs((before.get(row) ?? 0) - (after.get(row) ?? 0));
  return differing;
}
