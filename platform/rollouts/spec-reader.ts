/** Something of a spec that people should know. */
export interface ImportNote {
  /** `lost`: HAL9 has nothing for it. `changed`: carried over with another meaning. `todo`: to be done by somebody. */
  readonly kind: 'lost' | 'changed' | 'todo';
  /** The object, as `Rollout shop/web`. */
  readonly of: string;
  /** JSON pointer (RFC 6901) into the object. */
  readonly path: string;
  readonly message: string;
}

/** Reads an object field by field and remembers which: what nobody read is what was not carried over. */
export class SpecReader {
  readonly of: string;
  readonly path: string;
  readonly #fields: ReadonlyMap<string, unknown>;
  readonly #notes: ImportNote[];
  readonly #read = new Set<string>();
  readonly #children: SpecReader[] = [];

  /** @param notes where notes about it go. */
  constructor(of: string, value: unknown, notes: ImportNote[], path = '') {
    this.of = of;
    this.path = path;
    this.#notes = notes;
    this.#fields = isObject(value) ? new Map(Object.entries(value)) : new Map();
  }

  has(name: string): boolean {
    return this.#fields.get(name) !== undefined && this.#fields.get(name) !== null;
  }

  names(): string[] {
    return [...this.#fields.keys()].filter((name) => this.has(name));
  }

  /** The field as it is; all below it counts as read. */
  raw(name: string): unknown {
    this.#read.add(name);
    return this.#fields.get(name);
  }

  text(name: string): string | undefined {
    const value = this.raw(name);
    if (typeof value === 'string') return value;
    return typeof value === 'number' || typeof value === 'boolean' ? String(value) : this.#unreadable(name, value, 'a text');
  }

  number(name: string): number | undefined {
    const value = this.raw(name);
    const number = typeof value === 'string' && value.trim() !== '' ? Number(value) : value;
    return typeof number === 'number' && Number.isFinite(number) ? number : this.#unreadable(name, value, 'a number');
  }

  flag(name: string): boolean | undefined {
    const value = this.raw(name);
    return typeof value === 'boolean' ? value : this.#unreadable(name, value, 'true or false');
  }

  /** A time in seconds; see {@link secondsOf}. */
  seconds(name: string): number | undefined {
    const value = this.raw(name);
    if (value === undefined || value === null) return undefined;
    return secondsOf(value) ?? this.#unreadable(name, value, 'a time like 30s');
  }

  /** An object below; undefined where there is none. What of it is not read is noted with the rest. */
  child(name: string): SpecReader | undefined {
    const value = this.raw(name);
    if (!isObject(value)) return this.#unreadable(name, value, 'an object');
    return this.#below(name, value);
  }

  list(name: string): SpecReader[] {
    const value = this.raw(name);
    if (!Array.isArray(value)) return this.#unreadable(name, value, 'a list') ?? [];
    return value.map((item, index) => this.#below(`${name}/${String(index)}`, item));
  }

  note(kind: ImportNote['kind'], message: string, name?: string): void {
    this.#notes.push({ kind, of: this.of, path: name === undefined ? this.path : `${this.path}/${escaped(name)}`, message });
  }

  /** Takes it as read, with all below: it is noted as a whole. */
  drop(): void {
    for (const name of this.names()) this.#read.add(name);
    this.#children.length = 0;
  }

  /** Notes every field that nobody read, here and below. */
  end(): void {
    for (const name of this.names()) if (!this.#read.has(name)) this.note('lost', `${name} has no counterpart in HAL9`, name);
    for (const child of this.#children) child.end();
  }

  #below(name: string, value: unknown): SpecReader {
    const child = new SpecReader(this.of, value, this.#notes, `${this.path}/${name.split('/').map(escaped).join('/')}`);
    this.#children.push(child);
    return child;
  }

  #unreadable(name: string, value: unknown, wanted: string): undefined {
    if (value !== undefined && value !== null) this.note('lost', `${name} is not ${wanted}`, name);
    return undefined;
  }
}

const UNITS = new Map([['ns', 1e-9], ['us', 1e-6], ['µs', 1e-6], ['ms', 1e-3], ['s', 1], ['m', 60], ['h', 3600]]);

/** Seconds of a duration of Go (`1h30m`, `500ms`) or of a number of seconds; undefined for anything else. */
export function secondsOf(value: unknown): number | undefined {
  if (typeof value === 'number') return value >= 0 ? value : undefined;
  if (typeof value !== 'string') return undefined;
  if (/^\d+(\.\d+)?$/.test(value)) return Number(value);
  if (!/^(\d+(\.\d+)?(ns|us|µs|ms|s|m|h))+$/.test(value)) return undefined;
  return [...value.matchAll(/(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)/g)].reduce((sum, [, amount, unit]) => sum + Number(amount) * (UNITS.get(unit ?? '') ?? 0), 0);
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** RFC 6901, section 3. */
function escaped(name: string): string {
  return name.replaceAll('~', '~0').replaceAll('/', '~1');
}
