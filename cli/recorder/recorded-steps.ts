import { z } from 'zod';
import type { LeafDraft } from '../../schemas/browser/flow.ts';
import type { Locator } from '../../schemas/browser/locator.ts';

const LONGEST = 20_000;
const text = z.string().max(LONGEST);

/** One way to an element, as the page says it. */
const waySchema = z.strictObject({
  role: z.string().regex(/^[a-z]+$/).max(40).optional(),
  name: text.optional(),
  label: text.optional(),
  text: text.optional(),
  placeholder: text.optional(),
  title: text.optional(),
  testId: text.optional(),
  css: z.string().max(2000).optional(),
  exact: z.boolean().optional(),
  nth: z.int().min(0).max(1000).optional(),
});

const placeSchema = z.strictObject({ ways: z.array(waySchema).min(1).max(11), frame: z.string().min(1).max(500).optional() });
export type RecordedPlace = z.output<typeof placeSchema>;

const key = z.enum(['Enter', 'Escape', 'ArrowUp', 'ArrowDown', 'ArrowLeft', 'ArrowRight']);
const modifier = z.enum(['Alt', 'Control', 'Meta', 'Shift']);

/** What the script in the page tells. It is the page's word: it is parsed, and there is no more in it than a person can do. */
export const pageEventSchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('click'), on: placeSchema, button: z.enum(['left', 'right', 'middle']), times: z.int().min(0).max(100), modifiers: z.array(modifier) }),
  z.strictObject({ kind: z.literal('type'), into: placeSchema, text: text.optional(), secret: z.enum(['username', 'password', 'totp']).optional(), asked: z.string().regex(/^[a-zA-Z]{1,40}$/).optional() }),
  z.strictObject({ kind: z.literal('select'), from: placeSchema, options: z.array(text).max(100) }),
  z.strictObject({ kind: z.literal('check'), on: placeSchema, checked: z.boolean() }),
  z.strictObject({ kind: z.literal('upload'), into: placeSchema, names: z.array(z.string().max(200)).max(10) }),
  z.strictObject({ kind: z.literal('press'), key, on: placeSchema.optional() }),
  z.strictObject({ kind: z.literal('moves') }),
]);
export type PageEvent = z.output<typeof pageEventSchema>;

/** What the browser tells beside the pages. */
export type BrowserEvent = { readonly kind: 'navigate'; readonly url: string } | { readonly kind: 'history'; readonly go: 'back' | 'forward' | 'reload' } | { readonly kind: 'tab'; readonly to: 'newest' | 'first' };

/** Steps that are made here, before defaults: a subset of the language. */
export type RecordedStep = Extract<LeafDraft, { do: 'navigate' | 'history' | 'tab' | 'click' | 'type' | 'select' | 'check' | 'upload' | 'press' }>;

/** Most clicks of one step of the flow language. */
const MOST_CLICKS = 3;
/** Most steps of a list of the flow language. */
const MOST_STEPS = 500;

/** Steps of a flow, made of what a person does while they do it. */
export class RecordedSteps {
  readonly #credential: string;
  readonly #steps: RecordedStep[] = [];
  #accepts = false;

  /** @param credential name of the connection that secrets of the flow refer to. */
  constructor(credential: string) {
    this.#credential = credential;
  }

  /** How many steps there are. */
  get count(): number {
    return this.#steps.length;
  }

  /** Whether some step refers to the credential. */
  get needsCredential(): boolean {
    return this.#steps.some((step) => step.do === 'type' && step.secret !== undefined);
  }

  /** Names of what a run must be given as input. */
  get inputs(): readonly string[] {
    const found = this.#steps.flatMap((step) => (step.do === 'type' ? [step.text ?? ''] : step.do === 'upload' ? step.files.map(({ content }) => content) : []));
    return [...new Set(found.flatMap((template) => /^\{\{ input\.(\w+) \}\}$/.exec(template)?.[1] ?? []))];
  }

  /** The person agreed to a question of the page. */
  accepted(): void {
    this.#accepts = true;
  }

  /** Adds what was done; what belongs to the step before (the next letter, a second click, Enter at the end) goes into it. Answers the step. */
  add(event: PageEvent | BrowserEvent): RecordedStep | undefined {
    const step = this.#stepOf(event);
    if (step === undefined) return undefined;
    const last = this.#steps.at(-1);
    const merged = last === undefined ? undefined : together(last, step);
    if (merged !== undefined) this.#steps[this.#steps.length - 1] = merged;
    else if (this.#steps.length < MOST_STEPS) this.#steps.push(step);
    else throw new RangeError(`a flow has ${MOST_STEPS} steps at the most: record the rest as a flow of its own`);
    return merged ?? step;
  }

  /** The flow as it is so far. */
  flow(name: string): { name: string; steps: readonly RecordedStep[]; dialogs?: 'accept' } {
    return { name, ...(this.#accepts ? { dialogs: 'accept' as const } : {}), steps: [...this.#steps] };
  }

  #stepOf(event: PageEvent | BrowserEvent): RecordedStep | undefined {
    switch (event.kind) {
      case 'navigate':
        return { do: 'navigate', url: literal(event.url) };
      case 'history':
        return { do: 'history', go: event.go };
      case 'tab':
        return { do: 'tab', to: event.to };
      case 'click':
        return { do: 'click', on: locatorOf(event.on), ...(event.button === 'left' ? {} : { button: event.button }), ...(event.times > 1 ? { times: Math.min(MOST_CLICKS, event.times) } : {}), ...(event.modifiers.length === 0 ? {} : { modifiers: event.modifiers }) };
      case 'type':
        return { do: 'type', into: locatorOf(event.into), ...this.#typed(event) };
      case 'select':
        return event.options.length === 0 ? undefined : { do: 'select', from: locatorOf(event.from), options: event.options.map(literal) };
      case 'check':
        return { do: 'check', on: locatorOf(event.on), ...(event.checked ? {} : { checked: false }) };
      case 'upload':
        // What is in a file is the run's business: a recording knows names only.
        return event.names.length === 0 ? undefined : { do: 'upload', into: locatorOf(event.into), files: event.names.map((name, index) => ({ name, content: `{{ input.${index === 0 ? 'file' : `file${index + 1}`} }}` })) };
      case 'press':
        return { do: 'press', key: event.key, ...(event.on === undefined ? {} : { on: locatorOf(event.on) }) };
      case 'moves':
        return undefined;
    }
  }

  #typed({ text: typed, secret, asked }: Extract<PageEvent, { kind: 'type' }>): Pick<Extract<RecordedStep, { do: 'type' }>, 'text' | 'secret'> {
    if (secret !== undefined) return { secret: { credential: this.#credential, field: secret } };
    return { text: asked === undefined ? literal(typed ?? '') : `{{ input.${asked} }}` };
  }
}

/** The two as one step, where the second goes on with the first. */
function together(last: RecordedStep, next: RecordedStep): RecordedStep | undefined {
  if (last.do === 'type' && next.do === 'type') return last.submit !== true && same(last.into, next.into) ? next : undefined;
  if (last.do === 'type' && next.do === 'press') return last.submit !== true && next.key === 'Enter' && next.on !== undefined && same(last.into, next.on) ? { ...last, submit: true } : undefined;
  if (last.do === 'select' && next.do === 'select') return same(last.from, next.from) ? next : undefined;
  if (last.do === 'check' && next.do === 'check') return same(last.on, next.on) ? next : undefined;
  if (last.do === 'press' && next.do === 'press') return last.key === next.key && same(last.on, next.on) ? { ...last, times: Number(last.times ?? 1) + 1 } : undefined;
  // The browser counts clicks that follow each other: the second is told as two.
  if (last.do === 'click' && next.do === 'click') return next.times === Number(last.times ?? 1) + 1 && same(last.on, next.on) ? next : undefined;
  if (last.do === 'tab' && next.do === 'tab') return next;
  return undefined;
}

function same(one: unknown, other: unknown): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}

/** The first way with the others behind it. */
function locatorOf({ ways, frame }: RecordedPlace): Locator {
  const [first, ...others] = ways.map(({ nth, exact, role, ...words }): Locator => ({
    ...(role === undefined ? {} : { role }),
    ...Object.fromEntries(Object.entries(words).map(([way, value]) => [way, literal(value ?? '')])),
    ...(exact === undefined ? {} : { exact }),
    ...(nth === undefined ? {} : { nth }),
    ...(frame === undefined ? {} : { frame }),
  }));
  return { ...first, ...(others.length === 0 ? {} : { or: others }) };
}

/** A text that means itself: `{{` would begin an expression. */
function literal(value: string): string {
  return value.replaceAll('{{', "{{ '{{' }}");
}

/** A step in a line, for whoever watches the recording. */
export function inWords(step: RecordedStep): string {
  const leaf: Partial<Record<string, unknown>> = { ...step };
  const place = [leaf['on'], leaf['into'], leaf['from']].find((each) => typeof each === 'object' && each !== null);
  const what = place === undefined ? [leaf['url'], leaf['go'], leaf['to'], leaf['key']].find((each) => typeof each === 'string') : wordsOf(place);
  return `${step.do} ${typeof what === 'string' ? what : ''}`.trim();
}

function wordsOf(place: object): string {
  const [way, value] = Object.entries(place).find(([field]) => field !== 'exact' && field !== 'role') ?? ['', ''];
  return 'role' in place && way === 'name' ? `${String(place.role)} ${JSON.stringify(value)}` : `${way} ${JSON.stringify(value)}`;
}
