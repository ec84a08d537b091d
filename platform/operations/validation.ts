import type { z } from 'zod';
import { HalError } from '../../schemas/errors.ts';

/**
 * Parses a payload at the door.
 * @throws {HalError} InvalidInput with a JSON pointer (RFC 6901) for each wrong field.
 */
export function parsePayload<Schema extends z.ZodType>(schema: Schema, payload: unknown): z.output<Schema> {
  const parsed = schema.safeParse(payload);
  if (parsed.success) return parsed.data;
  const errors = parsed.error.issues.map((issue) => ({ path: pointer(issue.path), message: issue.message }));
  throw new HalError('InvalidInput', `${errors.length} field${errors.length === 1 ? ' does' : 's do'} not match the schema`, { errors });
}

function pointer(path: readonly PropertyKey[]): string {
  return path.map((segment) => `/${String(segment).replaceAll('~', '~0').replaceAll('/', '~1')}`).join('');
}
