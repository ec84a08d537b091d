import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { JwsError, verifyJws } from '../../../platform/identity/jws.ts';
import { outcomeOf, type SetOutcome, type Verdict } from '../vector-set.ts';

const file = z.object({
  testGroups: z.array(
    z.object({
      public: z.unknown().optional(),
      private: z.unknown().optional(),
      tests: z.array(z.object({ tcId: z.int(), comment: z.string(), jws: z.unknown(), result: z.enum(['valid', 'invalid']), flags: z.array(z.string()).default([]) })),
    }),
  ),
});
type Test = z.output<typeof file>['testGroups'][number]['tests'][number];

const FILES = ['json_web_signature_test.json', 'json_web_key_test.json'];
const ALGORITHM = /^([HRP]S(256|384|512)|ES(256|384|512)|EdDSA)$/;

/** JSON Web Signatures and Keys. */
export async function wycheproof(folder: string): Promise<SetOutcome> {
  const verdicts: Verdict[] = [];
  const disputed: string[] = [];
  let leftOut = 0;
  for (const name of FILES) {
    if (!existsSync(join(folder, name))) continue;
    const { testGroups } = file.parse(JSON.parse(await readFile(join(folder, name), 'utf8')));
    const valid = new Set(testGroups.flatMap((group) => group.tests.filter((test) => test.result === 'valid').map((test) => JSON.stringify([test.jws, keyOf(group)]))));
    for (const group of testGroups) {
      const key = keyOf(group);
      for (const test of group.tests) {
        const label = `${name} ${test.tcId} ${test.comment}`;
        const dispute = disputeOf(test, key, valid);
        if (dispute !== undefined) disputed.push(`${label}: ${dispute}`);
        // HAL9 declines JSON serialization.
        else if (test.result === 'valid' && (test.flags.includes('JsonSerialization') || typeof test.jws !== 'string')) leftOut += 1;
        else verdicts.push({ name: label, expected: test.result === 'valid', accepted: await accepts(test.jws, key) });
      }
    }
  }
  return { ...outcomeOf(verdicts), ...(leftOut === 0 ? {} : { leftOut }), ...(disputed.length === 0 ? {} : { disputed }) };
}

function keyOf(group: { public?: unknown; private?: unknown }): unknown {
  return group.public ?? group.private;
}

/** Why no implementation can be right: the vector contradicts another one, or the rules of the set itself. */
function disputeOf(test: Test, key: unknown, valid: ReadonlySet<string>): string | undefined {
  if (typeof test.jws !== 'string') return undefined;
  if (test.result === 'invalid') return valid.has(JSON.stringify([test.jws, key])) ? 'the same text with the same key is valid in another vector' : undefined;
  if (/[^A-Za-z0-9_.-]/.test(test.jws)) return 'valid, though it is no base64url';
  const algorithms = algorithmsOf(key);
  const algorithm = headerAlgorithm(test.jws);
  return algorithms.length > 0 && algorithm !== undefined && !algorithms.includes(algorithm) ? "valid, though its algorithm is not the key's" : undefined;
}

/** Algorithms that the keys are for, if each says one that there is. */
function algorithmsOf(key: unknown): string[] {
  const keys: unknown[] = typeof key === 'object' && key !== null && 'keys' in key && Array.isArray(key.keys) ? key.keys : [key];
  const named = keys.map((one) => (typeof one === 'object' && one !== null && 'alg' in one ? String(one.alg) : ''));
  return named.every((name) => ALGORITHM.test(name)) ? named : [];
}

function headerAlgorithm(jws: string): string | undefined {
  try {
    const header: unknown = JSON.parse(Buffer.from(jws.split('.')[0] ?? '', 'base64url').toString('utf8'));
    return typeof header === 'object' && header !== null && 'alg' in header ? String(header.alg) : undefined;
  } catch {
    return undefined; // whether that is refused is for the product to say
  }
}

async function accepts(jws: unknown, key: unknown): Promise<boolean> {
  try {
    await verifyJws(typeof jws === 'string' ? jws : JSON.stringify(jws), key);
    return true;
  } catch (error) {
    if (error instanceof JwsError) return false;
    throw error;
  }
}
