import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startStack, type Stack } from '../../deploy/local/stack.ts';
import { launchBrowser } from '../environment/browser.ts';

/** The way of an operator, with a real browser: sign in, open a run, read its encrypted input. */
describe('Temporal UI behind the API', () => {
  let folder: string;
  let stack: Stack | undefined;
  let browser: Browser | undefined;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'hal9-ui-'));
    await chmod(folder, 0o755);
    const ports = { HAL9_PORT: '0', HAL9_POSTGRES_PORT: '0', HAL9_TEMPORAL_PORT: '0', HAL9_TEMPORAL_UI_PORT: '0' };
    [stack, browser] = await Promise.all([startStack({ settings: { HAL9_DATA: join(folder, 'data'), ...ports }, processes: ['api'] }), launchBrowser()]);
  });
  afterAll(async () => {
    await browser?.close();
    await stack?.stop();
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  });

  it('decrypts for who signed in, and for nobody else', async () => {
    if (stack === undefined || browser === undefined) throw new Error('not started');
    const key = stack.first?.apiKey ?? '';
    const answer = await fetch(`${stack.url}/v1/workflows/remediate/runs`, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      body: JSON.stringify({ input: { incidentId: 'incident-in-clear', cause: 'cpu-hog', hostId: 'nowhere', dryRun: true } }),
    });
    const { links } = (await answer.json()) as { links: { temporal: string } };
    const page = await browser.newPage();
    await page.goto(links.temporal);
    expect(new URL(page.url()).pathname).toBe('/sign-in');
    await page.click('summary');
    await page.fill('input[name=key]', key);
    await page.click('form#key button');
    await page.waitForURL(/\/temporal\/namespaces/);
    await page.goto(links.temporal);
    await page.waitForURL(/\/temporal\/namespaces\/default\/workflows\/.+\/.+/);
    await page.getByText('incident-in-clear').first().waitFor({ timeout: 90_000 });

    // The UI's own port has no session, and so no codec: what it shows stays sealed.
    const direct = new URL(links.temporal);
    direct.host = new URL(String(stack.environment['HAL9_TEMPORAL_UI_UPSTREAM'])).host;
    const other = await (await browser.newContext()).newPage();
    await other.goto(direct.href);
    await other.getByText('Event History').first().waitFor({ timeout: 90_000 });
    // The page keeps polling, so it never falls silent: time enough for a codec to have answered.
    await other.waitForTimeout(3000);
    expect(await other.content()).not.toContain('incident-in-clear');
  });
});
