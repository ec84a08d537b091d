import pg from 'pg';
import type { Stack } from '../../deploy/local/stack.ts';

/** One call of the API. @throws {Error} with its answer when that is none of success. */
export type Ask = (method: string, path: string, body?: unknown) => Promise<unknown>;

const ANSWER_MS = 120_000;

/** Calls the API of a new stack as its first administrator. */
export function askAsAdministrator(stack: Stack, signal: AbortSignal): Ask {
  const apiKey = stack.first?.apiKey;
  if (apiKey === undefined) throw new Error('the stack is not new');
  return async (method, path, body) => {
    const answer = await fetch(`${stack.url}${path}`, { method, headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' }, signal: AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS)]), ...(body === undefined ? {} : { body: JSON.stringify(body) }) });
    if (!answer.ok) throw new Error(`${method} ${path} answered ${String(answer.status)}: ${await answer.text()}`);
    return answer.json();
  };
}

/** Makes a database on the server of the stack's own. @param fill puts into it what it shall hold. @returns its address. */
export async function makeDatabaseBeside(stack: Stack, name: string, fill: (client: pg.Client) => Promise<void>): Promise<URL> {
  await connected(stack.databaseUrl, (client) => client.query(`create database ${name}`));
  const url = new URL(stack.databaseUrl);
  url.pathname = `/${name}`;
  await connected(url.href, fill);
  return url;
}

async function connected(connectionString: string, work: (client: pg.Client) => Promise<unknown>): Promise<void> {
  const client = new pg.Client({ connectionString });
  await client.connect();
  try {
    await work(client);
  } finally {
    await client.end();
  }
}
