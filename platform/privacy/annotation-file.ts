import { LineCounter, parseDocument } from 'yaml';
import type { z } from 'zod';
import {
  fidesDatasetsSchema,
  ownAnnotationsSchema,
  type Annotations,
  type FidesCollection,
  type FidesField,
  type FieldAnnotation,
  type Masking,
  type ReferenceAnnotation,
  type TableAnnotation,
} from '../../schemas/privacy/annotations.ts';
import { HalError } from '../../schemas/errors.ts';

/**
 * Reads annotations: HAL9's own format (`source`, `tables`) or a dataset file of Fides (`dataset`).
 * @throws {HalError} InvalidInput naming each place that cannot be read.
 */
export function readAnnotations(text: string): Annotations {
  const lines = new LineCounter();
  // An alias bomb is a few lines of YAML and gigabytes of value.
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: true });
  const [broken] = document.errors;
  if (broken !== undefined) throw new HalError('InvalidInput', `the annotations are not YAML: ${broken.message.split('\n')[0] ?? broken.message}`);
  const content: unknown = document.toJS({ maxAliasCount: 100 });
  if (typeof content !== 'object' || content === null) throw new HalError('InvalidInput', 'the annotations are empty: `source` and `tables`, or a `dataset` of Fides, are expected');
  return 'dataset' in content ? fromFides(checked(fidesDatasetsSchema, content)) : fromOwn(checked(ownAnnotationsSchema, content));
}

function checked<Schema extends z.ZodType>(schema: Schema, content: unknown): z.output<Schema> {
  const parsed = schema.safeParse(content);
  if (parsed.success) return parsed.data;
  const errors = parsed.error.issues.map((issue) => ({ path: `/${issue.path.map(String).join('/')}`, message: issue.message }));
  throw new HalError('InvalidInput', `the annotations cannot be used: ${errors.map(({ path, message }) => `${path}: ${message}`).join('; ')}`, { errors });
}

function fromOwn({ source, tables }: z.output<typeof ownAnnotationsSchema>): Annotations {
  return {
    format: 'hal9',
    tables: Object.entries(tables).map(([name, table]): TableAnnotation => ({
      dataset: source,
      schema: undefined,
      name,
      erase: table.erase,
      keepBecause: table.keepBecause,
      after: (table.after ?? []).map((other) => ({ dataset: undefined, table: other })),
      skip: table.skip ?? false,
      retention: table.retention,
      composite: (table.references ?? []).map(({ columns, table: other, targets, direction }) => {
        if (columns.length !== targets.length) throw new HalError('InvalidInput', `the annotations cannot be used: a reference of ${name} names ${columns.length} columns and ${targets.length} targets`);
        return { columns, table: other, targets, direction: direction ?? 'both' };
      }),
      fields: Object.entries(table.columns).map(([path, field]): FieldAnnotation => ({
        path: path.split('.'),
        categories: field.category === undefined ? [] : [field.category].flat(),
        identity: field.identity,
        primaryKey: false,
        dataType: undefined,
        length: undefined,
        references: field.references === undefined ? [] : [ownReference(name, field.references, field.direction ?? 'both')],
        purpose: field.purpose,
        legalBasis: field.legalBasis,
        retention: field.retention,
        masking: typeof field.masking === 'string' ? { strategy: field.masking } : field.masking,
        readOnly: field.readOnly ?? false,
        consent: field.consent,
        restriction: field.restriction,
      })),
    })),
  };
}

/** `table.column`, or `schema.table.column`. */
function ownReference(from: string, text: string, direction: ReferenceAnnotation['direction']): ReferenceAnnotation {
  const parts = text.split('.');
  const column = parts.pop();
  if (column === undefined || parts.length === 0 || parts.length > 2) throw new HalError('InvalidInput', `the annotations cannot be used: ${from} references "${text}", which is neither table.column nor schema.table.column`);
  return { dataset: undefined, table: parts.join('.'), path: [column], direction };
}

function fromFides({ dataset: datasets }: z.output<typeof fidesDatasetsSchema>): Annotations {
  return {
    format: 'fides',
    tables: datasets.flatMap((dataset) => dataset.collections.map((collection) => fidesTable(dataset.fides_key, dataset.fides_meta?.namespace?.schema ?? undefined, collection))),
  };
}

function fidesTable(dataset: string, schema: string | undefined, collection: FidesCollection): TableAnnotation {
  // Older files say `fidesops_meta`.
  const meta = collection.fides_meta ?? collection.fidesops_meta;
  return {
    dataset,
    schema,
    name: collection.name,
    fields: collection.fields.flatMap((field) => fidesFields(dataset, field, [])),
    composite: [],
    erase: meta?.masking_strategy_override?.strategy === 'delete' ? 'delete' : undefined,
    keepBecause: undefined,
    after: [...(meta?.after ?? []), ...(meta?.erase_after ?? [])].map((address) => splitAddress(dataset, address)),
    skip: meta?.skip_processing ?? false,
  };
}

/** `dataset.collection`; a name without a dot is a collection of the same dataset. */
function splitAddress(dataset: string, address: string): { dataset: string | undefined; table: string } {
  const dot = address.indexOf('.');
  if (dot < 0) return { dataset: undefined, table: address };
  const named = address.slice(0, dot);
  return { dataset: named === dataset ? undefined : named, table: address.slice(dot + 1) };
}

function fidesFields(dataset: string, field: FidesField, above: readonly string[]): FieldAnnotation[] {
  const path = [...above, field.name];
  const meta = field.fides_meta ?? field.fidesops_meta;
  return [
    {
      path,
      categories: field.data_categories ?? [],
      identity: meta?.identity ?? undefined,
      primaryKey: meta?.primary_key ?? false,
      dataType: meta?.data_type ?? undefined,
      length: meta?.length ?? undefined,
      references: (meta?.references ?? []).map((reference) => fidesReference(dataset, reference)),
      purpose: undefined,
      legalBasis: undefined,
      retention: undefined,
      masking: fidesMasking(meta?.masking_strategy_override ?? undefined, path),
      readOnly: meta?.read_only ?? false,
    },
    ...(field.fields ?? []).flatMap((member) => fidesFields(dataset, member, path)),
  ];
}

function fidesReference(dataset: string, reference: { dataset: string; field: string; direction?: 'to' | 'from' | null | undefined }): ReferenceAnnotation {
  const dot = reference.field.indexOf('.');
  return {
    dataset: reference.dataset === dataset ? undefined : reference.dataset,
    table: dot < 0 ? reference.field : reference.field.slice(0, dot),
    path: dot < 0 ? [] : reference.field.slice(dot + 1).split('.'),
    direction: reference.direction ?? 'both',
  };
}

/** Fides' names of strategies, https://docs.ethyca.com: what they do, in ours. */
function fidesMasking(override: { strategy: string; configuration?: Record<string, unknown> | null | undefined } | undefined, path: readonly string[]): Masking | undefined {
  if (override === undefined) return undefined;
  switch (override.strategy) {
    case 'null_rewrite':
      return { strategy: 'null' };
    case 'string_rewrite': {
      const value = override.configuration?.['rewrite_value'];
      return { strategy: 'constant', value: typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean' ? value : 'MASKED' };
    }
    case 'hash':
      return { strategy: 'hash' };
    case 'hmac':
    case 'random_string_rewrite':
    case 'aes_encrypt':
      return { strategy: 'hmac' };
    default:
      throw new HalError('InvalidInput', `the annotations cannot be used: ${path.join('.')} asks for the masking strategy "${override.strategy}", which is not known`);
  }
}
