import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { EVIDENCE_QUERIES } from '../../database/evidence.ts';
import { shownByQuery } from '../../platform/compliance/collection.ts';
import { CONTROLS, FRAMEWORKS, LEFT_TO_YOU } from '../../platform/compliance/controls.ts';

const ROOT = join(import.meta.dirname, '../..');
const CLAUSE = { 'SOC 2': /^(CC[1-9]\.\d|A1\.[1-3]|C1\.[12]|PI1\.[1-5]|P[1-8]\.\d)$/, 'ISO 27001': /^A\.[5-8]\.\d{1,2}$/, 'GDPR': /^Art\. \d{1,2}(\(\d\))?(\([a-z]\))?$/ } as const;

describe('the control map', () => {
  it.each(CONTROLS.map((control) => [control.id, control] as const))('%s names clauses, and what shows it exists', async (_id, control) => {
    expect(control.tests.length).toBeGreaterThan(0);
    for (const file of control.tests) await access(join(ROOT, file));
    for (const query of control.queries) expect(EVIDENCE_QUERIES).toContain(query);
    expect(Object.keys(control.clauses).length).toBeGreaterThan(0);
    for (const framework of FRAMEWORKS) for (const clause of control.clauses[framework] ?? []) expect(clause).toMatch(CLAUSE[framework]);
  });

  it('has each id once and leaves no query without a control', () => {
    expect(new Set(CONTROLS.map(({ id }) => id)).size).toBe(CONTROLS.length);
    expect(new Set(CONTROLS.flatMap(({ queries }) => queries))).toEqual(new Set(EVIDENCE_QUERIES));
    for (const framework of FRAMEWORKS) expect(LEFT_TO_YOU[framework].length).toBeGreaterThan(0);
  });

  it('refuses ids that no query shows', () => {
    expect(shownByQuery(['tenant-isolation']).map(({ id }) => id)).toEqual(['tenant-isolation']);
    expect(() => shownByQuery(['encryption-at-rest'])).toThrow('no query shows encryption-at-rest');
  });
});
