import { parseDocument } from 'yaml';
import type { z } from 'zod';
import { HalError } from '../../schemas/errors.ts';

/**
 * Reads what people say of the records of a source that is no database.
 * @throws {HalError} InvalidInput naming each place that cannot be read.
 */
export function readRecordAnnotations<Schema extends z.ZodType>(schema: Schema, text: string): z.output<Schema> {
  const document = parseDocument(text, { prettyErrors: true });
  const [broken] = document.errors;
  if (broken !== undefined) throw new HalError('InvalidInput', `the annotations are not YAML: ${broken.message.split('\n')[0] ?? broken.message}`);
  const parsed = schema.safeParse(document.toJS({ maxAliasCount: 100 }));
  if (parsed.success) return parsed.data;
  const errors = parsed.error.issues.map((issue) => ({ path: `/${issue.path.map(String).join('/')}`, message: issue.message }));
  throw new HalError('InvalidInput', `the annotations cannot be used: ${errors.map(({ path, message }) => `${path}: ${message}`).join('; ')}`, { errors });
}
