import type { z } from 'zod';
import { type Layer, LAYERS } from '../schemas/names/layers.ts';
import type { decideSchema, delegateSchema, emitSchema, Neuron } from '../schemas/neurons/definition.ts';
import { Expression, ExpressionError } from './expression.ts';
import type { Decision, Emission } from './layer.ts';
import type { SignalContext } from './signal-context.ts';

/** How often a signal may be delegated downwards before it counts as going in circles. */
export const MAX_DELEGATIONS = 8;
/** Evidence of a decision larger than this, in characters of JSON, is replaced by its size. */
const MAX_EVIDENCE_CHARACTERS = 16_384;

/** Where the outcomes of one evaluation collect. */
export interface Outcomes {
  readonly emissions: Emission[];
  readonly decisions: Decision[];
}

/** The layer above; undefined on top. */
export function layerAbove(layer: Layer): Layer | undefined {
  return LAYERS[LAYERS.indexOf(layer) + 1];
}

const optional = (source: string | undefined, place: string, expected: 'string' | 'map', withAnswer: boolean): Expression | undefined =>
  source === undefined ? undefined : Expression.compile(source, place, expected, withAnswer);

/** `emit`, compiled: makes emissions for the next layer up. */
export class EmitTemplate {
  readonly #neuron: Neuron;
  readonly #target: Layer;
  readonly #definition: z.infer<typeof emitSchema>;
  readonly #subject: Expression | undefined;
  readonly #correlationKey: Expression | undefined;
  readonly #data: Expression | undefined;

  /** @throws {ExpressionError} when the neuron is on the top layer, or an expression is wrong. */
  constructor(neuron: Neuron, definition: z.infer<typeof emitSchema>, place: string, withAnswer = false) {
    const target = layerAbove(neuron.layer);
    if (target === undefined) throw new ExpressionError('no_layer_above', `${neuron.layer} is the top layer: decide or delegate instead of emit`, place, null);
    this.#neuron = neuron;
    this.#target = target;
    this.#definition = definition;
    this.#subject = optional(definition.subject, `${place}/subject`, 'string', withAnswer);
    this.#correlationKey = optional(definition.correlationKey, `${place}/correlationKey`, 'string', withAnswer);
    this.#data = optional(definition.data, `${place}/data`, 'map', withAnswer);
  }

  /** @param computed what the neuron itself found; members of `data` go over it. Default: the signal's data. */
  emission(context: SignalContext, computed?: Readonly<Record<string, unknown>>): Emission {
    const { signal } = context;
    const subject = this.#subject === undefined ? signal.subject ?? null : context.text(this.#subject);
    const data = this.#data === undefined ? computed ?? signal.data ?? null : { ...computed, ...context.map(this.#data) };
    return this.groupEmission({
      subject,
      correlationKey: this.#correlationKey === undefined ? subject ?? signal.source : context.text(this.#correlationKey),
      timeMs: signal.timeMs,
      data,
      causes: [signal.ref],
      path: [...signal.path ?? [], this.#neuron.name],
      depth: signal.depth ?? 0,
    });
  }

  /** An emission that rests on many signals. */
  groupEmission(group: Pick<Emission, 'subject' | 'correlationKey' | 'timeMs' | 'data' | 'causes' | 'path' | 'depth'>): Emission {
    const { subject, correlationKey, timeMs, data, causes, path, depth } = group;
    return {
      neuronId: this.#neuron.id,
      neuronVersion: this.#neuron.version,
      neuronName: this.#neuron.name,
      targetLayer: this.#target,
      direction: 'up',
      type: this.#definition.type,
      subject,
      correlationKey,
      timeMs,
      severity: this.#definition.severity,
      data,
      causes: [...causes],
      path,
      depth,
    };
  }
}

/** `delegate`, compiled: makes tasks for a lower layer. */
export class DelegateTemplate {
  readonly #neuron: Neuron;
  readonly #definition: z.infer<typeof delegateSchema>;
  readonly #place: string;
  readonly #subject: Expression | undefined;
  readonly #data: Expression | undefined;

  /** @throws {ExpressionError} when the target is not below the neuron, or an expression is wrong. */
  constructor(neuron: Neuron, definition: z.infer<typeof delegateSchema>, place: string, withAnswer = false) {
    if (LAYERS.indexOf(definition.layer) >= LAYERS.indexOf(neuron.layer)) {
      throw new ExpressionError('not_below', `${definition.layer} is not below ${neuron.layer}`, `${place}/layer`, null);
    }
    this.#neuron = neuron;
    this.#definition = definition;
    this.#place = place;
    this.#subject = optional(definition.subject, `${place}/subject`, 'string', withAnswer);
    this.#data = optional(definition.data, `${place}/data`, 'map', withAnswer);
  }

  /** @throws {ExpressionError} `too_deep` when the signal was delegated {@link MAX_DELEGATIONS} times already. */
  emission(context: SignalContext): Emission {
    const { signal } = context;
    const depth = (signal.depth ?? 0) + 1;
    if (depth > MAX_DELEGATIONS) throw new ExpressionError('too_deep', `delegated more than ${String(MAX_DELEGATIONS)} times`, this.#place, null);
    const subject = this.#subject === undefined ? signal.subject ?? null : context.text(this.#subject);
    return {
      neuronId: this.#neuron.id,
      neuronVersion: this.#neuron.version,
      neuronName: this.#neuron.name,
      targetLayer: this.#definition.layer,
      direction: 'down',
      type: this.#definition.type,
      subject,
      correlationKey: subject ?? signal.source,
      timeMs: signal.timeMs,
      severity: 'info',
      data: this.#data === undefined ? signal.data ?? null : context.map(this.#data),
      causes: [signal.ref],
      path: [...signal.path ?? [], this.#neuron.name],
      depth,
    };
  }
}

/** `decide`, compiled. */
export class DecideTemplate {
  readonly #neuron: Neuron;
  readonly #definition: z.infer<typeof decideSchema>;
  readonly #summary: Expression;
  readonly #reason: Expression;
  readonly #key: Expression | undefined;
  readonly #input: Expression | undefined;
  readonly #title: Expression | undefined;
  readonly #message: Expression | undefined;

  /** @throws {ExpressionError} when an expression is wrong. */
  constructor(neuron: Neuron, definition: z.infer<typeof decideSchema>, place: string, withAnswer = false) {
    this.#neuron = neuron;
    this.#definition = definition;
    this.#summary = Expression.compile(definition.summary, `${place}/summary`, 'string', withAnswer);
    this.#reason = Expression.compile(definition.reason, `${place}/reason`, 'string', withAnswer);
    this.#key = optional(definition.key, `${place}/key`, 'string', withAnswer);
    this.#input = optional(definition.operation?.input, `${place}/operation/input`, 'map', withAnswer);
    this.#title = optional(definition.notify?.title, `${place}/notify/title`, 'string', withAnswer);
    this.#message = optional(definition.notify?.message, `${place}/notify/message`, 'string', withAnswer);
  }

  /** @param note said behind the reason, e.g. that a fallback decided. */
  decision(context: SignalContext, note = ''): Decision {
    const { signal } = context;
    const { operation, notify, approval, severity, cooldownSeconds } = this.#definition;
    const optionalText = (expression: Expression | undefined): string => (expression === undefined ? '' : context.text(expression));
    return {
      neuronId: this.#neuron.id,
      neuronVersion: this.#neuron.version,
      neuronName: this.#neuron.name,
      summary: context.text(this.#summary),
      reason: `${context.text(this.#reason)}${note}`,
      severity,
      key: this.#key === undefined ? null : context.text(this.#key),
      cooldownSeconds,
      operation: operation === undefined || this.#input === undefined ? null : { type: operation.type, input: context.map(this.#input) },
      notify: notify === undefined ? null : { connection: notify.connection, title: optionalText(this.#title), message: optionalText(this.#message) },
      approval: approval ?? null,
      timeMs: signal.timeMs,
      causes: [signal.ref],
      evidence: evidenceOf(signal.type, signal.source, signal.subject, signal.data),
      depth: signal.depth ?? 0,
    };
  }
}

function evidenceOf(type: string, source: string, subject: string | undefined, data: unknown): unknown {
  const characters = data === undefined ? 0 : JSON.stringify(data).length;
  return { type, source, ...(subject === undefined ? {} : { subject }), data: characters <= MAX_EVIDENCE_CHARACTERS ? data ?? null : { omittedCharacters: characters } };
}
