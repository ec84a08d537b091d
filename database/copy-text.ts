/**
 * PostgreSQL's text format of COPY (https://www.postgresql.org/docs/current/sql-copy.html, "Text Format"): columns end with
 * a tab, rows with a newline, and only the backslash, tab, newline and carriage return of a value need an escape.
 */
const SPECIAL = /[\\\t\n\r]/;
const SPECIALS = /[\\\t\n\r]/g;
const ESCAPES: Readonly<Record<string, string>> = { '\\': '\\\\', '\t': '\\t', '\n': '\\n', '\r': '\\r' };

/**
 * One value as COPY reads it.
 * @param value any well-formed text without U+0000, which PostgreSQL cannot store.
 */
export function copyText(value: string): string {
  return SPECIAL.test(value) ? value.replace(SPECIALS, (character) => ESCAPES[character] ?? character) : value;
}
