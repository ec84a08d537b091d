import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join, relative, resolve, sep } from 'node:path';
import { z } from 'zod';
import { assertTimely } from '../../../platform/identity/saml-assertion.ts';
import { SamlRefusal } from '../../../platform/identity/saml-refusal.ts';
import { verifyResponse } from '../../../platform/identity/saml-response.ts';
import { outcomeOf, type SetOutcome, type Verdict } from '../vector-set.ts';

const cases = z.array(
  z.object({
    name: z.string(),
    file: z.string(),
    expected: z.enum(['accept', 'reject']),
    options: z.object({ wantAuthnResponseSigned: z.boolean().default(true), wantAssertionsSigned: z.boolean().default(true), verifyWith: z.string().default('idp-certificate.pem') }),
    clock: z.string().nullable(),
  }),
);

/** Signed SAML responses. Their provider signs with SHA-1 in places, which only this set allows. */
export async function saml(folder: string): Promise<SetOutcome> {
  const list = join(folder, 'cases.json');
  if (!existsSync(list)) return outcomeOf([]);
  const verdicts: Verdict[] = [];
  for (const one of cases.parse(JSON.parse(await readFile(list, 'utf8')))) {
    verdicts.push({ name: `${one.name} (${one.file})`, expected: one.expected === 'accept', accepted: await accepts(folder, one) });
  }
  return outcomeOf(verdicts);
}

async function accepts(folder: string, one: z.output<typeof cases>[number]): Promise<boolean> {
  const [xml, certificate] = await Promise.all([readFile(inside(folder, one.file), 'utf8'), readFile(inside(folder, one.options.verifyWith), 'utf8')]);
  try {
    const { assertion } = await verifyResponse(xml, {
      certificates: [certificate],
      wantResponseSigned: one.options.wantAuthnResponseSigned,
      wantAssertionsSigned: one.options.wantAssertionsSigned,
      allowSha1: true,
    });
    if (one.clock !== null) assertTimely(assertion, new Date(one.clock), 0);
    return true;
  } catch (error) {
    if (error instanceof SamlRefusal) return false;
    throw error;
  }
}

/** @throws {Error} for a path that leaves the folder. */
function inside(folder: string, file: string): string {
  const path = resolve(folder, file);
  if (relative(folder, path).split(sep)[0] === '..') throw new Error(`${file} is outside the folder of the vectors`);
  return path;
}
