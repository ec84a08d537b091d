import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import type { Stack } from '../../../deploy/local/stack.ts';
import { makeDatabaseBeside, type Ask } from '../../environment/stack-client.ts';
import { fillSubjects, shopSchema } from './subjects.ts';

export const erasureSchema = z.object({ id: z.uuid(), state: z.string(), reasons: z.array(z.string()), tables: z.array(z.object({ source: z.string(), table: z.string(), rows: z.int() })) });

/** A database beside HAL9's own with so many people. @returns its address and its annotations. */
export async function openShop(stack: Stack, subjects: number): Promise<{ url: URL; annotations: string; tables: number }> {
  const { sql, annotations, tables } = await shopSchema();
  const url = await makeDatabaseBeside(stack, 'shop', async (source) => {
    await source.query(sql);
    await fillSubjects(source, subjects);
    await source.query('analyze');
  });
  return { url, annotations, tables };
}

/** Asks for an erasure. @returns its id. */
export async function forget(ask: Ask, email: string): Promise<string> {
  return z.object({ id: z.uuid() }).parse(await ask('POST', '/v1/privacy/erasures', { identities: { email: [email] }, verification: 'a bench' })).id;
}

/** Waits until it is complete. @throws {Error} with its reasons when it does not get there in time. */
export async function completed(ask: Ask, id: string, withinMs: number, pauseMs = 200): Promise<z.infer<typeof erasureSchema>> {
  for (const until = Date.now() + withinMs; ; ) {
    const erasure = erasureSchema.parse(await ask('GET', `/v1/privacy/erasures/${id}`));
    if (erasure.state === 'complete') return erasure;
    if (Date.now() > until) throw new Error(`an erasure is ${erasure.state}: ${erasure.reasons.join('; ')}`);
    await sleep(pauseMs);
  }
}
