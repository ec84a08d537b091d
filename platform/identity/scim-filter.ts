import { ScimFailure, type FilterOperator, type FilterValue, type ScimFilter } from '../../schemas/rest/scim.ts';

const OPERATORS: ReadonlySet<string> = new Set<FilterOperator>(['eq', 'ne', 'co', 'sw', 'ew', 'gt', 'ge', 'lt', 'le']);
const DEPTH_LIMIT = 20;
const TERM_LIMIT = 100;
/** Attribute with optional URN before it and sub-attribute behind it (RFC 7644 3.10). */
const PATH = /^(urn:[A-Za-z0-9:._-]+:)?[A-Za-z$][\w$-]*(\.[A-Za-z$][\w$-]*)?$/;

interface Token {
  readonly kind: 'word' | 'string' | 'number' | 'bracket';
  readonly text: string;
}

/** Where a PATCH operation goes: `name.givenName`, `emails[type eq "work"].value`. Names as they were written, an extension's URN apart. */
export interface PatchPath {
  readonly urn: string | undefined;
  readonly attribute: string;
  readonly element: ScimFilter | undefined;
  readonly sub: string | undefined;
}

/**
 * Reads a filter of RFC 7644 3.4.2.2: `not` binds closest, then `and`, then `or`.
 * @throws {ScimFailure} `invalidFilter` saying what was expected.
 */
export function parseFilter(text: string): ScimFilter {
  const reader = new Reader(tokens(text));
  const filter = reader.disjunction(1);
  reader.assertEnd();
  return filter;
}

/** Reads the path of a PATCH operation (RFC 7644 3.5.2). @throws {ScimFailure} `invalidPath`. */
export function parsePatchPath(text: string): PatchPath {
  const match = /^(?:(urn:[A-Za-z0-9:._-]+):)?([A-Za-z$][\w$-]*)(?:\[(.*)\])?(?:\.([A-Za-z$][\w$-]*))?$/s.exec(text.trim());
  const [, urn, attribute, element, sub] = match ?? [];
  if (attribute === undefined) throw new ScimFailure('InvalidInput', 'invalidPath', 'the path of an operation cannot be read');
  return { urn, attribute, element: element === undefined ? undefined : parseFilter(element), sub };
}

function tokens(text: string): Token[] {
  const found: Token[] = [];
  const pattern = /\s*(?:("(?:[^"\\]|\\.)*")|(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)(?![\w:.-])|([()[\]])|([^\s()[\]"]+))/y;
  const end = text.trimEnd().length;
  while (pattern.lastIndex < end) {
    const match = pattern.exec(text);
    if (match === null) throw invalid('a text that begins with a quote must end with one');
    const [, string, number, bracket, word] = match;
    if (string !== undefined) found.push({ kind: 'string', text: string });
    else if (number !== undefined) found.push({ kind: 'number', text: number });
    else if (bracket !== undefined) found.push({ kind: 'bracket', text: bracket });
    else found.push({ kind: 'word', text: word ?? '' });
  }
  return found;
}

/** Recursive descent over the tokens. */
class Reader {
  readonly #tokens: readonly Token[];
  #next = 0;
  #terms = 0;

  constructor(all: readonly Token[]) {
    this.#tokens = all;
  }

  disjunction(depth: number): ScimFilter {
    return this.#series('or', depth, () => this.#conjunction(depth));
  }

  assertEnd(): void {
    const rest = this.#peek();
    if (rest !== undefined) throw invalid(`"${rest.text}" was not expected`);
  }

  #conjunction(depth: number): ScimFilter {
    return this.#series('and', depth, () => this.#term(depth));
  }

  #series(kind: 'and' | 'or', depth: number, read: () => ScimFilter): ScimFilter {
    if (depth > DEPTH_LIMIT) throw invalid('the filter nests too deep');
    const first = read();
    const others: ScimFilter[] = [];
    while (this.#takeWord(kind)) others.push(read());
    return others.length === 0 ? first : { kind, filters: [first, ...others] };
  }

  #term(depth: number): ScimFilter {
    this.#terms += 1;
    if (this.#terms > TERM_LIMIT) throw invalid('the filter has too many terms');
    if (this.#peekWord('not') && this.#tokens[this.#next + 1]?.text === '(') {
      this.#next += 1;
      return { kind: 'not', filter: this.#group(depth) };
    }
    if (this.#isBracket('(')) return this.#group(depth);
    const path = this.#path();
    if (this.#isBracket('[')) {
      this.#next += 1;
      const filter = this.disjunction(depth + 1);
      this.#expectBracket(']');
      // `emails[type eq "work"].value eq "x"` is not in the grammar, and nobody sends it in a filter.
      return { kind: 'element', path, filter };
    }
    const operator = this.#take()?.text.toLowerCase() ?? '';
    if (operator === 'pr') return { kind: 'present', path };
    if (!isOperator(operator)) throw invalid(`an operator was expected after "${path}"`);
    return { kind: 'compare', path, operator, value: this.#value() };
  }

  #group(depth: number): ScimFilter {
    this.#expectBracket('(');
    const filter = this.disjunction(depth + 1);
    this.#expectBracket(')');
    return filter;
  }

  #path(): string {
    const token = this.#take();
    if (token?.kind !== 'word' || !PATH.test(token.text)) throw invalid('the name of an attribute was expected');
    return token.text.toLowerCase();
  }

  #value(): FilterValue {
    const token = this.#take();
    if (token?.kind === 'string') return text(token.text);
    if (token?.kind === 'number') return Number(token.text);
    switch (token?.kind === 'word' ? token.text.toLowerCase() : undefined) {
      case 'true':
        return true;
      case 'false':
        return false;
      case 'null':
        return null;
      default:
        throw invalid('a value was expected: text in quotes, a number, true, false or null');
    }
  }

  #peek(): Token | undefined {
    return this.#tokens[this.#next];
  }

  #take(): Token | undefined {
    const token = this.#peek();
    this.#next += 1;
    return token;
  }

  #peekWord(word: string): boolean {
    const token = this.#peek();
    return token?.kind === 'word' && token.text.toLowerCase() === word;
  }

  #takeWord(word: string): boolean {
    if (!this.#peekWord(word)) return false;
    this.#next += 1;
    return true;
  }

  #isBracket(bracket: string): boolean {
    const token = this.#peek();
    return token?.kind === 'bracket' && token.text === bracket;
  }

  #expectBracket(bracket: string): void {
    if (!this.#isBracket(bracket)) throw invalid(`"${bracket}" was expected`);
    this.#next += 1;
  }
}

/** A JSON string. */
function text(quoted: string): string {
  let value: unknown;
  try {
    value = JSON.parse(quoted);
  } catch {
    throw invalid('a text has an escape that JSON does not know');
  }
  if (typeof value !== 'string' || value.includes('\0') || !value.isWellFormed()) throw invalid('a text has characters that cannot be stored');
  return value;
}

function isOperator(word: string): word is FilterOperator {
  return OPERATORS.has(word);
}

function invalid(message: string): ScimFailure {
  return new ScimFailure('InvalidInput', 'invalidFilter', `the filter cannot be read: ${message}`);
}
