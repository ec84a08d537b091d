import { createEnvironment, matchByRe2, pattern, toJson } from '../../neurons/cel-environment.ts';
import { HalError } from '../../schemas/errors.ts';

/** What expressions of a flow see: JSON values. */
export interface FlowScope {
  readonly input: unknown;
  readonly vars: Readonly<Record<string, unknown>>;
}

const PLACEHOLDER = /\{\{([\s\S]+?)\}\}/g;
const MAX_COMPILED = 2000;

const environment = createEnvironment().registerVariable('input', 'dyn').registerVariable('vars', 'map<string, dyn>');
environment.registerFunction('string.capture(string): string', (text: string, source: string) => captureFirst(text, source) ?? '');
environment.registerFunction('string.captures(string): list<string>', (text: string, source: string) => captureAll(text, source));
environment.registerFunction('string.replace(string, string): string', (text: string, from: string, to: string) => text.replaceAll(from, to));
environment.registerFunction('list.indexOf(dyn): int', (list: unknown[], wanted: unknown) => BigInt(list.findIndex((item) => sameValue(item, wanted))));
environment.registerFunction('list.lowest(): double', (list: unknown[]) => Math.min(...list.map(Number)));
environment.registerFunction('list.highest(): double', (list: unknown[]) => Math.max(...list.map(Number)));
environment.registerFunction('list.sorted(): list', (list: unknown[]) => list.toSorted((a, b) => (typeof a === 'string' ? a.localeCompare(String(b)) : Number(a) - Number(b))));
environment.registerFunction('list.range(): list', (list: unknown[]) => list.map((_, index) => BigInt(index)));
environment.registerFunction('range(int): list', (count: bigint) => Array.from({ length: Math.min(10_000, Math.max(0, Number(count))) }, (_, index) => BigInt(index)));

const compiled = new Map<string, (scope: FlowScope) => unknown>();

/**
 * Evaluates a CEL expression to JSON.
 * @throws {HalError} InvalidInput, naming the expression but none of the data.
 */
export function evaluate(source: string, scope: FlowScope): unknown {
  const program = compile(source);
  try {
    return toJson(program({ input: scope.input, vars: scope.vars }));
  } catch (error) {
    if (error instanceof HalError) throw error;
    throw new HalError('InvalidInput', `the expression ${source} failed: ${codeOf(error)}`, { cause: error });
  }
}

/** Fills the `{{ }}` of a text. @throws {HalError} InvalidInput. */
export function fill(text: string, scope: FlowScope): string {
  return text.replace(PLACEHOLDER, (_, source: string) => {
    const value = evaluate(source.trim(), scope);
    return typeof value === 'string' ? value : JSON.stringify(value);
  });
}

/** Finds what does not compile, before anything runs. @throws {HalError} InvalidInput. */
export function assertCompiles(source: string): void {
  compile(source);
}

/** The expressions inside of a text. */
export function placeholdersOf(text: string): string[] {
  return [...text.matchAll(PLACEHOLDER)].map(([, source = '']) => source.trim());
}

/** The first group of the first match, or the match; undefined when there is none. RE2 syntax. @throws {HalError} InvalidInput for no pattern. */
export function captureFirst(text: string, source: string): string | undefined {
  const matcher = re2(source).matcher(text);
  if (!matcher.find()) return undefined;
  return (matcher.groupCount() > 0 ? matcher.group(1) : matcher.group()) ?? '';
}

/** The groups of the first match where the pattern has several; else every match. */
function captureAll(text: string, source: string): string[] {
  const matcher = re2(source).matcher(text);
  const found: string[] = [];
  while (matcher.find()) {
    const groups = matcher.groupCount();
    if (groups > 1) return Array.from({ length: groups }, (_, index) => matcher.group(index + 1) ?? '');
    found.push((groups === 1 ? matcher.group(1) : matcher.group()) ?? '');
  }
  return found;
}

function re2(source: string): ReturnType<typeof pattern> {
  try {
    return pattern(source);
  } catch (error) {
    throw new HalError('InvalidInput', `the pattern ${source} does not compile`, { cause: error });
  }
}

function compile(source: string): (scope: FlowScope) => unknown {
  const known = compiled.get(source);
  if (known !== undefined) return known;
  try {
    const program = environment.parse(source);
    matchByRe2(program.ast);
    const checked = program.check();
    if (!checked.valid) throw checked.error ?? new Error('it does not type-check');
    if (compiled.size >= MAX_COMPILED) compiled.clear();
    compiled.set(source, program);
    return program;
  } catch (error) {
    const reason = typeof error === 'object' && error !== null && 'summary' in error ? String(error.summary) : 'it does not parse';
    throw new HalError('InvalidInput', `the expression ${source} does not compile: ${reason}`, { cause: error });
  }
}

/** Of cel-js' own failures; their messages may quote data. */
function codeOf(error: unknown): string {
  return typeof error === 'object' && error !== null && 'code' in error ? String(error.code).replaceAll('_', ' ') : 'evaluation error';
}

function sameValue(one: unknown, other: unknown): boolean {
  if (typeof one === 'bigint' || typeof other === 'bigint') return Number(one) === Number(other);
  return one === other;
}
