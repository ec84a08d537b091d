import { readFile } from 'node:fs/promises';
import { UsageError } from './exit-code.ts';

/** A JSON value from a file, or from stdin for `-`. */
export async function readInput(source: string): Promise<unknown> {
  const text = Buffer.from(await readBytes(source)).toString('utf8');
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new UsageError(`${source === '-' ? 'stdin' : source} is not JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** What is in a file, or comes by stdin for `-`, as it is. */
export async function readBytes(source: string): Promise<Uint8Array> {
  if (source !== '-') return contentOf(source);
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks);
}

async function contentOf(file: string): Promise<Buffer> {
  return readFile(file).catch((error: unknown) => {
    throw new UsageError(`${file} cannot be read: ${error instanceof Error ? error.message : String(error)}`);
  });
}

/**
 * Fields over a value: `name=Ada`, `size.width=3`, `tags=["a"]`. What reads as JSON is JSON, everything else is text.
 * @throws {UsageError} for a field without `=`, or one inside something that is no object.
 */
export function withFields(value: unknown, fields: readonly string[]): unknown {
  if (fields.length === 0) return value;
  if (value !== undefined && !isRecord(value)) throw new UsageError('--field needs an object to set a field of');
  const made: Record<string, unknown> = structuredClone(value ?? {});
  for (const field of fields) {
    const [name, text] = splitField(field);
    const keys = name.split('.');
    const last = keys.pop() ?? '';
    let inner = made;
    for (const key of keys) {
      const next = Object.hasOwn(inner, key) ? inner[key] : (inner[key] = {});
      if (!isRecord(next)) throw new UsageError(`--field ${name}: ${key} is no object`);
      inner = next;
    }
    Object.defineProperty(inner, last, { value: valueOf(text), enumerable: true, writable: true, configurable: true });
  }
  return made;
}

/** `name=value` in two. */
export function splitField(field: string): readonly [string, string] {
  const at = field.indexOf('=');
  if (at < 1) throw new UsageError(`${JSON.stringify(field)} is not name=value`);
  return [field.slice(0, at), field.slice(at + 1)];
}

export function valueOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text; // a word
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
