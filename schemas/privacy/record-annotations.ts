import { z } from 'zod';
import { consentField, restrictionField } from './annotations.ts';

const name = z.string().min(1).max(200);
const category = z.string().regex(/^[a-z0-9_]+(\.[a-z0-9_]+)*$/i, 'a category is words joined by dots, e.g. user.contact.email').max(200);
/** `{email}` stands for a value of this kind of identity, `*` for anything. */
const template = z.string().min(1).max(1_000).regex(/^[^\r\n\0]+$/, 'one line');
const keeping = { category: category.optional(), keep: z.string().min(1).max(500).optional() };

/** What people say of a Redis database. `keep`: why records of this kind stay. */
export const redisAnnotationsSchema = z.strictObject({
  source: name,
  keys: z
    .array(
      z.union([
        /** The name of the key says whose it is. */
        z.strictObject({ key: template.refine((text) => /\{[a-z][a-z0-9_]*\}/i.test(text), 'names no identity, e.g. session:{email}'), ...keeping }),
        /** A field of the hash, or a member of the JSON in a string, says whose it is; `remove`: only these go. */
        z.strictObject({ key: template, field: name, identity: name, remove: z.array(name).min(1).max(100).optional(), ...keeping }),
        /** Members of the set, sorted set or list are identities; only they go. */
        z.strictObject({ key: template, members: name, ...keeping }),
      ]),
    )
    .min(1)
    .max(1_000),
});
export type RedisAnnotations = z.infer<typeof redisAnnotationsSchema>;

/** What people say of a bucket. */
export const s3AnnotationsSchema = z.strictObject({
  source: name,
  objects: z
    .array(
      z.union([
        z.strictObject({ key: template.refine((text) => /\{[a-z][a-z0-9_]*\}/i.test(text), 'names no identity, e.g. users/{email}/*'), ...keeping }),
        /** A member of the JSON in the object says whose it is, e.g. `user.email`. */
        z.strictObject({ key: template, member: name, identity: name, ...keeping }),
      ]),
    )
    .min(1)
    .max(1_000),
});
export type S3Annotations = z.infer<typeof s3AnnotationsSchema>;

const path = z.string().regex(/^\/[^\s#]*$/, 'begins with / and follows the address of the source').max(1_000);

/** Calls that find and erase records of an API. */
export const httpAnnotationsSchema = z.strictObject({
  source: name,
  /** Calls a second; default 5. */
  perSecond: z.number().min(0.01).max(1_000).default(5),
  records: z.record(
    name,
    z.strictObject({
      ...keeping,
      find: z.strictObject({
        /** With `{email}` or another kind, which is percent-encoded in its place. */
        path: path.refine((text) => /\{[a-z][a-z0-9_]*\}/i.test(text), 'names no identity, e.g. /contacts?email={email}'),
        /** Member with the list of records, e.g. `data.items`; default the answer itself. */
        items: name.optional(),
        /** Member of a record that names it; default `id`. */
        id: name.default('id'),
        /** Where the next page is: a member with its address (`next`), or with a cursor for a parameter. */
        next: z.union([z.strictObject({ member: name }), z.strictObject({ member: name, parameter: name })]).optional(),
      }),
      /** `{id}` is the record's; default: records cannot be erased by a call, and stay until somebody does. */
      erase: z.strictObject({ method: z.enum(['DELETE', 'POST', 'PUT', 'PATCH']).default('DELETE'), path: path.refine((text) => text.includes('{id}'), 'names no record, e.g. /contacts/{id}'), body: z.record(z.string(), z.unknown()).optional() }).optional(),
      /** Changes members of a record; the body holds those that change, and `body` besides. */
      update: z.strictObject({ method: z.enum(['PATCH', 'PUT', 'POST']).default('PATCH'), path: path.refine((text) => text.includes('{id}'), 'names no record, e.g. /contacts/{id}'), body: z.record(z.string(), z.unknown()).optional() }).optional(),
      /** What members of a record hold: a category of data, a consent, whether processing is restricted. By member, dots lead below. */
      members: z.record(name, z.strictObject({ category: category.optional(), consent: consentField.optional(), restriction: restrictionField.optional() })).optional(),
    }),
  ),
});
export type HttpAnnotations = z.infer<typeof httpAnnotationsSchema>;

const words = z.string().min(1).max(2_000).optional();
/** What to do instead when data are corrected or restricted, or a consent changes; without `consent` nothing of consents is kept here. */
const byHand = { rectify: words, restrict: words, consent: words };

/** What people do by hand: for what has no API. */
export const manualAnnotationsSchema = z.strictObject({
  source: name,
  tasks: z.record(name, z.strictObject({ instructions: z.string().min(1).max(2_000).describe('What to do, without personal data.'), ...keeping, ...byHand })).refine((tasks) => Object.keys(tasks).length > 0, 'at least one task'),
});
