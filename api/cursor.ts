import type { z } from 'zod';
import { HalError } from '../schemas/errors.ts';

/** Opaque text for the place where a page ended. */
export function encodeCursor(position: Readonly<Record<string, string | number>>): string {
  return Buffer.from(JSON.stringify(position)).toString('base64url');
}

/** @throws {HalError} `InvalidInput` when the text is no cursor of this list. */
export function decodeCursor<Position extends z.ZodType>(text: string, schema: Position): z.output<Position> {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(text, 'base64url').toString('utf8'));
  } catch (error) {
    throw foreign(error);
  }
  const parsed = schema.safeParse(value);
  if (!parsed.success) throw foreign(parsed.error);
  return parsed.data;
}

function foreign(cause: unknown): HalError {
  return new HalError('InvalidInput', 'the cursor is not one of this list', { errors: [{ path: '/query/cursor', message: 'use `nextCursor` of the page before' }], cause });
}
