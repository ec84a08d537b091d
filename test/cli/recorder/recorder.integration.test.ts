import { createServer, type Server } from 'node:http';
import { chromium, type Browser, type Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { checkFlow } from '../../../activities/browser/flow-check.ts';
import { RecordedSteps } from '../../../cli/recorder/recorded-steps.ts';
import { record } from '../../../cli/recorder/recorder.ts';
import { flowSchema } from '../../../schemas/browser/flow.ts';
import { chromiumPath } from '../../environment/browser.ts';
import { freePort } from '../../../platform/telemetry/free-port.ts';

const SECRET = 'canary-3f9d0c';
const PATIENT = { timeout: 90_000 };

const PAGES: Readonly<Record<string, string>> = {
  '/': `<title>Shop</title><form action="/other">
    <label>Name <input name=who></label>
    <label>User <input name=user></label> <label>Password <input id=pw type=password></label> <button type=button onclick="pw.type='text'">Show</button>
    <label>Card <input autocomplete="cc-number"></label>
    <label>Room <select name=room><option>Single<option>Double</select></label>
    <label><input type=checkbox name=breakfast> Breakfast</label>
    <label><input type=radio name=side value=window> Window</label>
    <div role=textbox aria-label=Remark contenteditable style="min-height: 1em"></div>
    <p><button type=button>Add</button></p><p><button type=button>Add</button></p>
    <button type=button data-testid=ask onclick="confirm('Sure?')">Ask</button>
    <button type=button onclick="document.querySelector('input[name=breakfast]').click()">By itself</button>
    <a href="/terms" target=_blank>Terms</a>
    <iframe name=inner src=/inner></iframe>
    <button>Send</button>
    <x-box></x-box><script>document.querySelector('x-box').attachShadow({ mode: 'open' }).innerHTML = '<button type=button>Inside</button>';</script>
  </form>`,
  '/inner': '<button>Deep</button>',
  '/terms': '<title>Terms</title><button>Agree</button>',
  '/other': '<title>Other</title><p>Thanks</p><a href="/">Home</a>',
};

/** Somebody works in the recorder's browser, from DevTools: mouse and keys are real ones to the page. */
describe('a recording', { timeout: 180_000 }, () => {
  let server: Server;
  let url = '';
  let executablePath = '';
  beforeAll(async () => {
    server = createServer((request, response) => response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end(`<!doctype html>${PAGES[new URL(request.url ?? '/', 'http://site').pathname] ?? ''}`));
    await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
    const address = server.address();
    url = `http://127.0.0.1:${typeof address === 'object' ? String(address?.port) : ''}`;
    executablePath = await chromiumPath();
  });
  afterAll(async () => {
    server.closeAllConnections();
    await new Promise((closed) => server.close(closed));
  });

  /** Records what is done in a page of the address. */
  const recorded = async (work: (page: Page, steps: RecordedSteps) => Promise<void>): Promise<{ steps: RecordedSteps; problems: string[] }> => {
    const steps = new RecordedSteps('shop');
    const problems: string[] = [];
    const debuggingPort = await freePort();
    const stop = new AbortController();
    const recording = record({ url: `${url}/`, executablePath, headless: true, debuggingPort, steps, onStep: () => undefined, onProblem: (problem) => problems.push(problem) }, stop.signal);
    let browser: Browser | undefined;
    try {
      await expect.poll(async () => (browser ??= await chromium.connectOverCDP(`http://127.0.0.1:${String(debuggingPort)}`).catch(() => undefined)), PATIENT).toBeDefined();
      const pages = (): Page[] => browser?.contexts().flatMap((context) => context.pages()) ?? [];
      await expect.poll(() => pages().some((page) => page.url() === `${url}/`), PATIENT).toBe(true);
      const page = pages().find((each) => each.url() === `${url}/`);
      if (page === undefined) throw new Error('there is no page');
      await page.getByLabel('Name').waitFor();
      await work(page, steps);
      for (const each of pages()) await each.close();
      await recording;
    } finally {
      stop.abort();
      await recording.catch(() => undefined);
      await browser?.close();
    }
    return { steps, problems };
  };
  /** The steps with the first way to each element. */
  const brief = (steps: RecordedSteps): unknown[] =>
    steps.flow('x').steps.map((step) => JSON.parse(JSON.stringify(step, (key, value: unknown) => (key === 'or' ? undefined : value))) as unknown);
  const named = (role: string, name: string): object => ({ role, name, exact: true });

  it('has what was done to fields, by the words that people know them by, and nothing that was secret', async () => {
    const { steps, problems } = await recorded(async (page, doing) => {
      await page.getByLabel('Name').click();
      await page.keyboard.type('Ada {{x}}');
      await page.getByLabel('User').click();
      await page.keyboard.type('ada');
      await page.keyboard.press('Tab');
      await page.keyboard.type(SECRET);
      await page.getByRole('button', { name: 'Show' }).click();
      await page.getByLabel('Password').click();
      await page.keyboard.type(SECRET);
      await page.getByLabel('Card').click();
      await page.keyboard.type('4111');
      await page.getByLabel('Room').focus();
      await page.keyboard.type('D');
      await page.getByText('Breakfast').click();
      await page.getByRole('radio', { name: 'Window' }).click();
      await page.getByLabel('Remark').click();
      await page.keyboard.type('late');
      await page.getByRole('button', { name: 'By itself' }).click();
      await page.getByLabel('Name').click();
      await page.keyboard.type('!');
      await page.keyboard.press('Enter');
      await page.getByText('Thanks').waitFor();
      await expect.poll(() => doing.count, PATIENT).toBe(13);
    });
    expect(brief(steps)).toEqual([
      { do: 'navigate', url: `${url}/` },
      { do: 'type', into: named('textbox', 'Name'), text: "Ada {{ '{{' }}x}}" },
      { do: 'type', into: named('textbox', 'User'), secret: { credential: 'shop', field: 'username' } },
      { do: 'type', into: { label: 'Password' }, secret: { credential: 'shop', field: 'password' } },
      { do: 'click', on: named('button', 'Show') },
      expect.objectContaining({ do: 'type', secret: { credential: 'shop', field: 'password' } }),
      { do: 'type', into: named('textbox', 'Card'), text: '{{ input.ccNumber }}' },
      { do: 'select', from: named('combobox', 'Room'), options: ['Double'] },
      { do: 'check', on: named('checkbox', 'Breakfast') },
      { do: 'check', on: named('radio', 'Window') },
      { do: 'type', into: named('textbox', 'Remark'), text: 'late' },
      { do: 'click', on: named('button', 'By itself') },
      { do: 'type', into: named('textbox', 'Name'), text: "Ada {{ '{{' }}x}}!", submit: true },
    ]);
    const text = JSON.stringify(steps.flow('x'));
    expect(text).not.toContain(SECRET);
    expect(text).not.toContain('4111');
    expect(text).toContain('input[name=\\"who\\"]');
    expect(() => checkFlow(flowSchema.parse(steps.flow('x')))).not.toThrow();
    expect(problems).toEqual([]);
  });

  it('has clicks, tabs, frames, answers to questions, and what was done beside the page', async () => {
    const { steps, problems } = await recorded(async (page, doing) => {
      page.on('dialog', (dialog) => void dialog.accept());
      await page.getByRole('button', { name: 'Add' }).nth(1).dblclick();
      await page.getByTestId('ask').click();
      await page.frameLocator('iframe').getByRole('button').click();
      await page.getByRole('button', { name: 'Inside' }).click();
      const [terms] = await Promise.all([page.waitForEvent('popup'), page.getByRole('link', { name: 'Terms' }).click()]);
      await terms.getByRole('button', { name: 'Agree' }).click();
      await expect.poll(() => doing.count, PATIENT).toBe(8);
      await terms.close();
      await page.goto(`${url.replace('//', '//ada:secret@')}/other`);
      await page.getByRole('link', { name: 'Home' }).click();
      await page.getByLabel('Name').waitFor();
      await expect.poll(() => doing.count, PATIENT).toBe(11);
      await page.goBack();
      await expect.poll(() => doing.count, PATIENT).toBe(12);
      await page.reload();
      await expect.poll(() => doing.count, PATIENT).toBe(13);
    });
    expect(brief(steps)).toEqual([
      { do: 'navigate', url: `${url}/` },
      { do: 'click', on: { ...named('button', 'Add'), nth: 1 }, times: 2 },
      { do: 'click', on: { testId: 'ask' } },
      { do: 'click', on: { ...named('button', 'Deep'), frame: 'iframe[name="inner"]' } },
      { do: 'click', on: named('button', 'Inside') },
      { do: 'click', on: named('link', 'Terms') },
      { do: 'tab', to: 'newest' },
      { do: 'click', on: named('button', 'Agree') },
      { do: 'tab', to: 'first' },
      { do: 'navigate', url: `${url}/other` },
      { do: 'click', on: named('link', 'Home') },
      { do: 'history', go: 'back' },
      { do: 'history', go: 'reload' },
    ]);
    expect(steps.flow('x').dialogs).toBe('accept');
    expect(() => checkFlow(flowSchema.parse(steps.flow('x')))).not.toThrow();
    expect(problems).toEqual([]);
  });
});
