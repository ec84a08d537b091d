import { createHash } from 'node:crypto';
import { type CorrelatorBehaviour, type Neuron, SEVERITIES, type Severity } from '../schemas/neurons/definition.ts';
import { Expression } from './expression.ts';
import type { Emission, NeuronSignal } from './layer.ts';
import { EmitTemplate, type Outcomes } from './outcome.ts';
import type { SignalContext } from './signal-context.ts';
import type { LiveState, StatefulKind } from './stateful.ts';

/** Members kept by one group; further ones are only counted. */
export const MAX_MEMBERS = 100;
/** Groups of one key open at once: more appear only when lateness is long and the gap short. The oldest closes first. */
export const MAX_OPEN_GROUPS = 8;
/** References to signals that a group keeps as its causes. */
const MAX_CAUSES = 100;
/** Neurons remembered in a group's path. */
const MAX_PATH = 32;
/** First byte sequence of a state; another one means another format. */
const FORMAT = 1;

/** One kind of evidence in a group. Times are event times in milliseconds. */
interface Member {
  readonly key: string;
  readonly subject: string | null;
  readonly type: string;
  readonly source: string;
  severity: Severity;
  first: number;
  last: number;
  count: number;
  /** The reading furthest from what was expected, where the signal says so; otherwise the highest value. */
  peak: number | null;
  /** Positions of the causes this member speaks for. */
  causes: number[];
}

/** An event-time group: it lives from its first to its last member and dies of silence. */
interface Group {
  readonly incidentId: string;
  first: number;
  last: number;
  members: Member[];
  /** Signals taken in, members beyond the limit included. */
  count: number;
  opened: boolean;
  /** The likely cause as last emitted. */
  cause: string | null;
  /** By position of the cause: its data, from the latest signal that matched. */
  causeData: Record<string, Record<string, unknown>>;
  refs: string[];
  path: string[];
  depth: number;
  /** What `emit` made of the first signal. */
  readonly shell: { readonly subject: string | null; readonly correlationKey: string; readonly data: Record<string, unknown> };
}

interface Memory {
  format: number;
  /** Event time seen so far, ms. */
  watermark: number;
  groups: Group[];
  /** Signals refused as too late. */
  late: number;
}

interface CompiledCause {
  readonly cause: string;
  readonly weight: number;
  readonly when: Expression;
  readonly data: Expression | undefined;
}

/**
 * Puts signals that belong together into event-time groups: session windows (Akidau et al., "The Dataflow Model", 2015, section 2.2) that
 * merge when a late signal bridges them, with an accepted lateness, a maximal age, and a likely cause by weights.
 */
export class CorrelatorKind implements StatefulKind {
  readonly sortsByTime = true;
  readonly neuron: Neuron;
  readonly gapMs: number;
  readonly maxMs: number;
  readonly latenessMs: number;
  readonly settleMs: number;
  readonly minMembers: number;
  readonly activeMs: number;
  /** Whether the event time of the whole layer counts, not only that of the group's own key. */
  readonly layerClock: boolean;
  readonly causes: readonly CompiledCause[];
  readonly emit: EmitTemplate;
  readonly #key: Expression;
  readonly #member: Expression | undefined;

  /** @throws {ExpressionError} when an expression is wrong. */
  constructor(neuron: Neuron, behaviour: CorrelatorBehaviour) {
    this.neuron = neuron;
    this.gapMs = behaviour.gapSeconds * 1000;
    this.maxMs = behaviour.maxSeconds * 1000;
    this.latenessMs = behaviour.latenessSeconds * 1000;
    this.settleMs = behaviour.settleSeconds * 1000;
    this.minMembers = behaviour.minMembers;
    this.activeMs = (behaviour.activeSeconds ?? Number.POSITIVE_INFINITY) * 1000;
    this.layerClock = behaviour.clock === 'layer';
    this.emit = new EmitTemplate(neuron, behaviour.emit, '/behaviour/emit');
    this.#key = Expression.compile(behaviour.key, '/behaviour/key', 'string');
    this.#member = behaviour.member === undefined ? undefined : Expression.compile(behaviour.member, '/behaviour/member', 'string');
    this.causes = behaviour.causes.map((cause, index) => ({
      cause: cause.cause,
      weight: cause.weight,
      when: Expression.compile(cause.when, `/behaviour/causes/${String(index)}/when`, 'bool'),
      data: cause.data === undefined ? undefined : Expression.compile(cause.data, `/behaviour/causes/${String(index)}/data`, 'map'),
    }));
  }

  seriesOf(context: SignalContext): string {
    return context.text(this.#key);
  }

  memberOf(context: SignalContext): string {
    return this.#member === undefined ? context.signal.subject ?? context.signal.type : context.text(this.#member);
  }

  open(series: string, bytes: Uint8Array | undefined): LiveState {
    return new CorrelatorState(this, series, decode(bytes));
  }
}

class CorrelatorState implements LiveState {
  readonly #kind: CorrelatorKind;
  readonly #series: string;
  readonly #memory: Memory;

  constructor(kind: CorrelatorKind, series: string, memory: Memory) {
    this.#kind = kind;
    this.#series = series;
    this.#memory = memory;
  }

  get dueMs(): number | null {
    if (!this.#kind.layerClock) return null;
    let due: number | null = null;
    for (const group of this.#memory.groups) {
      const at = Math.min(this.#closesAt(group), this.#opensAt(group) ?? Number.POSITIVE_INFINITY);
      if (due === null || at < due) due = at;
    }
    return due;
  }

  accept(context: SignalContext, outcomes: Outcomes): void {
    const { signal } = context;
    const kind = this.#kind;
    const memory = this.#memory;
    if (signal.timeMs < memory.watermark - kind.latenessMs) {
      memory.late += 1;
      return;
    }
    // Everything that can fail comes before anything changes.
    const key = kind.memberOf(context);
    const matched: { position: number; data: Record<string, unknown> | undefined }[] = [];
    for (const [position, cause] of kind.causes.entries()) {
      if (context.test(cause.when)) matched.push({ position, data: cause.data === undefined ? undefined : context.map(cause.data) });
    }
    const shell = this.#shell(context);
    this.#advance(signal.timeMs, outcomes);
    const group = this.#groupFor(signal, shell, outcomes);
    take(group, signal, key, matched);
    this.#tell(group, outcomes);
  }

  passTime(watermarkMs: number, outcomes: Outcomes): void {
    if (this.#kind.layerClock) this.#advance(watermarkMs, outcomes);
  }

  #advance(watermarkMs: number, outcomes: Outcomes): void {
    const memory = this.#memory;
    memory.watermark = Math.max(memory.watermark, watermarkMs);
    for (const group of memory.groups) this.#tell(group, outcomes);
    const open = memory.groups.filter((group) => this.#closesAt(group) > memory.watermark);
    for (const group of memory.groups) if (!open.includes(group)) this.#close(group, outcomes);
    memory.groups = open;
  }

  bytes(): Uint8Array {
    if (this.#memory.groups.length === 0) return new Uint8Array();
    return new TextEncoder().encode(JSON.stringify(this.#memory));
  }

  #shell(context: SignalContext): Group['shell'] {
    const { subject, correlationKey, data } = this.#kind.emit.emission(context, {});
    return { subject, correlationKey, data: typeof data === 'object' && data !== null ? { ...data } : {} };
  }

  /** The group the signal falls into; groups it bridges become one, under the identity of the oldest. */
  #groupFor(signal: NeuronSignal, shell: Group['shell'], outcomes: Outcomes): Group {
    const { gapMs, maxMs } = this.#kind;
    const memory = this.#memory;
    const touching = memory.groups.filter((group) => signal.timeMs >= group.first - gapMs && signal.timeMs <= group.last + gapMs && signal.timeMs < group.first + maxMs);
    const [oldest, ...bridged] = touching;
    if (oldest !== undefined) {
      for (const group of bridged) this.#merge(oldest, group, outcomes);
      return oldest;
    }
    const group: Group = {
      incidentId: incidentId(this.#kind.neuron.id, this.#series, signal.ref),
      first: signal.timeMs, last: signal.timeMs, members: [], count: 0, opened: false, cause: null, causeData: {}, refs: [], path: [], depth: 0, shell,
    };
    memory.groups.push(group);
    memory.groups.sort((a, b) => a.first - b.first);
    while (memory.groups.length > MAX_OPEN_GROUPS) {
      const dropped = memory.groups.find((other) => other !== group);
      if (dropped === undefined) break;
      memory.groups.splice(memory.groups.indexOf(dropped), 1);
      this.#close(dropped, outcomes);
    }
    return group;
  }

  #merge(into: Group, from: Group, outcomes: Outcomes): void {
    this.#memory.groups.splice(this.#memory.groups.indexOf(from), 1);
    if (from.opened) this.#emit(from, 'closed', from.last, outcomes, { mergedInto: into.incidentId });
    into.first = Math.min(into.first, from.first);
    into.last = Math.max(into.last, from.last);
    into.count += from.count;
    for (const member of from.members) {
      const same = into.members.find(({ key }) => key === member.key);
      if (same === undefined) {
        if (into.members.length < MAX_MEMBERS) into.members.push(member);
        continue;
      }
      same.first = Math.min(same.first, member.first);
      same.last = Math.max(same.last, member.last);
      same.count += member.count;
      same.severity = worse(same.severity, member.severity);
      same.causes = [...new Set([...same.causes, ...member.causes])].toSorted((a, b) => a - b);
    }
    Object.assign(into.causeData, from.causeData);
    into.refs = [...into.refs, ...from.refs].slice(-MAX_CAUSES);
    into.path = [...new Set([...into.path, ...from.path])].slice(0, MAX_PATH);
    into.depth = Math.max(into.depth, from.depth);
  }

  /** Opens a group whose time has come; tells when the likely cause of an open one has changed. */
  #tell(group: Group, outcomes: Outcomes): void {
    if (group.opened) {
      const { cause } = this.#likely(group);
      if (cause !== group.cause) this.#emit(group, 'updated', Math.max(group.last, group.first), outcomes);
      return;
    }
    const opensAt = this.#opensAt(group);
    if (opensAt === null || opensAt > this.#memory.watermark) return;
    group.opened = true;
    this.#emit(group, 'opened', opensAt, outcomes);
  }

  #close(group: Group, outcomes: Outcomes): void {
    if (group.opened) this.#emit(group, 'closed', Math.min(group.last + this.#kind.gapMs, group.first + this.#kind.maxMs), outcomes);
  }

  /** Event time at which the group may open, by settling and by members; null while members are missing, or once it is open. */
  #opensAt(group: Group): number | null {
    const { minMembers, settleMs } = this.#kind;
    if (group.opened || group.members.length < minMembers) return null;
    const needed = group.members.map(({ first }) => first).toSorted((a, b) => a - b)[minMembers - 1] ?? group.first;
    return Math.max(group.first + settleMs, needed);
  }

  #closesAt(group: Group): number {
    const { gapMs, maxMs, latenessMs, settleMs } = this.#kind;
    // A short gap may not close a group before it had the time to open.
    return Math.min(Math.max(group.last + gapMs + latenessMs, group.first + settleMs), Math.max(group.first + maxMs, group.first + settleMs));
  }

  #likely(group: Group): { cause: string | null; position: number } {
    const since = group.last - this.#kind.activeMs;
    const active = group.members.filter(({ last }) => last >= since);
    let best = -1;
    let bestWeight = 0;
    for (const [position, { weight }] of this.#kind.causes.entries()) {
      const sum = weight * active.filter(({ causes }) => causes.includes(position)).length;
      if (sum > bestWeight) {
        bestWeight = sum;
        best = position;
      }
    }
    return { cause: this.#kind.causes[best]?.cause ?? null, position: best };
  }

  #emit(group: Group, state: 'opened' | 'updated' | 'closed', timeMs: number, outcomes: Outcomes, more: Record<string, unknown> = {}): void {
    const { neuron, emit } = this.#kind;
    const { cause, position } = this.#likely(group);
    group.cause = cause;
    const emission: Emission = emit.groupEmission({
      ...group.shell,
      timeMs,
      causes: group.refs,
      path: [...group.path.filter((name) => name !== neuron.name), neuron.name],
      depth: group.depth,
      data: {
        ...group.shell.data,
        incidentId: group.incidentId,
        state,
        since: new Date(group.first).toISOString(),
        until: new Date(group.last).toISOString(),
        severity: group.members.reduce<Severity>((worst, member) => worse(worst, member.severity), 'info'),
        members: group.members.map(({ key: _key, causes: _causes, peak, first, last, ...member }) => ({
          ...member, first: new Date(first).toISOString(), last: new Date(last).toISOString(), ...(peak === null ? {} : { peak }),
        })),
        cause,
        causeData: group.causeData[String(position)] ?? {},
        count: group.count,
        late: this.#memory.late,
        ...more,
      },
    });
    outcomes.emissions.push(emission);
  }
}

function take(group: Group, signal: NeuronSignal, key: string, matched: readonly { position: number; data: Record<string, unknown> | undefined }[]): void {
  group.first = Math.min(group.first, signal.timeMs);
  group.last = Math.max(group.last, signal.timeMs);
  group.count += 1;
  group.depth = Math.max(group.depth, signal.depth ?? 0);
  group.refs.push(signal.ref);
  if (group.refs.length > MAX_CAUSES) group.refs.shift();
  for (const name of signal.path ?? []) if (!group.path.includes(name) && group.path.length < MAX_PATH) group.path.push(name);
  for (const { position, data } of matched) if (data !== undefined) group.causeData[String(position)] = data;
  let member = group.members.find((other) => other.key === key);
  if (member === undefined) {
    if (group.members.length >= MAX_MEMBERS) return;
    member = { key, subject: signal.subject ?? null, type: signal.type, source: signal.source, severity: 'info', first: signal.timeMs, last: signal.timeMs, count: 0, peak: null, causes: [] };
    group.members.push(member);
  }
  member.first = Math.min(member.first, signal.timeMs);
  member.last = Math.max(member.last, signal.timeMs);
  member.count += 1;
  member.severity = worse(member.severity, severityOf(signal));
  const value = numberIn(signal.data, 'value');
  if (value !== undefined) {
    const expected = numberIn(signal.data, 'expected') ?? 0;
    if (member.peak === null || Math.abs(value - expected) > Math.abs(member.peak - expected)) member.peak = value;
  }
  for (const { position } of matched) if (!member.causes.includes(position)) member.causes.push(position);
}

function numberIn(data: unknown, field: string): number | undefined {
  const value: unknown = typeof data === 'object' && data !== null ? Reflect.get(data, field) : undefined;
  return typeof value === 'number' ? value : undefined;
}

function severityOf(signal: NeuronSignal): Severity {
  return SEVERITIES.find((severity) => severity === signal['severity']) ?? 'info';
}

function worse(a: Severity, b: Severity): Severity {
  return SEVERITIES.indexOf(a) >= SEVERITIES.indexOf(b) ? a : b;
}

/** The same first signal always gives the same incident: a UUID of version 8 (RFC 9562) over neuron, group and signal. */
function incidentId(neuronId: string, series: string, ref: string): string {
  const digest = createHash('sha256').update(JSON.stringify([neuronId, series, ref])).digest('hex');
  return `${digest.slice(0, 8)}-${digest.slice(8, 12)}-8${digest.slice(13, 16)}-a${digest.slice(17, 20)}-${digest.slice(20, 32)}`;
}

/** What is no memory of this format starts anew: one broken row must not stop every batch that meets it. */
function decode(bytes: Uint8Array | undefined): Memory {
  const fresh: Memory = { format: FORMAT, watermark: Number.MIN_SAFE_INTEGER, groups: [], late: 0 };
  if (bytes === undefined || bytes.length === 0) return fresh;
  try {
    const memory: unknown = JSON.parse(new TextDecoder().decode(bytes));
    return isMemory(memory) ? memory : fresh;
  } catch (error) {
    if (error instanceof SyntaxError) return fresh;
    throw error;
  }
}

/** These bytes are ours: the format number is all there is to check. */
function isMemory(value: unknown): value is Memory {
  return typeof value === 'object' && value !== null && 'format' in value && value.format === FORMAT;
}
