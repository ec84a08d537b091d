import type { Environment } from '@marcbachmann/cel-js';
import type { Layer } from '../schemas/names/layers.ts';
import { createEnvironment, isNode, matchByRe2, toJson } from './cel-environment.ts';
import type { NeuronSignal } from './layer.ts';

/** How deep macros over lists (`map`, `filter`, `exists`, `all`) may nest: each level multiplies the cost. */
export const MAX_MACRO_DEPTH = 2;
/** Longest list (or map) of a signal that nested macros may meet: their cost grows with its square. */
export const MAX_NESTED_LENGTH = 1000;

/** What an expression must answer. */
export type Expected = 'bool' | 'string' | 'number' | 'map' | 'json';

/** An expression that cannot be compiled, or that failed on one signal. Carries no data of the signal. */
export class ExpressionError extends Error {
  override readonly name = 'ExpressionError';
  /** Where the expression stands in the neuron, as a JSON pointer, e.g. `/behaviour/rules/0/when`. */
  readonly place: string;
  /** Offset of the offending part in the expression, in UTF-16 code units from 0; null when it is the whole. */
  readonly position: number | null;
  /** Machine-readable cause, e.g. `no_such_key`. */
  readonly code: string;

  constructor(code: string, cause: string, place: string, position: number | null) {
    super(`${place}${position === null ? '' : ` at ${String(position + 1)}`}: ${cause}`);
    this.code = code;
    this.place = place;
    this.position = position;
  }
}

/** The variables of an expression. */
export interface Scope {
  readonly signal: Readonly<Record<string, unknown>>;
  /** Only in the rules that follow an `llm` or `http` call. */
  readonly answer?: unknown;
  /** Only in the prompt or body of a neuron that recalls. */
  readonly memory?: unknown;
}

const MACROS: ReadonlySet<string> = new Set(['map', 'filter', 'exists', 'all', 'exists_one', 'existsOne']);
/** Fields of a signal that are computed or internal: an expression that names one gets a view instead of the signal itself. */
const VIEW_FIELDS: ReadonlySet<string> = new Set(['time', 'layer', 'ref', 'path', 'depth']);

const signalEnvironment = createEnvironment().registerVariable('signal', 'map<string, dyn>');
const answerEnvironment = createEnvironment().registerVariable('signal', 'map<string, dyn>').registerVariable('answer', 'dyn');
const memoryEnvironment = createEnvironment().registerVariable('signal', 'map<string, dyn>').registerVariable('memory', 'map<string, dyn>');

/** What the syntax tree tells about an expression before it runs. */
interface Shape {
  /** Whether it reads computed fields, or `signal` as a whole. */
  needsView: boolean;
  macroDepth: number;
}

function inspect(value: unknown, macros: number, shape: Shape): void {
  if (Array.isArray(value)) {
    for (const element of value) inspect(element, macros, shape);
    return;
  }
  if (!isNode(value)) return;
  let depth = macros;
  if (value.op === 'id' && value.args === 'signal') shape.needsView = true;
  if (value.op === 'rcall' && Array.isArray(value.args)) {
    const name: unknown = value.args[0];
    if (typeof name === 'string' && MACROS.has(name)) depth += 1;
  }
  shape.macroDepth = Math.max(shape.macroDepth, depth);
  if ((value.op === '.' || value.op === '.?') && Array.isArray(value.args)) {
    const [object, field]: unknown[] = value.args;
    if (isNode(object) && object.op === 'id' && object.args === 'signal') {
      if (typeof field !== 'string' || VIEW_FIELDS.has(field)) shape.needsView = true;
      return;
    }
  }
  inspect(value.args, depth, shape);
}

/** An equality that must hold for a condition to be true: the value at `signal.<path>` is `value`. */
export interface RequiredEquality {
  readonly path: readonly string[];
  readonly value: string;
}

function signalPath(value: unknown): string[] | undefined {
  if (!isNode(value)) return undefined;
  if (value.op === 'id') return value.args === 'signal' ? [] : undefined;
  if (value.op !== '.' || !Array.isArray(value.args)) return undefined;
  const [object, field]: unknown[] = value.args;
  const base = signalPath(object);
  if (base === undefined || typeof field !== 'string') return undefined;
  base.push(field);
  return base;
}

function requiredEqualities(value: unknown, found: RequiredEquality[]): void {
  if (!isNode(value) || !Array.isArray(value.args)) return;
  const [left, right]: unknown[] = value.args;
  if (value.op === '&&') {
    requiredEqualities(left, found);
    requiredEqualities(right, found);
  } else if (value.op === '==') {
    for (const [side, other] of [[left, right], [right, left]] as const) {
      const path = signalPath(side);
      if (path !== undefined && path.length > 0 && !VIEW_FIELDS.has(path[0] ?? '') && isNode(other) && other.op === 'value' && typeof other.args === 'string') {
        found.push({ path, value: other.args });
        return;
      }
    }
  }
}

/** A failure of cel-js, as far as its fields can be relied on. */
function describe(error: unknown): { code: string; summary: string; position: number | null } {
  const code = property(error, 'code');
  const summary = property(error, 'summary');
  const start = property(property(error, 'range'), 'start');
  return {
    code: typeof code === 'string' ? code : 'evaluation_error',
    summary: typeof summary === 'string' ? summary : 'the expression failed',
    position: typeof start === 'number' ? start : null,
  };
}

function property(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null && name in value ? Reflect.get(value, name) : undefined;
}

/** Messages that speak of types and of the expression only; any other might quote the signal. */
const SAFE_CODES: ReadonlySet<string> = new Set([
  'no_such_overload', 'no_matching_overload', 'division_by_zero', 'int_conversion_error', 'double_conversion_error', 'invalid_timestamp',
  'invalid_logical_operand', 'invalid_condition_type', 'invalid_comprehension_range', 'unsupported_type',
]);

function runtimeCause(error: unknown): { code: string; cause: string; position: number | null } {
  const { code, summary, position } = describe(error);
  if (code === 'no_such_key') {
    const node = property(error, 'node');
    // Only a field that the expression itself names; a computed key would be the signal's data.
    const args = isNode(node) && (node.op === '.' || node.op === '.?') ? node.args : undefined;
    const field: unknown = Array.isArray(args) ? args[1] : undefined;
    return { code, position, cause: typeof field === 'string' ? `the signal has no field "${field}"` : 'the signal has no such field' };
  }
  if (SAFE_CODES.has(code)) return { code, position, cause: summary };
  return { code, position, cause: `the expression failed (${code.replaceAll('_', ' ')})` };
}

function typeName(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'list';
  return typeof value === 'object' ? 'map' : typeof value;
}

/** One CEL expression, parsed and type-checked once. Immutable; evaluation has no side effect. */
export class Expression {
  readonly source: string;
  readonly place: string;
  /** Whether {@link Scope.signal} must be a {@link signalView}; otherwise the signal itself will do. */
  readonly needsView: boolean;
  /** Equalities that must hold for the expression to be true: the routing index uses them. */
  readonly required: readonly RequiredEquality[];
  readonly #program: (scope: Scope) => unknown;
  readonly #nested: boolean;

  private constructor(source: string, place: string, shape: Shape, required: readonly RequiredEquality[], program: (scope: Scope) => unknown) {
    this.source = source;
    this.place = place;
    this.needsView = shape.needsView;
    this.#nested = shape.macroDepth > 1;
    this.required = required;
    this.#program = program;
  }

  /**
   * Parses and type-checks.
   * @param place JSON pointer of the expression in its neuron, for errors.
   * @param withAnswer whether the variable `answer` exists; `memory`: that one does instead.
   * @throws {ExpressionError} naming the place and the position.
   */
  static compile(source: string, place: string, expected: Expected, withAnswer: boolean | 'memory' = false): Expression {
    let program: ReturnType<Environment['parse']>;
    try {
      program = environmentOf(withAnswer).parse(source);
    } catch (error) {
      const { code, summary, position } = describe(error);
      throw new ExpressionError(code, summary, place, position);
    }
    matchByRe2(program.ast);
    const shape: Shape = { needsView: false, macroDepth: 0 };
    inspect(program.ast, 0, shape);
    if (shape.macroDepth > MAX_MACRO_DEPTH) {
      throw new ExpressionError('macro_depth', `list macros may nest ${String(MAX_MACRO_DEPTH)} deep at most`, place, null);
    }
    const checked = program.check();
    if (!checked.valid) {
      const { code, summary, position } = describe(checked.error);
      throw new ExpressionError(code, summary, place, position);
    }
    const type = checked.type ?? 'dyn';
    if (!mayAnswer(type, expected)) throw new ExpressionError('wrong_type', `must answer a ${expected}, but answers ${type}`, place, null);
    const required: RequiredEquality[] = [];
    requiredEqualities(program.ast, required);
    return new Expression(source, place, shape, required, program);
  }

  /**
   * A condition.
   * @throws {ExpressionError} when a field is missing (`code` `no_such_key`), types do not fit, or the answer is not a bool.
   */
  test(scope: Scope): boolean {
    const answer = this.#run(scope);
    if (typeof answer === 'boolean') return answer;
    throw this.#mismatch('bool', answer);
  }

  /** @throws {ExpressionError} as {@link test}. */
  text(scope: Scope): string {
    const answer = this.#run(scope);
    if (typeof answer === 'string') return answer;
    throw this.#mismatch('string', answer);
  }

  /** A finite number. @throws {ExpressionError} as {@link test}. */
  number(scope: Scope): number {
    const answer = this.#run(scope);
    const number = typeof answer === 'bigint' ? Number(answer) : answer;
    if (typeof number === 'number' && Number.isFinite(number)) return number;
    throw this.#mismatch('finite number', answer);
  }

  /** A JSON object: integers become numbers, timestamps RFC 3339. @throws {ExpressionError} as {@link test}. */
  map(scope: Scope): Record<string, unknown> {
    const answer = toJson(this.#run(scope));
    if (typeof answer === 'object' && answer !== null && !Array.isArray(answer)) return { ...answer };
    throw this.#mismatch('map', answer);
  }

  /** Any JSON value, as {@link map} makes it. @throws {ExpressionError} when the expression fails. */
  json(scope: Scope): unknown {
    return toJson(this.#run(scope));
  }

  #mismatch(expected: string, answer: unknown): ExpressionError {
    return new ExpressionError('wrong_type', `must answer a ${expected}, but answered a ${typeName(answer)}`, this.place, null);
  }

  #run(scope: Scope): unknown {
    if (this.#nested && longest(scope.signal, scope.answer, scope.memory) > MAX_NESTED_LENGTH) {
      throw new ExpressionError('long_list', `nested list macros meet a list of more than ${String(MAX_NESTED_LENGTH)} elements`, this.place, null);
    }
    try {
      return this.#program(scope);
    } catch (error) {
      const { code, cause, position } = runtimeCause(error);
      throw new ExpressionError(code, cause, this.place, position);
    }
  }
}

function environmentOf(withAnswer: boolean | 'memory'): Environment {
  if (withAnswer === 'memory') return memoryEnvironment;
  return withAnswer ? answerEnvironment : signalEnvironment;
}

/** Length of the longest list or map within the values. */
function longest(...values: readonly unknown[]): number {
  let most = 0;
  const waiting = [...values];
  for (let value = waiting.pop(); value !== undefined || waiting.length > 0; value = waiting.pop()) {
    if (typeof value !== 'object' || value === null) continue;
    const inner: unknown[] = Array.isArray(value) ? value : Object.values(value);
    most = Math.max(most, inner.length);
    if (most > MAX_NESTED_LENGTH) return most;
    waiting.push(...inner);
  }
  return most;
}

function mayAnswer(type: string, expected: Expected): boolean {
  if (type === 'dyn') return true;
  switch (expected) {
    case 'bool': return type === 'bool';
    case 'string': return type === 'string';
    case 'number': return type === 'int' || type === 'double' || type === 'uint';
    case 'map': return type === 'map' || type.startsWith('map<');
    case 'json': return true;
  }
}

/** The signal with its computed fields (`time`, `layer`) and without HAL9's own (`ref`, `path`, `depth`). */
export function signalView(signal: NeuronSignal, layer: Layer): Record<string, unknown> {
  const { ref: _ref, path: _path, depth: _depth, ...visible } = signal;
  return { ...visible, time: new Date(signal.timeMs).toISOString(), layer };
}
