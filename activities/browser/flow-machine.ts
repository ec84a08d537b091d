import { HalError } from '../../schemas/errors.ts';
import type { Condition, Flow, FlowStep, Leaf, WordedStep } from '../../schemas/browser/flow.ts';
import { evaluate, type FlowScope } from './expressions.ts';

/** A list of steps that is being run. */
interface Frame {
  /** Where the list stands in the flow, e.g. `steps/3/else`. */
  readonly path: string;
  /** The next step of it. */
  index: number;
  readonly loop?: { kind: 'for-each'; items: unknown[]; as: string; turn: number } | { kind: 'while'; most: number; turn: number } | ProposedTurns | undefined;
}

/** Steps that a model proposed for one in words; a turn is a round of asking. */
interface ProposedTurns {
  kind: 'words';
  turn: number;
  done: boolean;
  steps: Leaf[];
  /** Those of earlier rounds. */
  before: Leaf[];
}

/** Where a flow is: JSON, so that another worker can go on from it. */
export interface FlowState {
  frames: Frame[];
  vars: Record<string, unknown>;
  /** Steps that were run so far. */
  taken: number;
  /** The execution of a step for which a person was asked to solve a CAPTCHA. */
  asked?: string | undefined;
  /** The execution of a step for which a model was asked to solve one, and how often. */
  solving?: { readonly key: string; readonly tries: number } | undefined;
}

/** The step to take now. */
export interface DueStep {
  readonly step: Leaf;
  /** Names this execution of the step: the same after every restart, another one in each turn of a loop. */
  readonly key: string;
  /** Where it stands in the flow, for people. */
  readonly path: string;
}

/** Deepest nesting of branches, loops and calls. */
const MAX_DEPTH = 50;

/** Whether a condition holds now. */
export type Look = (condition: Condition, scope: FlowScope) => Promise<boolean>;

/** A step in words that is due, and what was proposed for it so far. */
export interface WordedDue {
  readonly step: WordedStep;
  /** Names this round of asking: the same after every restart. */
  readonly key: string;
  readonly path: string;
  readonly before: readonly Leaf[];
}

/** What a model made of words. */
export interface Proposal {
  /** Whether nothing is left to do once these steps are taken. */
  readonly done: boolean;
  readonly steps: readonly Leaf[];
  /** For `observe`: what could be done. */
  readonly observed?: unknown;
}

export type Propose = (due: WordedDue) => Promise<Proposal>;

/**
 * The control flow of a flow: decides which step is next, and nothing else. All it knows is in {@link FlowState}, which may be
 * stored between any two steps.
 */
export class FlowMachine {
  readonly #flow: Flow;
  readonly #input: unknown;
  readonly #look: Look;
  readonly #propose: Propose;
  /** Number of the first of the flow's steps; undefined for a flow that is whole. */
  readonly #from: number | undefined;
  state: FlowState;

  /** @param from for a flow whose steps come one by one: the number of the first that is still there. Its end is then a wait for more. */
  constructor(flow: Flow, input: unknown, look: Look, state?: FlowState, from?: number, propose: Propose = nobody) {
    this.#flow = flow;
    this.#from = from;
    this.#propose = propose;
    this.#input = input;
    this.#look = look;
    this.state = state ?? { frames: [{ path: 'steps', index: 0 }], vars: structuredClone(flow.vars), taken: 0 };
  }

  get scope(): FlowScope {
    return { input: this.#input, vars: this.state.vars };
  }

  /**
   * Moves to the next step that touches the page; undefined at the end of the flow.
   * @throws {HalError} InvalidInput for expressions that fail, a loop without end, calls nested too deep.
   */
  async next(): Promise<DueStep | undefined> {
    for (;;) {
      const frame = this.state.frames.at(-1);
      if (frame === undefined) return undefined;
      const steps = this.#list(frame.path);
      const step = steps[frame.index - this.#offset(frame.path)];
      if (step === undefined) {
        if (this.#from !== undefined && this.state.frames.length === 1) return undefined;
        if (!(await this.#turn(frame))) this.state.frames.pop();
        continue;
      }
      const path = `${frame.path}/${String(frame.index)}`;
      frame.index += 1;
      if (isLeaf(step)) {
        this.state.taken += 1;
        if (this.state.taken > this.#flow.limits.steps) throw new HalError('InvalidInput', `the flow took more than ${String(this.#flow.limits.steps)} steps: raise limits.steps, or mend a loop that does not end`);
        if (!isWorded(step)) return { step, path, key: this.#key() };
        await this.#ask(step, path);
        continue;
      }
      await this.#enter(step, path);
    }
  }

  /** Number of the step of the flow itself that is being taken, or was last. */
  get root(): number {
    return (this.state.frames[0]?.index ?? 0) - 1;
  }

  /** The step that was due last is due again. */
  again(): void {
    const frame = this.state.frames.at(-1);
    if (frame === undefined) throw new HalError('Internal', 'no step was due');
    frame.index -= 1;
    this.state.taken -= 1;
  }

  /** Leaves the step of the flow that was being taken, whatever is left of it. */
  abandon(): void {
    this.state.frames.splice(1);
  }

  /** What the run answers. */
  result(): unknown {
    return this.#flow.result === undefined ? this.state.vars : evaluate(this.#flow.result, this.scope);
  }

  async #enter(step: Exclude<FlowStep, Leaf>, path: string): Promise<void> {
    if (this.state.frames.length >= MAX_DEPTH) throw new HalError('InvalidInput', `${path}: branches, loops and calls are nested more than ${String(MAX_DEPTH)} deep`);
    switch (step.do) {
      case 'if': {
        const holds = await this.#look(step.when, this.scope);
        if (holds || step.else !== undefined) this.state.frames.push({ path: `${path}/${holds ? 'steps' : 'else'}`, index: 0 });
        return;
      }
      case 'for-each': {
        const items = evaluate(step.in, this.scope);
        if (!Array.isArray(items)) throw new HalError('InvalidInput', `${path}: \`in\` must answer a list`);
        if (items.length === 0) return;
        this.state.vars[step.as] = items[0];
        this.state.frames.push({ path: `${path}/steps`, index: 0, loop: { kind: 'for-each', items, as: step.as, turn: 0 } });
        return;
      }
      case 'while':
        if (await this.#look(step.when, this.scope)) this.state.frames.push({ path: `${path}/steps`, index: 0, loop: { kind: 'while', most: step.most, turn: 0 } });
        return;
      case 'call':
        for (const [name, source] of Object.entries(step.with ?? {})) this.state.vars[name] = evaluate(source, this.scope);
        this.state.frames.push({ path: `flows/${step.flow}`, index: 0 });
    }
  }

  async #ask(step: WordedStep, path: string): Promise<void> {
    const proposal = await this.#propose({ step, path, key: `${this.#key()}#0`, before: [] });
    if (step.do === 'observe') this.state.vars[step.as] = proposal.observed;
    else this.state.frames.push({ path: `${path}/proposed`, index: 0, loop: { kind: 'words', turn: 0, done: proposal.done || step.do === 'extract', steps: [...proposal.steps], before: [] } });
  }

  /** Asks what comes next; false when nothing does. */
  async #askAgain(frame: Frame, loop: ProposedTurns): Promise<boolean> {
    const path = frame.path.slice(0, -'/proposed'.length);
    const step = this.#stepAt(path);
    if (loop.done || step.do !== 'act') return false;
    if (loop.turn + 1 >= step.most) throw new HalError('InvalidInput', `${path}: still not done after the model was asked ${String(step.most)} times: raise \`most\`, or ask for less at a time`);
    const before = [...loop.before, ...loop.steps];
    const proposal = await this.#propose({ step, path, key: `${this.#key(this.state.frames.slice(0, -1))}#${String(loop.turn + 1)}`, before });
    Object.assign(loop, { turn: loop.turn + 1, done: proposal.done, steps: [...proposal.steps], before } satisfies Omit<ProposedTurns, 'kind'>);
    frame.index = 0;
    return true;
  }

  /** Begins the next turn of a loop; false when there is none. */
  async #turn(frame: Frame): Promise<boolean> {
    const { loop } = frame;
    if (loop === undefined) return false;
    if (loop.kind === 'words') return this.#askAgain(frame, loop);
    const turn = loop.turn + 1;
    if (loop.kind === 'for-each') {
      if (turn >= loop.items.length) return false;
      this.state.vars[loop.as] = loop.items[turn];
    } else {
      const step = this.#stepAt(frame.path.slice(0, -'/steps'.length));
      if (step.do !== 'while' || !(await this.#look(step.when, this.scope))) return false;
      if (turn >= loop.most) throw new HalError('InvalidInput', `${frame.path}: still not done after ${String(loop.most)} turns`);
    }
    loop.turn = turn;
    frame.index = 0;
    return true;
  }

  #key(frames: readonly Frame[] = this.state.frames): string {
    return frames.map(({ index, loop }) => `${String(index - 1)}${loop === undefined ? '' : `.${String(loop.turn)}`}`).join('/');
  }

  #list(path: string): readonly FlowStep[] {
    const parts = path.split('/');
    const last = parts.pop() ?? '';
    if (parts.length === 0) return this.#flow.steps;
    if (last === 'proposed') {
      const loop = this.state.frames.find((frame) => frame.path === path)?.loop;
      return known(loop?.kind === 'words' ? loop.steps : undefined, path);
    }
    if (parts.length === 1 && parts[0] === 'flows') return known(this.#flow.flows[last], path);
    const step = this.#stepAt(parts.join('/'));
    if (step.do === 'if') return known(last === 'steps' ? step.steps : step.else, path);
    return known('steps' in step ? step.steps : undefined, path);
  }

  #stepAt(path: string): FlowStep {
    const cut = path.lastIndexOf('/');
    const list = path.slice(0, cut);
    return known(this.#list(list)[Number(path.slice(cut + 1)) - this.#offset(list)], path);
  }

  #offset(list: string): number {
    return list === 'steps' ? (this.#from ?? 0) : 0;
  }
}

export function isLeaf(step: FlowStep): step is Leaf {
  return step.do !== 'if' && step.do !== 'for-each' && step.do !== 'while' && step.do !== 'call';
}

/** Whether a model must say what the step comes to. */
export function isWorded(step: Leaf): step is WordedStep {
  return step.do === 'act' || step.do === 'observe' || (step.do === 'extract' && step.words !== undefined);
}

function nobody(): never {
  throw new HalError('Internal', 'nobody is there to be asked');
}

/** Stored states name places of the very flow they were made with; another flow is a mistake to hear of. */
function known<T>(value: T | undefined, path: string): T {
  if (value === undefined) throw new HalError('Internal', `the flow has nothing at ${path}`);
  return value;
}
