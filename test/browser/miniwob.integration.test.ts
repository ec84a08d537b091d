import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { launchBrowser } from '../environment/browser.ts';
import { findMiniwob, MINIWOB_MISSING } from '../environment/miniwob.ts';
import { renamingScript } from './miniwob/renaming.ts';
import { playTasks } from './miniwob/tasks.ts';

const pages = await findMiniwob();
if (pages === undefined) {
  console.log(MINIWOB_MISSING);
  if (process.env['CI'] === 'true') throw new Error(MINIWOB_MISSING);
}

const PAGE = `<!doctype html><style>.big { font-size: 30px } #late > .inner { color: rgb(1, 2, 3) }</style>
<label for=name>Name</label><input id=name class="big field"><button id=go class=primary>Go</button><div id=late></div>
<script>
  document.getElementById('go').addEventListener('click', (event) => {
    const late = document.querySelector('#late');
    late.innerHTML = '<p class="inner" id="inner-1">made of ' + event.target.id + '</p>';
    // Before anybody could rename it.
    late.querySelector('.inner').textContent += ', ' + document.getElementById('inner-1').className;
    event.target.classList.remove('primary');
    late.title = String(document.querySelectorAll('.primary').length) + document.querySelector('button').getAttribute('id') + document.getElementsByClassName('big field').length;
  });
</script>`;

describe('a browser on pages whose ids and classes are renamed', () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await launchBrowser();
  });
  afterAll(() => browser.close());

  it('sees none of their author\'s, and the pages work as before', async () => {
    const context = await browser.newContext();
    await context.addInitScript({ content: renamingScript('seed') });
    await context.route('http://renamed.test/', (route) => route.fulfill({ contentType: 'text/html', body: PAGE }));
    const page = await context.newPage();
    await page.goto('http://renamed.test/');
    await expect.poll(() => page.locator('#name, #go, .big, .primary, #late').count()).toBe(0);
    await page.getByLabel('Name').fill('Grace');
    await page.getByRole('button', { name: 'Go' }).click();
    await page.getByText('made of go, inner').waitFor();
    await expect.poll(() => page.locator('#inner-1, .inner').count()).toBe(0);
    expect(await page.getByTitle('0go1').count()).toBe(1);
    expect(await page.evaluate(`getComputedStyle(document.querySelector('.inner')).color`)).toBe('rgb(1, 2, 3)');
    expect(await page.evaluate(`getComputedStyle(document.getElementById('name')).fontSize`)).toBe('30px');
    await context.close();
  });

  it('are asked for by name where a folder has none', async () => {
    const played = playTasks({ browser, dir: import.meta.dirname, tasks: ['click-tab'], seeds: 1, renamed: false, progress: () => undefined, signal: new AbortController().signal });
    await expect(played).rejects.toThrow(/^there are no pages of MiniWoB\+\+ in .*give the `html` folder of the package miniwob/);
  });

  it.skipIf(pages === undefined).each([false, true])('solves tasks of MiniWoB++ with flows (renamed: %s)', { timeout: 300_000 }, async (renamed) => {
    const said: string[] = [];
    const outcome = await playTasks({ browser, dir: pages ?? '', tasks: ['click-tab', 'click-checkboxes', 'enter-date'], seeds: 1, renamed, progress: (message) => said.push(message), signal: new AbortController().signal });
    expect(outcome, said.join('\n')).toEqual({ tasks: 3, solved: 3, episodes: 3, won: 3, failed: [] });
  });
});
