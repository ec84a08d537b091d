import { normalised, type Identities } from './identities.ts';

/** A name with places for identities (`{email}`) and for anything (`*`), as keys of Redis and objects of buckets are annotated. */
export class KeyTemplate {
  readonly text: string;
  readonly kinds: readonly string[];
  readonly #parts: readonly string[];

  constructor(text: string) {
    this.text = text;
    this.#parts = text.split(/(\{[a-z][a-z0-9_]*\}|\*)/i);
    this.kinds = [...new Set(this.#parts.flatMap((part) => kindOf(part) ?? []))];
  }

  /** What every name begins with, whoever it is of. */
  get prefix(): string {
    return this.#parts[0] ?? '';
  }

  /** For SCAN of Redis: anything in place of identities. */
  get pattern(): string {
    return this.#parts.map((part) => (part === '*' || kindOf(part) !== undefined ? '*' : part.replaceAll(/[*?[\]\\^-]/g, (sign) => `\\${sign}`))).join('');
  }

  /** The identities that a name holds; undefined when it is no such name. A kind that occurs twice must be the same twice. */
  match(name: string): Readonly<Record<string, string>> | undefined {
    const source = this.#parts.map((part) => (part === '*' ? '.*' : kindOf(part) !== undefined ? '(.+?)' : part.replaceAll(/[.*+?^${}()|[\]\\/-]/g, (sign) => `\\${sign}`))).join('');
    const found = new RegExp(`^${source}$`, 's').exec(name);
    if (found === null) return undefined;
    const values: Record<string, string> = {};
    let at = 0;
    for (const part of this.#parts) {
      const kind = kindOf(part);
      if (kind === undefined) continue;
      at += 1;
      const value = decoded(found[at] ?? '');
      if (values[kind] !== undefined && normalised(values[kind]) !== normalised(value)) return undefined;
      values[kind] = value;
    }
    return values;
  }

  /** Whether the name is one of the person: all identities in it are theirs. */
  isOf(name: string, identities: Identities): boolean {
    const found = this.match(name);
    return found !== undefined && this.kinds.length > 0 && Object.entries(found).every(([kind, value]) => identities[kind]?.some((own) => normalised(own) === normalised(value)) === true);
  }
}

function kindOf(part: string): string | undefined {
  return /^\{(.+)\}$/.exec(part)?.[1];
}

/** Names are often percent-encoded. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch (error) {
    if (error instanceof URIError) return text;
    throw error;
  }
}
