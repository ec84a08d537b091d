import { createInterface } from 'node:readline/promises';
import { Writable } from 'node:stream';
import Table from 'cli-table3';

/** Where commands write. `json` is the whole answer for machines; without it people get tables. */
export class Terminal {
  readonly json: boolean;

  constructor(json: boolean) {
    this.json = json;
  }

  /** Answer of a command. */
  show(value: unknown): void {
    if (this.json) this.line(JSON.stringify(value ?? null));
    else this.line(readable(value));
  }

  /** One item of many; with `--json` a line each (NDJSON). */
  line(text: string): void {
    if (text !== '') process.stdout.write(text.endsWith('\n') ? text : `${text}\n`);
  }

  /** What is said beside the answer. */
  note(text: string): void {
    process.stderr.write(`${text}\n`);
  }
}

/** One line a row, so that `grep` and `head` see rows. */
const PLAIN = { chars: Object.fromEntries(['top', 'top-mid', 'top-left', 'top-right', 'bottom', 'bottom-mid', 'bottom-left', 'bottom-right', 'left', 'left-mid', 'mid', 'mid-mid', 'right', 'right-mid'].map((part) => [part, ''])), style: { head: [], border: [], 'padding-left': 0, 'padding-right': 1 } };

/** Widest cell, characters. */
const CELL = 60;
/** Most columns of a table. */
const COLUMNS = 8;

/** A list as a table, an object as its fields, anything else as it is. */
export function readable(value: unknown): string {
  if (value === undefined) return 'ok';
  if (Array.isArray(value)) return listOf(value);
  if (!isRecord(value)) return typeof value === 'string' ? value : JSON.stringify(value);
  const { items, nextCursor, ...rest } = value;
  if (Array.isArray(items) && Object.keys(rest).length === 0) {
    return `${listOf(items)}${typeof nextCursor === 'string' ? `\nmore: --cursor ${nextCursor}, or --all` : ''}`;
  }
  const table = new Table({ ...PLAIN, chars: { ...PLAIN.chars, middle: '' } });
  for (const [name, field] of Object.entries(value)) table.push([name, text(field, 2000)]);
  return table.toString();
}

function listOf(items: readonly unknown[]): string {
  if (items.length === 0) return 'none';
  const rows = items.filter(isRecord);
  if (rows.length !== items.length) return items.map((item) => text(item, 2000)).join('\n');
  const names = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  // What a table can show at a glance: single values first, lists of words, and nothing nested.
  const columns = names.filter((name) => rows.some((row) => isFlat(row[name]))).slice(0, COLUMNS);
  const table = new Table({ ...PLAIN, chars: { ...PLAIN.chars, middle: ' ' }, head: columns });
  for (const row of rows) table.push(columns.map((name) => text(row[name], CELL)));
  return table.toString();
}

function isFlat(value: unknown): boolean {
  return value !== null && value !== undefined && (typeof value !== 'object' || (Array.isArray(value) && value.every((item) => typeof item !== 'object')));
}

function text(value: unknown, limit: number): string {
  const whole = value === null || value === undefined ? '' : typeof value === 'string' ? value : Array.isArray(value) && value.every((item) => typeof item === 'string') ? value.join(', ') : JSON.stringify(value);
  // Control characters of what others wrote must not steer the terminal.
  const safe = whole.replaceAll(/(?!\n)\p{Cc}/gu, '\u{FFFD}');
  return safe.length > limit ? `${safe.slice(0, limit - 1)}\u{2026}` : safe;
}

/** A secret: from a pipe, or typed without being shown. Never an argument, which everybody on the machine can see. */
export async function readSecret(question: string): Promise<string> {
  if (!process.stdin.isTTY) {
    const chunks: Buffer[] = [];
    for await (const chunk of process.stdin) chunks.push(Buffer.from(chunk));
    return Buffer.concat(chunks).toString('utf8').trim();
  }
  process.stderr.write(question);
  const mute = new Writable({ write: (_chunk, _encoding, done) => done() });
  const lines = createInterface({ input: process.stdin, output: mute, terminal: true });
  try {
    return (await lines.question('')).trim();
  } finally {
    lines.close();
    process.stderr.write('\n');
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
