import type { NeuronSignal } from './layer.ts';

/** What the index needs to know about a neuron. */
export interface Route {
  readonly types: readonly string[];
  /** Exact sources, or prefixes ending in `*`; undefined is all. */
  readonly sources: readonly string[] | undefined;
  /** Equalities without which the neuron's filter cannot be true. */
  readonly required: readonly { readonly path: readonly string[]; readonly value: string }[];
}

/** Distinct (type, source) pairs whose answer is remembered; beyond it the memory starts anew. */
const MAX_REMEMBERED = 50_000;
const NOBODY: readonly number[] = [];

/** Positions of neurons by source: exact, by prefix (looked up once per distinct prefix length), or any. */
class SourceIndex {
  // Made when first needed: with 100,000 neurons most indexes hold one of them.
  #any: number[] | undefined;
  #exact: Map<string, number[]> | undefined;
  #prefixes: Map<number, Map<string, number[]>> | undefined;

  add(position: number, sources: readonly string[] | undefined): void {
    if (sources === undefined || sources.includes('*')) {
      (this.#any ??= []).push(position);
      return;
    }
    for (const source of sources) {
      if (source.endsWith('*')) {
        const prefix = source.slice(0, -1);
        const prefixes = this.#prefixes ??= new Map();
        let byPrefix = prefixes.get(prefix.length);
        if (byPrefix === undefined) prefixes.set(prefix.length, byPrefix = new Map());
        append(byPrefix, prefix, position);
      } else {
        append(this.#exact ??= new Map(), source, position);
      }
    }
  }

  collect(source: string, into: number[][]): void {
    if (this.#any !== undefined) into.push(this.#any);
    const exact = this.#exact?.get(source);
    if (exact !== undefined) into.push(exact);
    if (this.#prefixes === undefined) return;
    for (const [length, byPrefix] of this.#prefixes) {
      if (length > source.length) continue;
      const found = byPrefix.get(source.slice(0, length));
      if (found !== undefined) into.push(found);
    }
  }
}

/** Neurons whose filter demands one of these values at `path`. */
interface ValueGroup {
  readonly path: readonly string[];
  readonly values: Map<string, SourceIndex>;
}

/** Neurons of one type pattern: those told apart by source alone, and those told apart by a value that their filter demands. */
class Bucket {
  readonly #plain = new SourceIndex();
  #byValue: Map<string, ValueGroup> | undefined;

  add(position: number, route: Route): void {
    // A source that the filter demands is as good as one that the subscription names.
    const demandedSource = route.required.find(({ path }) => path.length === 1 && path[0] === 'source')?.value;
    const sources = route.sources ?? (demandedSource === undefined ? undefined : [demandedSource]);
    const demanded = route.required.find(({ path }) => path[0] !== 'source' && path[0] !== 'type');
    if (demanded === undefined) {
      this.#plain.add(position, sources);
      return;
    }
    const key = JSON.stringify(demanded.path);
    const groups = this.#byValue ??= new Map<string, ValueGroup>();
    let group = groups.get(key);
    if (group === undefined) groups.set(key, group = { path: demanded.path, values: new Map() });
    let index = group.values.get(demanded.value);
    if (index === undefined) group.values.set(demanded.value, index = new SourceIndex());
    index.add(position, sources);
  }

  collectPlain(source: string, into: number[][]): void {
    this.#plain.collect(source, into);
  }

  get valueGroups(): Iterable<ValueGroup> {
    return this.#byValue?.values() ?? [];
  }

  get hasValueGroups(): boolean {
    return this.#byValue !== undefined;
  }
}

/** What is remembered for a type: its buckets, and the answer by source. */
interface TypeRoutes {
  readonly buckets: readonly Bucket[];
  /** Those of {@link buckets} that must look into the signal. */
  readonly looking: readonly Bucket[];
  readonly bySource: Map<string, readonly number[]>;
}

/**
 * Finds the neurons that may want a signal. Types match exactly, by a prefix that ends in `.*`, or all (`*`); sources exactly or by
 * prefix. Filters of the form `signal.a.b == "text" && ...` are indexed too, so that many neurons on one type stay cheap: a neuron whose
 * demanded value differs is not among the answers, and its filter is not run.
 */
export class RoutingIndex {
  readonly #exact = new Map<string, Bucket>();
  /** By the prefix with its final dot: `x.*` is kept under `x.`. */
  readonly #prefix = new Map<string, Bucket>();
  readonly #all = new Bucket();
  readonly #remembered = new Map<string, TypeRoutes>();
  #pairs = 0;

  /** @param routes by position; {@link find} answers positions. */
  constructor(routes: readonly Route[]) {
    for (const [position, route] of routes.entries()) {
      const demandedType = route.required.find(({ path }) => path.length === 1 && path[0] === 'type')?.value;
      const types = demandedType !== undefined && route.types.includes('*') ? [demandedType] : route.types;
      for (const type of new Set(types)) this.#bucket(type).add(position, route);
    }
  }

  #bucket(type: string): Bucket {
    if (type === '*') return this.#all;
    const [map, key] = type.endsWith('.*') ? [this.#prefix, type.slice(0, -1)] as const : [this.#exact, type] as const;
    let bucket = map.get(key);
    if (bucket === undefined) map.set(key, bucket = new Bucket());
    return bucket;
  }

  /** Positions in ascending order, each once. Shared: do not change it. */
  find(signal: NeuronSignal): readonly number[] {
    const routes = this.#remembered.get(signal.type) ?? this.#remember(signal.type);
    let plain = routes.bySource.get(signal.source);
    if (plain === undefined) {
      const lists: number[][] = [];
      for (const bucket of routes.buckets) bucket.collectPlain(signal.source, lists);
      plain = merge(lists, NOBODY);
      this.#forgetIfFull();
      routes.bySource.set(signal.source, plain);
      this.#pairs += 1;
    }
    if (routes.looking.length === 0) return plain;
    const lists: number[][] = [];
    for (const bucket of routes.looking) {
      for (const { path, values } of bucket.valueGroups) {
        const value = valueAt(signal, path);
        if (typeof value === 'string') values.get(value)?.collect(signal.source, lists);
      }
    }
    return lists.length === 0 ? plain : merge(lists, plain);
  }

  #remember(type: string): TypeRoutes {
    const buckets = [this.#exact.get(type)];
    for (let dot = type.indexOf('.'); dot !== -1; dot = type.indexOf('.', dot + 1)) buckets.push(this.#prefix.get(type.slice(0, dot + 1)));
    buckets.push(this.#all);
    const present = buckets.filter((bucket) => bucket !== undefined);
    const routes = { buckets: present, looking: present.filter((bucket) => bucket.hasValueGroups), bySource: new Map<string, readonly number[]>() };
    this.#forgetIfFull();
    this.#remembered.set(type, routes);
    this.#pairs += 1;
    return routes;
  }

  #forgetIfFull(): void {
    if (this.#pairs < MAX_REMEMBERED) return;
    this.#remembered.clear();
    this.#pairs = 0;
  }
}

function append(map: Map<string, number[]>, key: string, position: number): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [position]);
  else if (list.at(-1) !== position) list.push(position);
}

function merge(lists: readonly (readonly number[])[], base: readonly number[]): readonly number[] {
  const [only] = lists;
  if (only === undefined) return base;
  if (lists.length === 1 && base.length === 0) return only;
  const all = new Set(base);
  for (const list of lists) for (const position of list) all.add(position);
  return [...all].sort((a, b) => a - b);
}

function valueAt(signal: NeuronSignal, path: readonly string[]): unknown {
  let value: unknown = signal;
  for (const field of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, field)) return undefined;
    value = Reflect.get(value, field);
  }
  return value;
}
