import { Encrypter } from 'age-encryption';
import { zipSync, type Zippable } from 'fflate';
import type { ExportRecipient } from '../../platform/privacy/access-exports.ts';
import type { ExportedTable } from '../../schemas/privacy/access-export.ts';
import { HalError } from '../../schemas/errors.ts';

/** Most bytes of one archive before it is compressed: it is put together in memory. */
const MOST_BYTES = 512 * 1024 * 1024;

interface Table {
  readonly source: string;
  readonly table: string;
  about: string;
  readonly rows: Record<string, unknown>[];
}

/** The archive a person gets: a folder a source, a JSON and a CSV file a table, files beside, and an index to read. */
export class ExportArchive {
  readonly #tables = new Map<string, Table>();
  readonly #files = new Map<string, Uint8Array>();
  #bytes = 0;

  /** @throws {HalError} Conflict when it becomes too large to be put together. */
  add(source: string, portion: { readonly table: string; readonly about?: string; readonly rows: readonly Readonly<Record<string, unknown>>[] }): void {
    const name = `${source}/${portion.table}`;
    const table: Table = this.#tables.get(name) ?? { source, table: portion.table, about: portion.about ?? '', rows: [] };
    this.#tables.set(name, table);
    for (const row of portion.rows) {
      const plain = Object.fromEntries(Object.entries(row).map(([column, value]) => [column, value instanceof Uint8Array ? this.#file(name, table.rows.length, column, value) : value]));
      this.#grow(JSON.stringify(plain).length);
      table.rows.push(plain);
    }
  }

  get contents(): ExportedTable[] {
    return [...this.#tables.values()].map(({ source, table, rows }) => ({ source, table, records: rows.length }));
  }

  /** @param about the request, for the index. */
  zip(about: { readonly id: string; readonly at: Date }): Uint8Array {
    const files: Zippable = { 'index.html': utf8(indexPage(about, [...this.#tables.values()])) };
    for (const [name, { rows }] of this.#tables) {
      files[`${fileName(name)}.json`] = utf8(`${JSON.stringify(rows, null, 2)}\n`);
      files[`${fileName(name)}.csv`] = utf8(csvOf(rows));
    }
    for (const [name, bytes] of this.#files) files[name] = bytes;
    return zipSync(files, { level: 6 });
  }

  #file(name: string, row: number, column: string, bytes: Uint8Array): string {
    const path = `${fileName(name)}/${row + 1}-${fileName(column)}${extensionOf(bytes)}`;
    this.#grow(bytes.length);
    this.#files.set(path, bytes);
    return path;
  }

  #grow(bytes: number): void {
    this.#bytes += bytes;
    if (this.#bytes > MOST_BYTES) throw new HalError('Conflict', `more than ${MOST_BYTES / 1024 / 1024} MB are held of the person: export the sources one by one by hand`);
  }
}

/** Encrypted in age's format, https://age-encryption.org/v1: `age -d` opens it. */
export async function encryptTo(recipient: ExportRecipient, bytes: Uint8Array): Promise<Uint8Array> {
  const encrypter = new Encrypter();
  if ('passphrase' in recipient) encrypter.setPassphrase(recipient.passphrase);
  else encrypter.addRecipient(recipient.ageRecipient);
  return encrypter.encrypt(bytes);
}

/** RFC 4180. A text that a spreadsheet would take for a formula gets a quote in front (OWASP, CSV injection). */
export function csvOf(rows: readonly Readonly<Record<string, unknown>>[]): string {
  const columns = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const cell = (value: unknown): string => {
    const text = value === null || value === undefined ? '' : typeof value === 'string' ? value : JSON.stringify(value);
    const harmless = typeof value === 'string' && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
    return /[",\r\n]/.test(harmless) ? `"${harmless.replaceAll('"', '""')}"` : harmless;
  };
  return [columns.map(cell), ...rows.map((row) => columns.map((column) => cell(row[column])))].map((line) => `${line.join(',')}\r\n`).join('');
}

function indexPage({ id, at }: { readonly id: string; readonly at: Date }, tables: readonly Table[]): string {
  const rows = tables.map(({ source, table, about, rows: records }) => {
    const name = fileName(`${source}/${table}`);
    return `<tr><td>${html(source)}</td><td>${html(table)}</td><td class="n">${records.length}</td><td>${html(about)}</td><td><a href="${html(name)}.csv">CSV</a> <a href="${html(name)}.json">JSON</a></td></tr>`;
  });
  const samples = tables.map(({ source, table, rows: records }) => {
    const columns = [...new Set(records.flatMap((row) => Object.keys(row)))];
    const lines = records.slice(0, 20).map((row) => `<tr>${columns.map((column) => `<td>${html(shown(row[column]))}</td>`).join('')}</tr>`);
    return `<h2>${html(source)}: ${html(table)}</h2><div class="wide"><table><thead><tr>${columns.map((column) => `<th>${html(column)}</th>`).join('')}</tr></thead><tbody>${lines.join('')}</tbody></table></div>${records.length > 20 ? `<p>and ${records.length - 20} more in the files</p>` : ''}`;
  });
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>What is held of you</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a}table{border-collapse:collapse}th,td{border-bottom:1px solid #ccc;padding:.3rem .8rem .3rem 0;text-align:left;vertical-align:top}.n{text-align:right}.wide{overflow-x:auto}</style></head>
<body><h1>What is held of you</h1>
<p>Put together on ${html(at.toISOString().slice(0, 10))}; number of the request: ${html(id)}. Each line is a place where data about you was found, with the same records as a table (CSV) and for programs (JSON).</p>
${tables.length === 0 ? '<p>Nothing was found.</p>' : `<table><thead><tr><th>System</th><th>Table</th><th>Records</th><th>Held for</th><th>Files</th></tr></thead><tbody>${rows.join('')}</tbody></table>`}
${samples.join('\n')}
</body></html>
`;
}

function shown(value: unknown): string {
  const text = value === null || value === undefined ? '' : typeof value === 'string' ? value : JSON.stringify(value);
  return text.length > 200 ? `${text.slice(0, 200)}...` : text;
}

function html(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

/** Fit for every file system. */
function fileName(name: string): string {
  return name.split('/').map((part) => part.replaceAll(/[^A-Za-z0-9._-]/g, '_').replace(/^\.+/, '_')).join('/');
}

function extensionOf(bytes: Uint8Array): string {
  if (bytes[0] === 0xff && bytes[1] === 0xd8) return '.jpg';
  return bytes[0] === 0x7b || bytes[0] === 0x5b ? '.json' : '.bin';
}

function utf8(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
