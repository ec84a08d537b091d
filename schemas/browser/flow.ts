import { z } from 'zod';
import { locatorSchema, templateText, type Locator } from './locator.ts';

/** Names of variables, credentials, flows and evidence. */
const identifier = z.string().regex(/^[A-Za-z][A-Za-z0-9_]{0,63}$/);
/** A CEL expression over `input` and `vars`. */
const expression = z.string().min(1).max(4000);
const seconds = z.number().positive().max(3600);

/** What a step waits for or looks at. All that are given must hold. */
export const conditionSchema = z
  .strictObject({
    on: locatorSchema.optional().describe('An element that is in the `state`.'),
    state: z.enum(['visible', 'hidden', 'attached', 'detached', 'enabled', 'checked']).default('visible'),
    text: templateText.optional().describe('Text that the page (or the element) shows.'),
    url: templateText.optional().describe('The address of the page: a glob, e.g. `**/orders/*`.'),
    networkIdle: z.boolean().optional().describe('No request for half a second.'),
    that: expression.optional().describe('An expression that is true.'),
  })
  .refine(({ on, text, url, networkIdle, that }) => [on, text, url, networkIdle, that].some((part) => part !== undefined), { error: 'one of on, text, url, networkIdle, that is needed' })
  .meta({ id: 'BrowserCondition' });
export type Condition = z.output<typeof conditionSchema>;

/**
 * What makes a step with a side effect safe to repeat: after a crash in the middle of it the guard is looked at first, and the step
 * counts as done when it holds.
 */
const guardSchema = z.strictObject({
  at: templateText.optional().describe('Address to look at; default: the page as it was restored.'),
  seen: conditionSchema.describe('Holds once the effect has happened.'),
  withinSeconds: seconds.default(5).describe('How long it is waited for.'),
});

/** One value read from an element. */
const readingShape = {
  on: locatorSchema.optional(),
  read: z.enum(['text', 'value', 'attribute', 'checked', 'count', 'visible']).default('text'),
  attribute: z.string().max(200).optional(),
  match: z.string().max(2000).optional().describe('RE2 pattern; its first group, or the whole match, is the value.'),
  type: z.enum(['text', 'number', 'integer', 'boolean']).default('text').describe('What the value must be; numbers may have currency signs and thousands separators.'),
  optional: z.boolean().default(false).describe('Null, rather than a failure, where the element or the match is missing.'),
};
const readingSchema = z.strictObject(readingShape);
export type Reading = z.output<typeof readingSchema>;

const common = {
  name: z.string().max(200).optional().describe('What people call it.'),
  timeoutSeconds: seconds.optional().describe('Default: the flow\'s `stepSeconds`.'),
  guard: guardSchema.optional(),
  repeatable: z.boolean().optional().describe('Whether the effect does no harm twice, like signing in or the next page of a form: after a crash the step is simply taken again.'),
  ifMissing: z.enum(['fail', 'skip']).optional().describe('What happens when the element never comes; default `fail`.'),
};
const action = <Verb extends string, Shape extends z.ZodRawShape>(verb: Verb, shape: Shape) => z.strictObject({ do: z.literal(verb), ...common, ...shape });
const secret = z.strictObject({ credential: z.string().min(1).max(128).describe('Name of a connection of kind `website`.'), field: z.enum(['username', 'password', 'totp']) });
const point = z.strictObject({ x: z.number(), y: z.number() });
const modifiers = z.array(z.enum(['Alt', 'Control', 'Meta', 'Shift'])).max(4);

/** What is wanted, for a model. */
const inWords = templateText.min(1);
const navigate = action('navigate', { url: templateText, until: z.enum(['load', 'domcontentloaded', 'networkidle', 'commit']).default('load') });
const history = action('history', { go: z.enum(['back', 'forward', 'reload']) });
const click = action('click', { on: locatorSchema, button: z.enum(['left', 'right', 'middle']).default('left'), times: z.int().min(1).max(3).default(1), modifiers: modifiers.optional(), at: point.optional().describe('Pixels from the top left corner of the element; default its middle.') });
const type = action('type', {
  into: locatorSchema,
  text: templateText.optional(),
  secret: secret.optional().describe('From the vault instead of `text`; only on pages of the credential\'s origins.'),
  clear: z.boolean().default(true),
  byKey: z.boolean().default(false).describe('One key after the other, for fields that look at each.'),
  submit: z.boolean().default(false).describe('Presses Enter afterwards.'),
});
const select = action('select', { from: locatorSchema, options: z.array(templateText).min(1).max(100).describe('By label, else by value.') });
const check = action('check', { on: locatorSchema, checked: z.boolean().default(true) });
const press = action('press', { key: z.string().min(1).max(50).describe('E.g. `Enter`, `Control+A`, `{{ vars.key }}`.'), on: locatorSchema.optional(), times: z.union([z.int().min(1).max(1000), expression]).default(1).describe('A text is a CEL expression; 0 presses nothing.') });
const hover = action('hover', { on: locatorSchema });
const focus = action('focus', { on: locatorSchema });
const scroll = action('scroll', { to: locatorSchema.optional(), by: point.optional(), inside: locatorSchema.optional() });
const drag = action('drag', { from: locatorSchema, to: locatorSchema.optional(), by: point.optional().describe('Pixels, where there is no element to drop it on.') });
const upload = action('upload', { into: locatorSchema, files: z.array(z.strictObject({ name: z.string().min(1).max(200), content: templateText, mediaType: z.string().max(100).default('text/plain') })).min(1).max(10) });
const download = action('download', { on: locatorSchema, as: identifier });
const wait = action('wait', { for: conditionSchema });
const pause = action('pause', { seconds });
const extract = action('extract', {
  as: identifier,
  words: inWords.optional().describe('What is to be read, in words: a model says where it stands, and the page is read there.'),
  ...readingShape,
  optional: z.boolean().default(false),
  all: z.boolean().default(false).describe('The reading of every element found, as a list.'),
  list: locatorSchema.optional().describe('An object of `fields` for each of these.'),
  fields: z.record(identifier, readingSchema).optional(),
  table: locatorSchema.optional().describe('Its rows, as objects named by the header cells.'),
  from: z.enum(['url', 'title']).optional(),
});
const assertion = action('assert', { that: conditionSchema });
const set = action('set', { as: identifier, value: expression });
const screenshot = action('screenshot', { as: identifier, of: locatorSchema.optional(), fullPage: z.boolean().default(false) });
const compare = action('compare', {
  baseline: identifier.describe('Name of the picture that it must be equal to. There is one for each name of a flow and size of the window.'),
  of: locatorSchema.optional().describe('Default: what the window shows.'),
  fullPage: z.boolean().default(false),
  mask: z.array(locatorSchema).max(50).default([]).describe('Elements that are covered before, e.g. those that change by themselves. Fields for passwords always are.'),
  threshold: z.number().min(0).max(1).default(0.1).describe('How much a pixel may differ before it counts, from 0 to 1, as pixelmatch has it.'),
  maxDifferentPixels: z.int().min(0).optional().describe('How many pixels may differ; default none.'),
  maxDifferentRatio: z.number().min(0).max(1).optional().describe('How large a part of all pixels may differ, from 0 to 1; where both are given the smaller number counts.'),
  ifNew: z.enum(['create', 'fail']).default('create').describe('Where there is no baseline yet: the picture becomes it, or the step fails.'),
});
const pdf = action('pdf', { as: identifier });
const tab = action('tab', { to: z.enum(['newest', 'first', 'close']) });
const act = action('act', {
  words: inWords.describe('What is to be done, in words: a model says the steps, which are taken like any others.'),
  most: z.int().min(1).max(20).default(8).describe('How often the model may look and say what comes next.'),
  credentials: z.array(z.string().min(1).max(128)).max(5).default([]).describe('Connections of kind `website` that the model may have typed in; it learns their names only.'),
});
const observe = action('observe', { words: inWords.describe('What is looked for, in words.'), as: identifier.describe('Variable that gets a list of steps that could be taken, each `{about, step}`; none is.') });
const handOver = action('hand-over', { reason: templateText, deadlineSeconds: z.int().min(10).max(604_800).default(3600), done: conditionSchema.optional().describe('What must be seen once the person is done.') });

/** A step that touches the page; the rest of the language arranges such steps. */
export const leafSchema = z.discriminatedUnion('do', [navigate, history, click, type, select, check, press, hover, focus, scroll, drag, upload, download, wait, pause, extract, assertion, set, screenshot, compare, pdf, tab, act, observe, handOver]);
export type Leaf = z.output<typeof leafSchema>;
/** As people write it: what has a default may be left out. */
export type LeafDraft = z.input<typeof leafSchema>;
export type LeafOf<Verb extends Leaf['do']> = Extract<Leaf, { do: Verb }>;
/** A step that a model turns into others. */
export type WordedStep = LeafOf<'act'> | LeafOf<'observe'> | (LeafOf<'extract'> & { words: string });

/** Runs one of two lists. */
export interface Branch {
  readonly do: 'if';
  readonly name?: string | undefined;
  readonly when: Condition;
  readonly steps: readonly FlowStep[];
  readonly else?: readonly FlowStep[] | undefined;
}
/** Runs a list for each element of a list of values. */
export interface Loop {
  readonly do: 'for-each';
  readonly name?: string | undefined;
  readonly in: string;
  readonly as: string;
  readonly steps: readonly FlowStep[];
}
/** Runs a list as long as the condition holds. */
export interface Repeat {
  readonly do: 'while';
  readonly name?: string | undefined;
  readonly when: Condition;
  readonly most: number;
  readonly steps: readonly FlowStep[];
}
/** Runs a sub-flow; its variables are the caller's. */
export interface Call {
  readonly do: 'call';
  readonly name?: string | undefined;
  readonly flow: string;
  readonly with?: Readonly<Record<string, string>> | undefined;
}
export type FlowStep = Leaf | Branch | Loop | Repeat | Call;

const label = z.string().max(200).optional();
export const stepSchema: z.ZodType<FlowStep> = z
  .discriminatedUnion('do', [
    ...leafSchema.options,
    z.strictObject({
      do: z.literal('if'),
      name: label,
      when: conditionSchema.describe('Looked at once, without waiting.'),
      get steps() {
        return z.array(stepSchema).max(500);
      },
      get else() {
        return z.array(stepSchema).max(500).optional();
      },
    }),
    z.strictObject({
      do: z.literal('for-each'),
      name: label,
      in: expression.describe('A list.'),
      as: identifier,
      get steps() {
        return z.array(stepSchema).min(1).max(500);
      },
    }),
    z.strictObject({
      do: z.literal('while'),
      name: label,
      when: conditionSchema,
      most: z.int().min(1).max(1000).default(100).describe('More turns than this are a failure.'),
      get steps() {
        return z.array(stepSchema).min(1).max(500);
      },
    }),
    z.strictObject({ do: z.literal('call'), name: label, flow: identifier, with: z.record(identifier, expression).optional().describe('Variables to set first.') }),
  ])
  .meta({ id: 'BrowserStep' });

/** A browser flow: what a person would do, step by step, in a form that can be stopped and taken up anywhere. */
export const flowSchema = z
  .strictObject({
    name: z.string().min(1).max(200).optional(),
    steps: z.array(stepSchema).min(1).max(500),
    flows: z.record(identifier, z.array(stepSchema).min(1).max(500)).default({}).describe('Sub-flows, for `call`.'),
    vars: z.record(identifier, z.unknown()).default({}).describe('Variables at the beginning.'),
    result: expression.optional().describe('What the run answers; default: all variables.'),
    hosts: z.strictObject({ allow: z.array(z.string().max(253)).max(200).optional(), deny: z.array(z.string().max(253)).max(200).default([]) }).default({ deny: [] }).describe('Hosts that pages may reach, e.g. `shop.example`, `*.example`; default all public ones.'),
    overlays: z.array(z.strictObject({ on: locatorSchema, click: locatorSchema })).max(20).default([]).describe('What may get in the way at any time, and what closes it.'),
    dialogs: z.enum(['accept', 'dismiss']).default('dismiss').describe('What is answered to alert, confirm and prompt.'),
    captcha: z
      .strictObject({
        neuron: z.string().min(1).max(200).optional().describe('Neuron of kind `llm`, of a model that sees pictures, that is asked first; default: none is.'),
        tries: z.int().min(1).max(10).default(3).describe('How often it may look and answer, for one step.'),
        do: z.enum(['hand-over', 'fail']).default('hand-over'),
        deadlineSeconds: z.int().min(10).max(604_800).default(3600),
      })
      .default({ tries: 3, do: 'hand-over', deadlineSeconds: 3600 })
      .describe('When a step cannot be taken and a CAPTCHA stands on the page: whether a model, and then a person, is asked, and for how long; the step is tried again afterwards.'),
    viewport: z.strictObject({ width: z.int().min(200).max(4000), height: z.int().min(200).max(4000) }).default({ width: 1280, height: 800 }),
    locale: z.string().max(35).default('en-US'),
    timeZone: z.string().max(60).default('UTC'),
    neuron: z.string().min(1).max(200).default('browser').describe('Neuron of kind `llm` that is asked where steps are in words.'),
    stepSeconds: seconds.default(15),
    limits: z
      .strictObject({
        minutes: z.number().positive().max(1440).default(30).describe('Of the whole session while it is worked on.'),
        pages: z.int().min(1).max(50).default(10).describe('Open at once.'),
        steps: z.int().min(1).max(100_000).default(5000),
        megabytes: z.number().positive().max(10_000).default(200).describe('That pages may receive.'),
      })
      .default({ minutes: 30, pages: 10, steps: 5000, megabytes: 200 }),
    evidence: z.enum(['none', 'screenshots', 'full']).default('screenshots').describe('What is kept of each step besides its outcome: a picture, and the page in words (roles, names, texts) where it is small or the step failed; `full` of every page.'),
  })
  .meta({ id: 'BrowserFlow' });
/** How a session is set up, without its steps: what an interactive session is started with. */
export const sessionSettingsSchema = flowSchema.omit({ steps: true, flows: true, result: true }).meta({ id: 'BrowserSessionSettings' });
export type Flow = z.output<typeof flowSchema>;
export type FlowDraft = z.input<typeof flowSchema>;
export type { Locator };
