import { z } from 'zod';
import { CONSENT_STATES } from '../rest/consents.ts';

/** What may change of a person's data in all systems: wrong values (Art. 16 GDPR), a consent (Art. 7), whether it may be used at all (Art. 18). */
export const CHANGE_KINDS = ['rectification', 'consent', 'restriction'] as const;
export type ChangeKind = (typeof CHANGE_KINDS)[number];

/**
 * `requested`: nothing happened yet; `blocked`: something stands in the way, see the reasons; `changing`; `complete`: looked at again and found
 * as it should be; `superseded`: a later change of the same took its place, or the person was erased.
 */
export const CHANGE_STATES = ['requested', 'blocked', 'changing', 'complete', 'superseded'] as const;
export type ChangeState = (typeof CHANGE_STATES)[number];

const text = z.string().max(2_000);
const place = z.string().min(1).max(200);

/** One value that was wrong. */
export const correction = z
  .strictObject({
    category: z.string().regex(/^[a-z0-9_]+(\.[a-z0-9_]+)*$/i, 'a category is words joined by dots, e.g. user.contact.email').max(200).describe('As the annotations name it: every field of this category that is the person\'s is corrected.'),
    value: text.nullable().describe('The right one, as text; null where there is none.'),
    was: text.min(1).optional().describe('Only fields that hold this value, whatever its case. Needed where the person has several different ones in one column.'),
    source: place.optional().describe('Only in this source.'),
    table: place.optional().describe('Only in this table or kind of record, as the annotations name it.'),
    column: place.optional().describe('Only in this column; members of JSON as `column.member`.'),
  })
  .meta({ id: 'Correction' });
export type Correction = z.infer<typeof correction>;

const corrections = z
  .array(correction)
  .min(1)
  .max(50)
  .refine((all) => new Set(all.map(({ category, was, source, table, column }) => JSON.stringify([category, was, source, table, column]))).size === all.length, 'two corrections of the same fields');
export const rectificationChange = z.strictObject({ kind: z.literal('rectification'), corrections }).meta({ id: 'RectificationChange' });
export const restrictionChange = z.strictObject({ kind: z.literal('restriction'), state: z.enum(['on', 'off']).describe('`on`: kept, and not used for anything else; `off`: lifted again.') }).meta({ id: 'RestrictionChange' });
const consentChange = z.strictObject({ kind: z.literal('consent'), purpose: z.string().regex(/^[a-z][a-z0-9-]{0,63}$/), state: z.enum(CONSENT_STATES) }).meta({ id: 'ConsentChange' });

export const subjectChange = z.discriminatedUnion('kind', [rectificationChange, consentChange, restrictionChange]);
export type SubjectChange = z.infer<typeof subjectChange>;

/** What a change is about, without a value: categories, the purpose, or `processing`. */
export function topicsOf(change: SubjectChange): string[] {
  switch (change.kind) {
    case 'rectification':
      return [...new Set(change.corrections.map(({ category }) => category))].toSorted();
    case 'consent':
      return [change.purpose];
    case 'restriction':
      return ['processing'];
    default:
      return change satisfies never;
  }
}

/** Whether nothing of an earlier change of the same topics remains to be done once this one is. */
export function isWhole(change: SubjectChange): boolean {
  return change.kind !== 'rectification' || change.corrections.every(({ was, source, table, column }) => [was, source, table, column].every((part) => part === undefined));
}

/** What a change does to the records of one table. */
export const changedTable = z.object({
  source: z.string(),
  table: z.string(),
  rows: z.int().describe('Records of the person that held, or hold, something else.'),
  changed: z.int().describe('Of these, changed by HAL9.'),
});
export type ChangedTableView = z.infer<typeof changedTable>;
