import { randomUUID } from 'node:crypto';
import type { CallToolResult } from '@modelcontextprotocol/sdk/types.js';
import { z } from 'zod';
import type { InteractiveBrowsers, TurnSeen } from '../../platform/browser/interactive.ts';
import type { Caller } from '../../platform/identity/caller.ts';
import { defineTool, type Tool } from './tool.ts';
import { untrusted } from './untrusted.ts';

const session = z.string().max(300).describe('What `open` answered.');
const timeoutSeconds = z.number().positive().max(40).default(15).describe('How long to wait for it.');

/** One way to an element, and what narrows it: the part of the flow language's locators that a model needs. */
const element = z
  .object({
    role: z.string().max(40).optional().describe('ARIA role as the snapshot shows it, e.g. `button`.'),
    name: z.string().max(1000).optional().describe('Accessible name, with `role`.'),
    label: z.string().max(1000).optional().describe('Label of a field.'),
    text: z.string().max(1000).optional(),
    placeholder: z.string().max(1000).optional(),
    testId: z.string().max(200).optional(),
    css: z.string().max(1000).optional().describe('The last resort.'),
    exact: z.boolean().optional().describe('Whether texts must be equal; default: contained, case ignored.'),
    nth: z.int().min(-1000).max(1000).optional().describe('Which of several, from 0; negative from the end.'),
  })
  .describe('Give exactly one of role, label, text, placeholder, testId, css.');

/** Steps of an interactive browser session. Each answers what the page shows afterwards. */
export function createBrowserTools(browsers: InteractiveBrowsers): Tool[] {
  const take = async (caller: Caller, runId: string, step: unknown, look: { snapshot?: boolean; picture?: boolean } = { snapshot: true }): Promise<CallToolResult> =>
    seen(await browsers.take(caller, runId, { id: randomUUID(), ...(step === undefined ? {} : { step }), look }));
  return [
    defineTool({
      name: 'open',
      title: 'Open a browser',
      description: 'Begins a durable browser session and goes to an address. Answers the session that the other tools ask for. End it with `close`; it ends by itself after `idleMinutes` without a step.',
      input: z.object({
        url: z.url({ protocol: /^https?$/ }).max(2000),
        hosts: z.array(z.string().max(253)).max(50).optional().describe('Only hosts that pages may reach, e.g. `*.example.com`; default all public ones.'),
        idleMinutes: z.number().positive().max(240).default(15),
      }),
      async call(caller, { url, hosts, idleMinutes }) {
        const runId = await browsers.open(caller, { settings: { name: 'interactive', ...(hosts === undefined ? {} : { hosts: { allow: hosts } }) }, idleMinutes });
        const answer = await take(caller, runId, { do: 'navigate', url });
        return { ...answer, content: [{ type: 'text', text: `session: ${runId}` }, ...answer.content], structuredContent: { ...answer.structuredContent, session: runId } };
      },
    }),
    defineTool({
      name: 'navigate',
      title: 'Go to an address',
      description: 'Goes to an address.',
      input: z.object({ session, url: z.url({ protocol: /^https?$/ }).max(2000) }),
      call: (caller, input) => take(caller, input.session, { do: 'navigate', url: plain(input.url) }),
    }),
    defineTool({
      name: 'click',
      title: 'Click',
      description: 'Clicks an element.',
      input: z.object({ session, element, times: z.int().min(1).max(3).default(1), timeoutSeconds }),
      call: (caller, input) => take(caller, input.session, { do: 'click', on: located(input.element), times: input.times, timeoutSeconds: input.timeoutSeconds }),
    }),
    defineTool({
      name: 'type',
      title: 'Type',
      description: 'Types into a field, instead of what stands there. For passwords name a credential of the vault: its value is never shown.',
      input: z.object({
        session,
        element,
        text: z.string().max(20_000).optional(),
        credential: z.object({ name: z.string().min(1).max(128).describe('Connection of kind `website`.'), field: z.enum(['username', 'password', 'totp']) }).optional().describe('Instead of `text`.'),
        submit: z.boolean().default(false).describe('Presses Enter afterwards.'),
        timeoutSeconds,
      }),
      call: (caller, input) =>
        take(caller, input.session, {
          do: 'type',
          into: located(input.element),
          submit: input.submit,
          timeoutSeconds: input.timeoutSeconds,
          ...(input.credential === undefined ? { text: plain(input.text ?? '') } : { secret: { credential: input.credential.name, field: input.credential.field } }),
        }),
    }),
    defineTool({
      name: 'select',
      title: 'Choose from a list',
      description: 'Chooses options of a drop-down list, by their labels or values.',
      input: z.object({ session, element, options: z.array(z.string().max(1000)).min(1).max(100), timeoutSeconds }),
      call: (caller, input) => take(caller, input.session, { do: 'select', from: located(input.element), options: input.options.map(plain), timeoutSeconds: input.timeoutSeconds }),
    }),
    defineTool({
      name: 'check',
      title: 'Check or uncheck',
      description: 'Checks or unchecks a box.',
      input: z.object({ session, element, checked: z.boolean().default(true), timeoutSeconds }),
      call: (caller, input) => take(caller, input.session, { do: 'check', on: located(input.element), checked: input.checked, timeoutSeconds: input.timeoutSeconds }),
    }),
    defineTool({
      name: 'press',
      title: 'Press a key',
      description: 'Presses a key, e.g. `Enter`, `Escape`, `Control+A`.',
      input: z.object({ session, key: z.string().min(1).max(50), element: element.optional() }),
      call: (caller, input) => take(caller, input.session, { do: 'press', key: plain(input.key), ...(input.element === undefined ? {} : { on: located(input.element) }) }),
    }),
    defineTool({
      name: 'extract',
      title: 'Read from the page',
      description: 'Reads text, a value or an attribute of an element, of all that fit, or a whole table as rows.',
      looks: true,
      input: z.object({
        session,
        element: element.describe('The element; of a table when `read` is `table`.'),
        read: z.enum(['text', 'value', 'attribute', 'checked', 'count', 'visible', 'table']).default('text'),
        attribute: z.string().max(200).optional(),
        all: z.boolean().default(false).describe('Every element that fits, as a list.'),
        timeoutSeconds,
      }),
      call: (caller, { session: runId, element: on, read, attribute, all, timeoutSeconds: seconds }) =>
        take(caller, runId, { do: 'extract', as: 'read', timeoutSeconds: seconds, ...(read === 'table' ? { table: located(on) } : { on: located(on), read, all, ...(attribute === undefined ? {} : { attribute }) }) }, {}),
    }),
    defineTool({
      name: 'wait_for',
      title: 'Wait',
      description: 'Waits until the page shows a text or an element, has an address, or has loaded all.',
      looks: true,
      input: z.object({
        session,
        text: z.string().max(1000).optional(),
        element: element.optional(),
        state: z.enum(['visible', 'hidden']).default('visible'),
        url: z.string().max(2000).optional().describe('A glob, e.g. `**/orders/*`.'),
        networkIdle: z.boolean().optional().describe('No request for half a second.'),
        timeoutSeconds,
      }),
      call: (caller, { session: runId, text, element: on, state, url, networkIdle, timeoutSeconds: seconds }) =>
        take(caller, runId, {
          do: 'wait',
          timeoutSeconds: seconds,
          for: { state, ...(text === undefined ? {} : { text: plain(text) }), ...(on === undefined ? {} : { on: located(on) }), ...(url === undefined ? {} : { url: plain(url) }), ...(networkIdle === undefined ? {} : { networkIdle }) },
        }),
    }),
    defineTool({
      name: 'snapshot',
      title: 'Look at the page',
      description: 'Roles, names and texts of the page, as a screen reader has them: what `element` of the other tools can name.',
      looks: true,
      input: z.object({ session }),
      call: (caller, input) => take(caller, input.session, undefined),
    }),
    defineTool({
      name: 'screenshot',
      title: 'Take a picture',
      description: 'A picture of what the window shows. Needs the permission `codec:decode`.',
      looks: true,
      input: z.object({ session }),
      call: (caller, input) => take(caller, input.session, undefined, { picture: true }),
    }),
    defineTool({
      name: 'close',
      title: 'Close the browser',
      description: 'Ends a session. What it did stays as evidence of its run.',
      input: z.object({ session }),
      async call(caller, input) {
        await browsers.end(caller, input.session);
        return { content: [{ type: 'text', text: 'The session has ended.' }] };
      },
    }),
  ];
}

function seen({ failure, page }: TurnSeen): CallToolResult {
  const place = `${failure === null ? 'Done.' : `Not done (${failure.type}): ${failure.message}.`} ${String(page.tabs)} ${page.tabs === 1 ? 'tab' : 'tabs'} open.`;
  const lines = [`address: ${page.url}`, `title: ${page.title}`, ...('value' in page ? [`read: ${JSON.stringify(page.value)}`] : []), ...(page.snapshot === undefined ? [] : [page.snapshot])];
  return {
    content: [
      { type: 'text', text: `${place}\n${untrusted(lines.join('\n'))}` },
      ...(page.picture === undefined ? [] : [{ type: 'image' as const, data: page.picture, mimeType: 'image/jpeg' }]),
    ],
    structuredContent: { url: page.url, title: page.title, ...('value' in page ? { value: page.value } : {}), ...(failure === null ? {} : { failure }) },
    ...(failure === null ? {} : { isError: true }),
  };
}

/** Texts of flows may hold `{{ expressions }}`; what a model writes is meant as it stands. */
function plain(text: string): string {
  return text.replaceAll('{{', '{{ "{{" }}');
}

function located(given: z.output<typeof element>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(given).map(([name, value]) => [name, typeof value === 'string' ? plain(value) : value]));
}
