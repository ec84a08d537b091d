import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { verifyConsistency, verifyInclusion, verifySubtreeConsistency, verifySubtreeInclusion } from '../../../schemas/audit/merkle.ts';
import { outcomeOf, type SetOutcome, type Verdict } from '../vector-set.ts';

/** Integers come as text: some are past 2^53. */
const count = z.string().regex(/^-?\d+$/).transform(BigInt);
const hash = z.string().nullable().transform((text) => Buffer.from(text ?? '', 'base64'));
const proof = z.array(hash).nullable().transform((hashes) => hashes ?? []);
const vector = { wantErr: z.boolean(), proof };

const inclusion = z.object({ ...vector, leafIdx: count, treeSize: count, root: hash, leafHash: hash });
const consistency = z.object({ ...vector, size1: count, size2: count, root1: hash, root2: hash });
const subtreeInclusion = z.object({ ...vector, leafIdx: count, start: count, end: count, root: hash, leafHash: hash });
const subtreeConsistency = z.object({ ...vector, start: count, end: count, size: count, root1: hash, root2: hash });

type Judge = (value: unknown) => { wantErr: boolean; accepted: boolean };

const KINDS: Readonly<Record<string, Judge>> = {
  inclusion: (value) => {
    const { wantErr, leafIdx, ...claim } = inclusion.parse(value);
    return { wantErr, accepted: verifyInclusion({ ...claim, leafIndex: leafIdx }) };
  },
  consistency: (value) => {
    const { wantErr, ...claim } = consistency.parse(value);
    return { wantErr, accepted: verifyConsistency(claim) };
  },
  subtreeinclusion: (value) => {
    const { wantErr, leafIdx, ...claim } = subtreeInclusion.parse(value);
    return { wantErr, accepted: verifySubtreeInclusion({ ...claim, leafIndex: leafIdx }) };
  },
  subtreeconsistency: (value) => {
    const { wantErr, ...claim } = subtreeConsistency.parse(value);
    return { wantErr, accepted: verifySubtreeConsistency(claim) };
  },
};

/** Merkle proofs of transparency logs, a file each. */
export async function merkle(folder: string): Promise<SetOutcome> {
  const verdicts: Verdict[] = [];
  for (const [kind, judge] of Object.entries(KINDS)) {
    const below = join(folder, kind);
    if (!existsSync(below)) continue;
    const files = (await readdir(below, { recursive: true })).filter((file) => file.endsWith('.json')).sort();
    for (const file of files) {
      const { wantErr, accepted } = judge(JSON.parse(quoteIntegers(await readFile(join(below, file), 'utf8'))));
      verdicts.push({ name: `${kind}/${file}`, expected: !wantErr, accepted });
    }
  }
  return outcomeOf(verdicts);
}

/** Puts quotes around the integers of a JSON text, outside of strings. */
function quoteIntegers(json: string): string {
  return json.replace(/"(?:[^"\\]|\\.)*"|-?\d+/g, (token) => (token.startsWith('"') ? token : `"${token}"`));
}
