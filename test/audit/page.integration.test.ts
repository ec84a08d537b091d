import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestApi, type TestApi, type TestKey } from '../api/running-api.ts';
import { launchBrowser } from '../environment/browser.ts';
import { act, auditHouse, type AuditHouse } from './acts.ts';

/** The page verifies with the browser's own cryptography what the server says. */
describe('the audit page', () => {
  let api: TestApi;
  let house: AuditHouse;
  let key: TestKey;
  let browser: Browser;
  let page: Page;
  beforeAll(async () => {
    [api, browser] = await Promise.all([startTestApi(), launchBrowser()]);
    house = await auditHouse(api.database.database);
    key = await api.key(await api.database.organisation());
    await house.record(...Array.from({ length: 21 }, (_, index) => act(key.orgId, { action: index % 2 === 0 ? 'neuron.change' : 'api-key.create', result: index === 5 ? 'refused' : 'succeeded', risk: index === 7 ? 60 : 0 })));
    await house.sequence(key.orgId);
    await house.checkpoints.make(key.orgId);
    page = await browser.newPage({ viewport: { width: 1500, height: 700 } });
    await page.goto(`${api.url}/console/audit.html`);
    await page.evaluate((text) => sessionStorage.setItem('hal9-api-key', text), key.text);
  });
  afterAll(async () => {
    await browser.close();
    await house.close();
    await api.stop();
  });
  const open = async (query = ''): Promise<void> => {
    await page.goto(`${api.url}/console/audit.html${query}`);
    await page.waitForSelector('body[data-drawn]');
  };

  it('filters, and verifies the proof of an act', async () => {
    await open();
    await expect(page.locator('tbody tr').count()).resolves.toBe(21);
    await page.fill('input[name=action]', 'api-key.create');
    await page.selectOption('select[name=result]', 'refused');
    await page.click('form.filters button');
    await page.waitForURL(/result=refused/);
    await page.waitForSelector('button[data-seq="5"]');
    await expect(page.locator('tbody tr').count()).resolves.toBe(1);
    await open();
    await page.click('button[data-seq="7"]');
    await page.waitForSelector('aside[data-verified=true]');
    await expect(page.locator('aside p.verified').count()).resolves.toBe(3);
    const shots = process.env['HAL9_SCREENSHOTS'];
    if (shots !== undefined) {
      await mkdir(shots, { recursive: true });
      await page.screenshot({ path: join(shots, 'audit.png') });
    }
  });

  it('says so when the answer was changed on its way', async () => {
    await page.route('**/v1/audit/entries/9', async (route) => {
      const answer = await route.fetch();
      await route.fulfill({ response: answer, body: (await answer.text()).replace('"result":"succeeded"', '"result":"refused"') });
    });
    await open();
    await page.click('button[data-seq="9"]');
    await page.waitForSelector('aside[data-verified=false]');
    await expect(page.locator('aside p.problem').count()).resolves.toBe(2);
  });
});
