import { z } from 'zod';

/** Which way a reference may be followed from a row of the annotated table: on to the other table, only from there to here, or both. */
export const referenceDirection = z.enum(['to', 'from', 'both']);
export type ReferenceDirection = z.infer<typeof referenceDirection>;

/** What becomes of one value. */
export const maskingSchema = z.discriminatedUnion('strategy', [
  z.strictObject({ strategy: z.literal('null') }),
  /** `value` is cast to the type of the column. */
  z.strictObject({ strategy: z.literal('constant'), value: z.union([z.string().max(1000), z.number(), z.boolean()]) }),
  /** SHA-256 in hexadecimal. Whoever can guess the value can confirm it: prefer `hmac`. */
  z.strictObject({ strategy: z.literal('hash') }),
  /** HMAC-SHA256 in hexadecimal under a key of the erasure, which is forgotten afterwards: equal values stay equal within one erasure. */
  z.strictObject({ strategy: z.literal('hmac') }),
  /** Each digit becomes another digit, each letter another letter of its case; the rest stays: lengths and formats hold. */
  z.strictObject({ strategy: z.literal('format-preserving') }),
  /** Dates and times move by so many days at the most, by the same amount for all of a person's rows. */
  z.strictObject({ strategy: z.literal('date-shift'), maxDays: z.int().min(1).max(3650).default(180) }),
  /** Coarser: numbers to a multiple of `step`, dates to the start of `unit`, text to its first `keep` characters. */
  z.strictObject({ strategy: z.literal('generalise'), step: z.number().positive().optional(), unit: z.enum(['month', 'year', 'decade']).optional(), keep: z.int().min(0).max(100).optional() }),
]);
export type Masking = z.infer<typeof maskingSchema>;

export interface ReferenceAnnotation {
  /** Dataset the other table is in; undefined for the same. */
  readonly dataset: string | undefined;
  /** As written: `table` or `schema.table`. */
  readonly table: string;
  /** A column, then the members below it where the column holds JSON. */
  readonly path: readonly string[];
  readonly direction: ReferenceDirection;
}

/** What people say of one column, or of one member of a column that holds JSON. */
export interface FieldAnnotation {
  readonly path: readonly string[];
  /** E.g. `user.contact.email`; everything but `system` and what is below it is about people. */
  readonly categories: readonly string[];
  /** Kind of identity by which a person is looked up here, e.g. `email`. */
  readonly identity: string | undefined;
  readonly primaryKey: boolean;
  /** E.g. `string`, `integer`, `object`, `string[]`. */
  readonly dataType: string | undefined;
  readonly length: number | undefined;
  readonly references: readonly ReferenceAnnotation[];
  readonly purpose: string | undefined;
  readonly legalBasis: string | undefined;
  /** ISO 8601 duration. */
  readonly retention: string | undefined;
  readonly masking: Masking | undefined;
  /** Never written, whatever its category. */
  readonly readOnly: boolean;
  /** Where a consent of the person is kept: what the field holds once it is given, and once it is withdrawn. */
  readonly consent?: ConsentField | undefined;
  /** Where it is kept that processing is restricted: what the field holds meanwhile, and otherwise. */
  readonly restriction?: RestrictionField | undefined;
}

const flag = z.union([z.string().max(200), z.number(), z.boolean()]).nullable();
export type FlagValue = z.infer<typeof flag>;
export const consentField = z.strictObject({ purpose: z.string().regex(/^[a-z][a-z0-9-]{0,63}$/), given: flag.default(true), withdrawn: flag.default(false) });
export type ConsentField = z.infer<typeof consentField>;
export const restrictionField = z.strictObject({ on: flag.default(true), off: flag.default(false) });
export type RestrictionField = z.infer<typeof restrictionField>;

export interface TableAnnotation {
  readonly dataset: string;
  readonly schema: string | undefined;
  /** As written. */
  readonly name: string;
  readonly fields: readonly FieldAnnotation[];
  /** References over several columns at once. */
  readonly composite: readonly CompositeReference[];
  /** What erasure does with the rows; default: masks, or deletes where a value that cannot be masked is personal. */
  readonly erase: 'mask' | 'delete' | 'keep' | undefined;
  /** Why rows are kept; with `keep`. */
  readonly keepBecause: string | undefined;
  /** Tables that must be erased before this one, as written. */
  readonly after: readonly { readonly dataset: string | undefined; readonly table: string }[];
  /** Left out of everything. */
  readonly skip: boolean;
  /** How long rows are kept; undefined: nobody says. */
  readonly retention?: RetentionPolicy | undefined;
}

/** Rows are deleted this long after the time in a column. */
export interface RetentionPolicy {
  /** ISO 8601 duration of whole days, months or years. */
  readonly keep: string;
  /** Column with a date or time, as written; rows without one stay. */
  readonly since: string;
}

export interface CompositeReference {
  readonly columns: readonly string[];
  readonly table: string;
  readonly targets: readonly string[];
  readonly direction: ReferenceDirection;
}

export interface Annotations {
  readonly format: 'fides' | 'hal9';
  readonly tables: readonly TableAnnotation[];
}

const category = z.string().regex(/^[a-z0-9_]+(\.[a-z0-9_]+)*$/i, 'a category is words joined by dots, e.g. user.contact.email').max(200);
const duration = z.string().regex(/^P(?!$)(\d+Y)?(\d+M)?(\d+W)?(\d+D)?$/, 'an ISO 8601 duration of whole days, e.g. P6Y');
const name = z.string().min(1).max(200);

const ownField = z.strictObject({
  category: z.union([category, z.array(category)]).optional(),
  identity: name.optional(),
  /** `table.column` or `schema.table.column`. */
  references: name.optional(),
  direction: referenceDirection.optional(),
  purpose: z.string().max(500).optional(),
  legalBasis: z.enum(['consent', 'contract', 'legal-obligation', 'vital-interests', 'public-task', 'legitimate-interests']).optional(),
  retention: duration.optional(),
  masking: z.union([z.enum(['null', 'hash', 'hmac', 'format-preserving']), maskingSchema]).optional(),
  readOnly: z.boolean().optional(),
  consent: consentField.optional(),
  restriction: restrictionField.optional(),
});

const ownTable = z.strictObject({
  erase: z.enum(['mask', 'delete', 'keep']).optional(),
  keepBecause: z.string().min(1).max(500).optional(),
  after: z.array(name).max(100).optional(),
  skip: z.boolean().optional(),
  retention: z.strictObject({ keep: duration, since: name }).optional(),
  /** By column; members of a JSON column as `column.member`. */
  columns: z.record(name, ownField),
  references: z.array(z.strictObject({ columns: z.array(name).min(1).max(32), table: name, targets: z.array(name).min(1).max(32), direction: referenceDirection.optional() })).max(100).optional(),
});

/** HAL9's own format. */
export const ownAnnotationsSchema = z.strictObject({ source: name, tables: z.record(name, ownTable) });

interface FidesField {
  name: string;
  data_categories?: string[] | null | undefined;
  fides_meta?: z.infer<typeof fidesMeta> | null | undefined;
  fidesops_meta?: z.infer<typeof fidesMeta> | null | undefined;
  fields?: FidesField[] | null | undefined;
}

const fidesMeta = z.looseObject({
  primary_key: z.boolean().nullish(),
  identity: z.string().nullish(),
  data_type: z.string().nullish(),
  length: z.int().nullish(),
  read_only: z.boolean().nullish(),
  references: z.array(z.looseObject({ dataset: z.string(), field: z.string(), direction: z.enum(['to', 'from']).nullish() })).nullish(),
  masking_strategy_override: z.looseObject({ strategy: z.string(), configuration: z.record(z.string(), z.unknown()).nullish() }).nullish(),
});

const fidesField: z.ZodType<FidesField> = z.lazy(() =>
  z.looseObject({ name: z.string().min(1), data_categories: z.array(z.string()).nullish(), fides_meta: fidesMeta.nullish(), fidesops_meta: fidesMeta.nullish(), fields: z.array(fidesField).nullish() }),
);

const fidesCollectionMeta = z.looseObject({
  after: z.array(z.string()).nullish(),
  erase_after: z.array(z.string()).nullish(),
  skip_processing: z.boolean().nullish(),
  masking_strategy_override: z.looseObject({ strategy: z.string() }).nullish(),
});

const fidesCollection = z.looseObject({ name: z.string().min(1), fields: z.array(fidesField), fides_meta: fidesCollectionMeta.nullish(), fidesops_meta: fidesCollectionMeta.nullish() });

/** The dataset format of Fides, https://ethyca.github.io/fideslang/resources/dataset/; unknown members are left alone. */
export const fidesDatasetsSchema = z.looseObject({
  dataset: z
    .array(
      z.looseObject({
        fides_key: z.string().min(1),
        fides_meta: z.looseObject({ namespace: z.looseObject({ schema: z.string().nullish() }).nullish(), after: z.array(z.string()).nullish() }).nullish(),
        collections: z.array(fidesCollection),
      }),
    )
    .min(1),
});
export type FidesDatasets = z.infer<typeof fidesDatasetsSchema>;
export type FidesCollection = z.infer<typeof fidesCollection>;
export type { FidesField };
