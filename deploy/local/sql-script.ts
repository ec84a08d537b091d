/** One statement of a script, or the rows of a `COPY ... FROM stdin`. */
export interface ScriptStatement {
  /** Without the semicolon. */
  readonly sql: string;
  /** Line it begins on, from 1. */
  readonly line: number;
  /** Rows that follow a COPY, in its own format; null for other statements. */
  readonly copied: string | null;
}

/** The script ends in the middle of something. */
export class ScriptError extends Error {
  override readonly name = 'ScriptError';
}

/**
 * Cuts a script as psql does: at semicolons outside strings, quoted identifiers, dollar quotes, comments, parentheses and the
 * bodies of SQL functions. Lines that begin with a backslash are commands to psql and left out (`\.` ends the rows of a COPY).
 * @throws {ScriptError} for a string, comment or COPY that never ends.
 */
export function* statementsOf(script: string): Generator<ScriptStatement> {
  // A byte order mark is no part of the script.
  const text = script.replace(/^\uFEFF/, '');
  let at = 0;
  let begin = 0;
  let parentheses = 0;
  let bodies = 0;
  let words = '';
  const lineAt = (offset: number): number => text.slice(0, offset).split('\n').length;
  const fail = (what: string, offset: number): never => {
    throw new ScriptError(`${what} that begins on line ${lineAt(offset)} never ends`);
  };
  while (at < text.length) {
    const rest = text.slice(at, at + 80);
    if (words === '' && rest.startsWith('\\') && (at === 0 || text[at - 1] === '\n')) {
      const end = text.indexOf('\n', at);
      at = end < 0 ? text.length : end + 1;
      begin = at;
      continue;
    }
    const token = TOKEN.exec(rest);
    const [matched] = token ?? [];
    if (matched === undefined) {
      at += 1;
      continue;
    }
    const start = at;
    at += matched.length;
    if (matched === '--') {
      const end = text.indexOf('\n', at);
      at = end < 0 ? text.length : end;
    } else if (matched === '/*') {
      at = endOfComment(text, at) ?? fail('a comment', start);
    } else if (matched === "'" || /^[eE]'$/.test(matched) || matched === '"') {
      at = endOfQuote(text, at, matched.at(-1) ?? "'", matched.length === 2) ?? fail('a quoted text', start);
      words += ' q';
    } else if (matched.startsWith('$')) {
      const end = text.indexOf(matched, at);
      if (end < 0) fail('a dollar-quoted text', start);
      at = end + matched.length;
      words += ' q';
    } else if (matched === '(') parentheses += 1;
    else if (matched === ')') parentheses -= 1;
    else if (matched === ';') {
      if (parentheses > 0 || bodies > 0) continue;
      if (words !== '') {
        const sql = text.slice(begin, start);
        if (/^ copy\b/i.test(words) && /\bfrom stdin\b/i.test(words)) {
          const first = text.indexOf('\n', at) + 1;
          const end = first === 0 ? -1 : `\n${text.slice(first)}`.search(/\n\\\.\r?(\n|$)/);
          if (end < 0) fail('the rows of a COPY', begin + leading(sql));
          yield { sql: sql.trim(), line: lineAt(begin + leading(sql)), copied: text.slice(first, first + end) };
          const after = text.indexOf('\n', first + end);
          at = after < 0 ? text.length : after + 1;
        } else yield { sql: sql.trim(), line: lineAt(begin + leading(sql)), copied: null };
      }
      begin = at;
      [words, parentheses, bodies] = ['', 0, 0];
    } else {
      const word = matched.toLowerCase();
      words += ` ${word}`;
      // CREATE FUNCTION ... BEGIN ATOMIC ...; END (PostgreSQL 14): CASE ... END nests in it.
      if (/^ create( or replace)? (function|procedure)\b/.test(words) && ((word === 'atomic' && words.endsWith(' begin atomic')) || (bodies > 0 && word === 'case'))) bodies += 1;
      else if (bodies > 0 && word === 'end') bodies -= 1;
    }
  }
  if (words !== '') {
    const sql = text.slice(begin);
    yield { sql: sql.trim(), line: lineAt(begin + leading(sql)), copied: null };
  }
}

/** Where something else than plain text begins; words last, so that `e'` is not one. */
const TOKEN = /^(--|\/\*|[eE]'|'|"|\$([A-Za-z_\u0080-\uFFFF][A-Za-z0-9_\u0080-\uFFFF]*)?\$|[();]|[A-Za-z_\u0080-\uFFFF][A-Za-z0-9_$\u0080-\uFFFF]*|[0-9][A-Za-z0-9_.$]*|[^\s])/;

const leading = (text: string): number => text.length - text.trimStart().length;

/** Comments nest. */
function endOfComment(text: string, from: number): number | undefined {
  let depth = 1;
  for (let at = from; at < text.length; at += 1) {
    if (text.startsWith('*/', at)) {
      depth -= 1;
      at += 1;
      if (depth === 0) return at + 1;
    } else if (text.startsWith('/*', at)) {
      depth += 1;
      at += 1;
    }
  }
  return undefined;
}

/** A doubled quote is one quote of the text; in an escape string a backslash takes the next character along. */
function endOfQuote(text: string, from: number, quote: string, escapes: boolean): number | undefined {
  for (let at = from; at < text.length; at += 1) {
    if (escapes && text[at] === '\\') at += 1;
    else if (text[at] === quote) {
      if (text[at + 1] !== quote) return at + 1;
      at += 1;
    }
  }
  return undefined;
}
