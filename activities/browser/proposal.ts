import { z } from 'zod';
import { leafSchema, type Flow, type Leaf, type WordedStep } from '../../schemas/browser/flow.ts';
import { stepFailed } from './browser-error.ts';
import type { Proposal } from './flow-machine.ts';
import { hostMatches } from './url-pattern.ts';

const text = z.string().max(1000);

/** How a model names an element: the flow language's own ways. */
const element = z.strictObject({
  role: z.string().max(40).optional().describe('ARIA role, as the snapshot of the page shows it.'),
  name: text.optional().describe('Accessible name; only together with role.'),
  label: text.optional(),
  text: text.optional(),
  placeholder: text.optional(),
  testId: text.optional(),
  css: text.optional().describe('The last resort.'),
  exact: z.boolean().optional(),
  nth: z.int().min(-1000).max(1000).optional().describe('Which of several, from 0.'),
});

const proposedStep = z.strictObject({
  do: z.enum(['navigate', 'click', 'type', 'select', 'check', 'press', 'hover', 'scroll', 'wait']),
  element: element.optional(),
  url: text.optional().describe('For navigate: an address of the same site.'),
  text: z.string().max(20_000).optional().describe('For type, or a text to wait for.'),
  credential: z.string().max(128).optional().describe('For type, instead of text: the name of a credential.'),
  field: z.enum(['username', 'password', 'totp']).optional().describe('Of the credential.'),
  submit: z.boolean().optional().describe('For type: press Enter afterwards.'),
  options: z.array(text).max(100).optional().describe('For select.'),
  checked: z.boolean().optional().describe('For check.'),
  key: z.string().max(50).optional().describe('For press.'),
});

const reading = { element: element.optional(), read: z.enum(['text', 'value', 'attribute', 'checked', 'count', 'visible']).optional(), attribute: text.optional() };

/** What a model may answer, by what it is asked. */
export const ANSWERS = {
  act: z.strictObject({ done: z.boolean().describe('Whether nothing is left to do after these steps.'), steps: z.array(proposedStep).max(10).describe('The next steps, none beyond what the page shows now.') }),
  observe: z.strictObject({ steps: z.array(z.strictObject({ about: text.describe('What it does, in a few words.'), step: proposedStep })).max(50) }),
  extract: z.strictObject({
    ...reading,
    all: z.boolean().optional().describe('Every element that fits, as a list.'),
    table: element.optional().describe('Instead: a table, read row by row.'),
    list: element.optional().describe('Instead: the elements of a list, each read by `fields`.'),
    fields: z.array(z.strictObject({ as: z.string().regex(/^[A-Za-z][A-Za-z0-9_]{0,63}$/), ...reading })).max(50).optional(),
  }),
} as const;

/** What bounds a proposal besides its schema. */
export interface Bounds {
  readonly step: WordedStep;
  /** Address of the page. */
  readonly url: string;
  readonly hosts: Flow['hosts'];
}

/**
 * A model's answer as steps of the flow.
 * @throws {BrowserError} StepFailed for what is no step, leaves the site, or asks for a credential that the flow did not offer: the page may have talked the model into it.
 */
export function stepsOf(answer: unknown, bounds: Bounds): Proposal {
  const { step } = bounds;
  switch (step.do) {
    case 'act': {
      const { done, steps } = parsed(ANSWERS.act, answer);
      return { done: done || steps.length === 0, steps: steps.map((each) => leafOf(each, bounds)) };
    }
    case 'observe':
      return { done: true, steps: [], observed: parsed(ANSWERS.observe, answer).steps.map(({ about, step: each }) => ({ about, step: leafOf(each, bounds) })) };
    case 'extract': {
      const { words: _, ...asked } = step;
      const { element: on, fields, table, list, read, attribute, all } = parsed(ANSWERS.extract, answer);
      const place = table !== undefined ? { table: located(table) } : list !== undefined ? { list: located(list) } : on === undefined ? {} : { on: located(on) };
      const named = fields === undefined ? {} : { fields: Object.fromEntries(fields.map(({ as, element: inside, ...how }) => [as, { ...how, ...(inside === undefined ? {} : { on: located(inside) }) }])) };
      // How a value is read belongs to whoever wrote the flow, where they said it.
      const how = { ...(read === undefined ? {} : { read }), ...(attribute === undefined ? {} : { attribute }), ...(all === undefined ? {} : { all }) };
      return { done: true, steps: [leaf({ ...asked, ...place, ...named, ...how })] };
    }
  }
}

function leafOf({ do: verb, element: on, ...given }: z.output<typeof proposedStep>, bounds: Bounds): Leaf {
  const place = on === undefined ? undefined : located(on);
  const common = { timeoutSeconds: bounds.step.timeoutSeconds, repeatable: bounds.step.repeatable };
  const at = place === undefined ? {} : { on: place };
  switch (verb) {
    case 'navigate':
      return leaf({ ...common, do: verb, url: plain(withinSite(given.url ?? '', bounds)) });
    case 'click':
    case 'hover':
      return leaf({ ...common, do: verb, ...at });
    case 'check':
      return leaf({ ...common, do: verb, ...at, checked: given.checked });
    case 'press':
      return leaf({ ...common, do: verb, ...at, key: plain(given.key ?? '') });
    case 'select':
      return leaf({ ...common, do: verb, from: place, options: (given.options ?? []).map(plain) });
    case 'scroll':
      return leaf({ ...common, do: verb, ...(place === undefined ? {} : { to: place }) });
    case 'wait':
      return leaf({ ...common, do: verb, for: { ...at, ...(given.text === undefined ? {} : { text: plain(given.text) }) } });
    case 'type':
      return leaf({ ...common, do: verb, into: place, submit: given.submit, ...(given.credential === undefined ? { text: plain(given.text ?? '') } : { secret: offered(given.credential, given.field, bounds.step) }) });
  }
}

function offered(credential: string, field: string | undefined, step: WordedStep): { credential: string; field: string | undefined } {
  if (step.do !== 'act' || !step.credentials.includes(credential)) throw stepFailed('the model asked for a credential that the step does not offer in `credentials`');
  return { credential, field };
}

/** A page that talks a model into going elsewhere could have it carry there what it has read. */
function withinSite(url: string, { url: here, hosts }: Bounds): string {
  const target = URL.parse(url, here);
  if (target === null) throw stepFailed('the model proposed an address that is none');
  if (target.origin !== URL.parse(here)?.origin && hosts.allow?.some((pattern) => hostMatches(target.hostname, pattern)) !== true) throw stepFailed('the model proposed to leave the site: name the host in `hosts.allow` if it may');
  return target.href;
}

/** Texts of flows hold expressions in double braces: a model must not write any, for it writes what pages tell it. */
function plain(given: string): string {
  return given.replaceAll('{{', '{{ "{{" }}');
}

function located(given: z.output<typeof element>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(given).map(([name, value]) => [name, typeof value === 'string' ? plain(value) : value]));
}

function leaf(draft: Record<string, unknown>): Leaf {
  const known = Object.fromEntries(Object.entries(draft).filter(([, value]) => value !== undefined));
  return parsed(leafSchema, known);
}

function parsed<Schema extends z.ZodType>(schema: Schema, value: unknown): z.output<Schema> {
  const outcome = schema.safeParse(value);
  if (!outcome.success) throw stepFailed(`what the model proposed is no step: ${outcome.error.issues[0]?.path.join('.') ?? ''} ${outcome.error.issues[0]?.message ?? ''}`);
  return outcome.data;
}
