import { Environment } from '@marcbachmann/cel-js';
import { RE2JS } from 're2js';

/** Nodes of one expression's syntax tree; longer ones are refused when they are saved. */
export const MAX_EXPRESSION_NODES = 1000;

/** A node of cel-js' syntax tree, as far as it is looked at here. */
export interface SyntaxNode {
  readonly op: string;
  args: unknown;
  readonly start: number;
}

export const isNode = (value: unknown): value is SyntaxNode => typeof value === 'object' && value !== null && 'op' in value && 'args' in value;

/** Makes `matches` in a syntax tree mean RE2. */
export function matchByRe2(value: unknown): void {
  if (Array.isArray(value)) for (const element of value) matchByRe2(element);
  if (!isNode(value)) return;
  if (value.op === 'rcall' && Array.isArray(value.args) && value.args[0] === 'matches') value.args[0] = 'matchesRe2';
  matchByRe2(value.args);
}

/** Compiled patterns of `matches`; most are literals, so a few are enough. */
const patterns = new Map<string, RE2JS>();
const MAX_PATTERNS = 1000;

/** A compiled RE2 pattern. @throws {Error} for one that does not compile. */
export function pattern(source: string): RE2JS {
  let compiled = patterns.get(source);
  if (compiled === undefined) {
    if (patterns.size >= MAX_PATTERNS) patterns.clear();
    compiled = RE2JS.compile(source);
    patterns.set(source, compiled);
  }
  return compiled;
}

function toNumber(value: unknown): number {
  const number = typeof value === 'number' || typeof value === 'bigint' || (typeof value === 'string' && value.trim() !== '') ? Number(value) : Number.NaN;
  if (Number.isNaN(number)) throw new TypeError('number() needs a number or a numeric string');
  return number;
}

/** CEL as HAL9 speaks it: JSON's numbers mix with integers, patterns are RE2. Variables are the caller's to register. */
export function createEnvironment(): Environment {
  const environment = new Environment({
    enableOptionalTypes: true,
    homogeneousAggregateLiterals: false,
    limits: { maxAstNodes: MAX_EXPRESSION_NODES, maxDepth: 50, maxListElements: 200, maxMapEntries: 200, maxCallArguments: 16 },
  });
  // JSON knows doubles only; without these `signal.data.value * 2` would be an error, since CEL's own operators never mix.
  const mixed: readonly [string, (a: number, b: number) => number][] = [
    ['+', (a, b) => a + b], ['-', (a, b) => a - b], ['*', (a, b) => a * b], ['/', (a, b) => a / b], ['%', (a, b) => a % b],
  ];
  for (const [operator, apply] of mixed) {
    const handler = (a: number | bigint, b: number | bigint): number => apply(Number(a), Number(b));
    environment.registerOperator(`int ${operator} double: double`, handler);
    environment.registerOperator(`double ${operator} int: double`, handler);
  }
  environment.registerOperator('double % double: double', (a: number, b: number) => a % b);
  environment.registerFunction('number(dyn): double', toNumber);
  environment.registerFunction('abs(dyn): double', (value: unknown) => Math.abs(toNumber(value)));
  environment.registerFunction('floor(dyn): double', (value: unknown) => Math.floor(toNumber(value)));
  environment.registerFunction('min(dyn, dyn): double', (a: unknown, b: unknown) => Math.min(toNumber(a), toNumber(b)));
  environment.registerFunction('max(dyn, dyn): double', (a: unknown, b: unknown) => Math.max(toNumber(a), toNumber(b)));
  environment.registerFunction('round(dyn, int): double', (value: unknown, digits: bigint) => Number(toNumber(value).toFixed(Math.min(15, Math.max(0, Number(digits))))));
  environment.registerFunction('lower(string): string', (value: string) => value.toLowerCase());
  environment.registerFunction('upper(string): string', (value: string) => value.toUpperCase());
  // RE2 has no catastrophic backtracking; JavaScript's own RegExp has, and a signal could use it to stall a worker.
  environment.registerFunction('string.matchesRe2(string): bool', (text: string, source: string) => pattern(source).matcher(text).find());
  return environment;
}

/** cel-js answers integers as BigInt and timestamps as Date; JSON knows neither. What has no JSON form (a duration) becomes null. */
export function toJson(value: unknown): unknown {
  switch (typeof value) {
    case 'bigint': return value >= Number.MIN_SAFE_INTEGER && value <= Number.MAX_SAFE_INTEGER ? Number(value) : String(value);
    case 'number': return Number.isFinite(value) ? value : null;
    case 'object': {
      if (value === null) return null;
      if (Array.isArray(value)) return value.map(toJson);
      if (value instanceof Date) return value.toISOString();
      if (value instanceof Uint8Array) return Buffer.from(value).toString('base64');
      if (value instanceof Map) return Object.fromEntries([...value].map(([key, inner]) => [String(key), toJson(inner)]));
      const prototype: unknown = Object.getPrototypeOf(value);
      if (prototype === Object.prototype || prototype === null) return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, toJson(inner)]));
      const primitive: unknown = value.valueOf();
      return primitive === value ? null : toJson(primitive);
    }
    case 'undefined': return null;
    default: return value;
  }
}
