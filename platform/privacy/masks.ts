import { createHash, createHmac } from 'node:crypto';
import type { Masking } from '../../schemas/privacy/annotations.ts';

/** What one erasure masks with; forgotten when it ends. */
export interface MaskContext {
  /** 32 random bytes: equal values stay equal within the erasure, and nobody can find out which they were. */
  readonly key: Uint8Array;
}

const DAY_MS = 86_400_000;
const LETTERS = 'abcdefghijklmnopqrstuvwxyz';

/**
 * The value that takes the place of another, both as PostgreSQL writes them in ISO style.
 * Null stays null under every strategy but `constant`.
 * @param length longest text the column holds, characters; null without a limit.
 */
export function maskValue(masking: Masking, value: string | null, length: number | null, context: MaskContext): string | null {
  if (masking.strategy === 'constant') return String(masking.value);
  if (value === null) return null;
  switch (masking.strategy) {
    case 'null':
      return null;
    case 'hash':
      return cut(createHash('sha256').update(value).digest('hex'), length);
    case 'hmac':
      return cut(createHmac('sha256', context.key).update(value).digest('hex'), length);
    case 'format-preserving':
      return otherCharacters(value, context.key);
    case 'date-shift':
      return shiftDate(value, shiftDays(masking.maxDays, context.key));
    case 'generalise':
      return generalise(masking, value);
    default:
      return masking satisfies never;
  }
}

function cut(text: string, length: number | null): string {
  return length === null ? text : text.slice(0, length);
}

/** A keyed stream decides by how much each letter and digit moves, never by nothing. */
function otherCharacters(value: string, key: Uint8Array): string {
  let stream = Buffer.alloc(0);
  let used = 0;
  let block = 0;
  const next = (alphabet: number): number => {
    if (used === stream.length) {
      stream = createHmac('sha256', key).update(`${block}\n${value}`).digest();
      [used, block] = [0, block + 1];
    }
    const byte = stream[used] ?? 0;
    used += 1;
    return 1 + (byte % (alphabet - 1));
  };
  return Array.from(value)
    .map((character) => {
      if (/\d/.test(character)) return String((Number(character) + next(10)) % 10);
      const place = LETTERS.indexOf(character.toLowerCase());
      // Letters beyond ASCII say as much as others: they become some letter.
      if (place < 0) return /\p{L}/u.test(character) ? (LETTERS[next(26) - 1] ?? 'x') : character;
      const moved = LETTERS[(place + next(26)) % 26] ?? 'x';
      return character === character.toLowerCase() ? moved : moved.toUpperCase();
    })
    .join('');
}

function shiftDays(most: number, key: Uint8Array): number {
  const drawn = createHmac('sha256', key).update('date-shift').digest().readUInt32BE(0);
  const days = 1 + (drawn % most);
  return drawn >= 0x8000_0000 ? days : -days;
}

/** The date within a date, timestamp or timestamptz moves; the time of day stays. Infinite ones stay. */
function shiftDate(value: string, days: number): string {
  return value.replace(/^(\d{4})-(\d\d)-(\d\d)/, (date) => new Date(Date.parse(`${date}T00:00:00Z`) + days * DAY_MS).toISOString().slice(0, 10));
}

function generalise({ step, unit, keep }: Extract<Masking, { strategy: 'generalise' }>, value: string): string {
  if (step !== undefined && Number.isFinite(Number(value))) return String(Math.floor(Number(value) / step) * step);
  if (unit !== undefined) {
    const [, year = '', month = ''] = /^(\d{4})-(\d\d)-\d\d/.exec(value) ?? [];
    if (year === '') return value;
    if (unit === 'month') return `${year}-${month}-01`;
    return unit === 'year' ? `${year}-01-01` : `${year.slice(0, 3)}0-01-01`;
  }
  return Array.from(value).slice(0, keep ?? 0).join('');
}

/** Numbers longer than a double keep all their digits: https://tc39.es/proposal-json-parse-with-source/, in V8 since Node 21. */
const rawNumber: unknown = Reflect.get(JSON, 'rawJSON');
const keepDigits = (_: string, value: unknown, context?: { source?: string }): unknown =>
  typeof value === 'number' && context?.source !== undefined && typeof rawNumber === 'function' ? Reflect.apply(rawNumber, JSON, [context.source]) : value;

/**
 * Masks members of a JSON text; arrays on the way are gone through.
 * @param fields paths below the document.
 * @returns the text as it was when it is no JSON.
 */
export function maskDocument(text: string | null, fields: readonly { readonly path: readonly string[]; readonly masking: Masking }[], context: MaskContext): string | null {
  return changeDocument(text, fields.map(({ path, masking }) => ({ path, change: (node) => (node === null || masking.strategy === 'null' ? null : maskValue(masking, textOf(node), null, context)) })));
}

/**
 * Changes members of a JSON text where they are; arrays on the way are gone through, and no number loses a digit.
 * @returns the text as it was when it is no JSON.
 */
export function changeDocument(text: string | null, fields: readonly { readonly path: readonly string[]; readonly change: (node: unknown) => unknown }[]): string | null {
  if (text === null) return null;
  let document: unknown;
  try {
    document = JSON.parse(text, keepDigits);
  } catch (error) {
    if (error instanceof SyntaxError) return text;
    throw error;
  }
  for (const { path, change } of fields) document = changeAt(document, path, change);
  return JSON.stringify(document);
}

/** What is at a place of a document, as text. */
export function textOf(node: unknown): string {
  return typeof node === 'string' ? node : JSON.stringify(node);
}

function changeAt(node: unknown, path: readonly string[], change: (node: unknown) => unknown): unknown {
  if (Array.isArray(node)) return node.map((item: unknown) => changeAt(item, path, change));
  const [member, ...rest] = path;
  if (member === undefined) return change(node);
  if (typeof node !== 'object' || node === null || !Object.hasOwn(node, member)) return node;
  return Object.fromEntries(Object.entries(node).map(([name, value]: [string, unknown]) => [name, name === member ? changeAt(value, rest, change) : value]));
}
