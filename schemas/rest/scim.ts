import { z } from 'zod';
import { userName } from './users.ts';
import { HalError, type FailureName } from '../errors.ts';

/** SCIM 2.0: RFC 7643 (schemas) and RFC 7644 (protocol). */
export const SCIM_MEDIA_TYPE = 'application/scim+json';
export const URN = {
  user: 'urn:ietf:params:scim:schemas:core:2.0:User',
  group: 'urn:ietf:params:scim:schemas:core:2.0:Group',
  enterprise: 'urn:ietf:params:scim:schemas:extension:enterprise:2.0:User',
  list: 'urn:ietf:params:scim:api:messages:2.0:ListResponse',
  patch: 'urn:ietf:params:scim:api:messages:2.0:PatchOp',
  error: 'urn:ietf:params:scim:api:messages:2.0:Error',
  search: 'urn:ietf:params:scim:api:messages:2.0:SearchRequest',
} as const;

/** `scimType` of a refusal (RFC 7644 table 9). */
export type ScimType = 'invalidFilter' | 'uniqueness' | 'mutability' | 'invalidSyntax' | 'invalidPath' | 'noTarget' | 'invalidValue' | 'tooMany';

/** A failure that knows its `scimType`. */
export class ScimFailure extends HalError {
  readonly scimType: ScimType;

  constructor(type: FailureName, scimType: ScimType, detail: string) {
    super(type, detail);
    this.scimType = scimType;
  }
}

export type FilterOperator = 'eq' | 'ne' | 'co' | 'sw' | 'ew' | 'gt' | 'ge' | 'lt' | 'le';
export type FilterValue = string | number | boolean | null;

/** A filter (RFC 7644 3.4.2.2) as a tree. Paths are lower case, an extension's URN before the attribute and a dot before the sub-attribute. */
export type ScimFilter =
  | { readonly kind: 'and' | 'or'; readonly filters: readonly ScimFilter[] }
  | { readonly kind: 'not'; readonly filter: ScimFilter }
  | { readonly kind: 'compare'; readonly path: string; readonly operator: FilterOperator; readonly value: FilterValue }
  | { readonly kind: 'present'; readonly path: string }
  /** `emails[type eq "work"]`: one element of the list that fulfils all. Paths inside are of the element. */
  | { readonly kind: 'element'; readonly path: string; readonly filter: ScimFilter };

// PostgreSQL stores neither NUL nor half a surrogate pair.
const storable = (text: z.ZodString) => text.refine((value) => !value.includes('\0') && value.isWellFormed(), 'has characters that cannot be stored');
const short = storable(z.string().max(320));
const optional = storable(z.string().max(1000)).nullish().transform((value) => (value === null || value === '' ? undefined : value));
/** Entra ID sends booleans as text. */
const lenientBoolean = z.union([z.boolean(), z.string().regex(/^(true|false)$/i).transform((text) => text.toLowerCase() === 'true')]);

const name = z.object({ formatted: optional, familyName: optional, givenName: optional, middleName: optional, honorificPrefix: optional, honorificSuffix: optional });
const email = z.object({ value: z.email().max(320), type: optional, primary: lenientBoolean.optional(), display: optional });
const enterprise = z.object({
  employeeNumber: optional,
  costCenter: optional,
  organization: optional,
  division: optional,
  department: optional,
  manager: z
    .union([z.object({ value: optional, displayName: optional }), short.transform((value) => ({ value, displayName: undefined }))])
    .nullish()
    .transform((value) => value ?? undefined),
});

/** What is kept of a person besides the columns of `users`. */
export const scimExtras = z.object({
  name: name.nullish().transform((value) => value ?? undefined),
  nickName: optional,
  title: optional,
  userType: optional,
  preferredLanguage: optional,
  locale: optional,
  timezone: optional,
  emails: z.array(email).max(20).nullish().transform((value) => value ?? undefined),
  [URN.enterprise]: enterprise.nullish().transform((value) => value ?? undefined),
});

/** A user as a client writes it. What HAL9 does not keep (addresses, telephone numbers, a password) is ignored, as RFC 7644 3.3 allows. */
export const scimUserBody = scimExtras.extend({
  userName: storable(userName),
  externalId: storable(z.string().max(200)).nullish().transform((value) => (value === '' ? null : (value ?? null))),
  displayName: storable(z.string().max(200)).nullish().transform((value) => (value === '' ? null : (value ?? null))),
  active: lenientBoolean.nullish().transform((value) => value ?? true),
});

export const scimGroupBody = z.object({
  displayName: storable(z.string().trim().min(1).max(200)),
  externalId: storable(z.string().max(200)).nullish().transform((value) => (value === '' ? null : (value ?? null))),
  members: z.array(z.object({ value: z.uuid() })).max(10_000).nullish().transform((value) => value ?? []),
});

const operation = z.object({
  op: z.string().transform((text) => text.toLowerCase()).pipe(z.enum(['add', 'replace', 'remove'])),
  path: z.string().max(500).optional(),
  value: z.unknown().optional(),
});

export const scimPatchBody = z.object({
  // Written with a capital letter by the RFC, not by every client.
  Operations: z.array(operation).min(1).max(1000),
});

export const scimQuery = z.object({
  filter: z.string().max(4000).optional().describe('RFC 7644 3.4.2.2, e.g. `userName eq "ada@example.com"`.'),
  sortBy: z.string().max(100).optional(),
  sortOrder: z.enum(['ascending', 'descending']).default('ascending'),
  // Below the range counts as its edge (3.4.2.4).
  startIndex: z.coerce.number().int().transform((value) => Math.max(value, 1)).default(1).describe('1 is the first.'),
  count: z.coerce.number().int().transform((value) => Math.min(Math.max(value, 0), 200)).default(100).describe('At most 200.'),
  attributes: z.string().max(1000).optional().describe('Only these, separated by commas, besides what is always returned.'),
  excludedAttributes: z.string().max(1000).optional().describe('All but these.'),
});

/** What every resource is sent as. */
export const scimResource = z.looseObject({ schemas: z.array(z.string()), id: z.string() }).meta({ id: 'ScimResource' });
export const scimList = z
  .object({ schemas: z.array(z.string()), totalResults: z.int(), startIndex: z.int(), itemsPerPage: z.int(), Resources: z.array(scimResource) })
  .meta({ id: 'ScimList' });

export type ScimExtras = z.output<typeof scimExtras>;
export type ScimUserBody = z.output<typeof scimUserBody>;
export type ScimGroupBody = z.output<typeof scimGroupBody>;
export type ScimOperation = z.output<typeof operation>;
export type ScimQuery = z.output<typeof scimQuery>;
