import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { merkle } from './sets/merkle.ts';
import { saml } from './sets/saml.ts';
import { webhooks } from './sets/webhooks.ts';
import { wycheproof } from './sets/wycheproof.ts';
import type { SetOutcome } from './vector-set.ts';

/** What came of each set; one that is not there has a total of 0. */
export type VectorOutcomes = Record<'saml' | 'wycheproof' | 'merkle' | 'webhooks', SetOutcome>;

/**
 * Runs every set below a folder through the product's code.
 * @throws {Error} when there is no such folder.
 */
export async function verifyVectors(dir: string): Promise<VectorOutcomes> {
  if (!(await stat(dir)).isDirectory()) throw new Error(`${dir} is no folder`);
  return {
    saml: await saml(join(dir, 'saml')),
    wycheproof: await wycheproof(join(dir, 'wycheproof')),
    merkle: await merkle(join(dir, 'merkle')),
    webhooks: await webhooks(join(dir, 'webhooks')),
  };
}
