import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Secret, TOTP } from 'otpauth';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestApi, type TestApi } from '../api/running-api.ts';
import { launchBrowser } from '../environment/browser.ts';
import { takePicture } from '../environment/pictures.ts';
import { createPerson, PASSWORD } from '../identity/person.ts';

describe('the pages of signing in, in a browser', () => {
  let test: TestApi;
  let browser: Browser;
  let url: string;
  let orgId: string;
  const slug = `house-${randomUUID().slice(0, 8)}`;
  const problems: string[] = [];
  beforeAll(async () => {
    [test, browser] = await Promise.all([startTestApi(), launchBrowser()]);
    // A name: numbers have no passkeys.
    url = `http://localhost:${test.api.port}`;
    orgId = await test.database.organisation('Meridian Freight');
    await createPerson(test.database, orgId, { userName: 'owner', role: 'owner', slug });
  });
  afterAll(async () => {
    await browser.close();
    await test.stop();
  });

  const newPage = async (context: BrowserContext): Promise<Page> => {
    const page = await context.newPage();
    page.on('pageerror', (error) => problems.push(error.message));
    page.on('console', (message) => {
      // Chromium reports every refused request; policy violations are what must not happen.
      if (message.type() === 'error' && /Content Security Policy|Refused to/.test(message.text())) problems.push(message.text());
    });
    return page;
  };
  const byPassword = async (page: Page, userName: string): Promise<void> => {
    await page.goto(`${url}/sign-in/${slug}?returnTo=/account`);
    await page.fill('[name=userName]', userName);
    await page.fill('[name=password]', PASSWORD);
    await page.click('form#password button');
  };

  it('goes from the organisation over the password to the account, adds an app, and asks for its code next time', async () => {
    const { userName } = await createPerson(test.database, orgId);
    const context = await browser.newContext({ viewport: { width: 1000, height: 760 } });
    const page = await newPage(context);
    await page.goto(`${url}/account`);
    await page.waitForURL(/\/sign-in\?returnTo=/);
    await page.fill('[name=place]', 'nowhere-at-all');
    await page.click('form#organisation button');
    await page.locator('[role=alert]', { hasText: 'no organisation' }).waitFor();
    await takePicture(page, 'sign-in');
    await page.fill('[name=place]', slug);
    await page.click('form#organisation button');
    await page.waitForURL(new RegExp(`/sign-in/${slug}`));
    await page.fill('[name=userName]', userName);
    await page.fill('[name=password]', 'wrong password entirely');
    await page.click('form#password button');
    await page.locator('form#password [role=alert]', { hasText: 'refused' }).waitFor();
    await takePicture(page, 'organisation');
    await page.fill('[name=password]', PASSWORD);
    await page.click('form#password button');
    await page.waitForURL(`${url}/account`);
    await page.locator('h2', { hasText: 'Sessions' }).waitFor();
    await page.click('#add-app');
    const secret = (await page.textContent('#secret')) ?? '';
    await takePicture(page, 'add-app');
    const totp = new TOTP({ secret: Secret.fromBase32(secret) });
    await page.fill('[name=code]', totp.generate());
    await page.click('form#totp button');
    await page.locator('ol.codes li').nth(9).waitFor();
    await takePicture(page, 'recovery-codes');
    await page.click('#kept button, #kept');
    await page.locator('td', { hasText: 'authenticator app' }).first().waitFor();
    await takePicture(page, 'account');
    await page.click('#out');
    await page.waitForURL(`${url}/sign-in`);
    expect((await context.cookies()).filter((cookie) => cookie.name === 'hal9_session')).toEqual([]);

    await byPassword(page, userName);
    await page.waitForURL(`${url}/second-factor`);
    await page.locator('form#totp').waitFor();
    await takePicture(page, 'second-factor');
    await page.fill('[name=code]', totp.generate({ timestamp: Date.now() + 30_000 }));
    await page.click('form#totp button');
    await page.waitForURL(`${url}/account`);
    const [session] = (await context.cookies()).filter((cookie) => cookie.name === 'hal9_session');
    expect(session).toMatchObject({ httpOnly: true, sameSite: 'Lax', path: '/' });
    expect(await page.evaluate('document.cookie')).toBe('');
    await context.close();
  });

  it('signs in with a passkey alone, and with nobody else\'s', async () => {
    const { userName } = await createPerson(test.database, orgId);
    const context = await browser.newContext();
    const page = await newPage(context);
    const devtools = await context.newCDPSession(page);
    await devtools.send('WebAuthn.enable');
    const { authenticatorId } = await devtools.send('WebAuthn.addVirtualAuthenticator', {
      options: { protocol: 'ctap2', transport: 'internal', hasResidentKey: true, hasUserVerification: true, isUserVerified: true, automaticPresenceSimulation: true },
    });
    await byPassword(page, userName);
    await page.waitForURL(`${url}/account`);
    await page.click('#add-passkey');
    await page.locator('ol.codes li').first().waitFor();
    await page.click('#kept button, #kept');
    await page.locator('td', { hasText: 'passkey' }).first().waitFor();
    expect((await devtools.send('WebAuthn.getCredentials', { authenticatorId })).credentials).toMatchObject([{ isResidentCredential: true, rpId: 'localhost' }]);
    await page.click('#out');
    await page.waitForURL(`${url}/sign-in`);

    await page.goto(`${url}/sign-in/${slug}?returnTo=/account`);
    await page.click('#passkey');
    await page.waitForURL(`${url}/account`);
    await page.locator('td', { hasText: 'passkey' }).first().waitFor();
    const answer = await page.evaluate(async () => (await fetch('/v1/session')).json() as Promise<Record<string, unknown>>);
    expect(answer).toMatchObject({ method: 'passkey', secondFactor: true });

    // As a second factor after the password, too.
    await page.click('#out');
    await page.waitForURL(`${url}/sign-in`);
    await byPassword(page, userName);
    await page.waitForURL(`${url}/second-factor`);
    await page.click('#passkey');
    await page.waitForURL(`${url}/account`);

    // An authenticator that did not see its person proves possession only.
    await page.locator('#out').waitFor();
    await page.click('#out');
    await page.waitForURL(`${url}/sign-in`);
    await devtools.send('WebAuthn.setUserVerified', { authenticatorId, isUserVerified: false });
    await page.goto(`${url}/sign-in/${slug}`);
    await page.click('#passkey');
    await page.locator('[role=alert]:not([hidden])').waitFor();
    await context.close();
  });

  it('refuses what another site sends with the cookie', async () => {
    const { userName } = await createPerson(test.database, orgId);
    const context = await browser.newContext();
    const page = await newPage(context);
    await byPassword(page, userName);
    await page.waitForURL(`${url}/account`);
    const forged = await page.evaluate(async () => (await fetch('/v1/api-keys', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: '{"name":"x","scopes":["*"]}' })).status);
    expect(forged).toBe(403);
    // Another port is the same site: SameSite does not help there, the Origin does.
    const neighbour = createServer((_request, response) => response.setHeader('Content-Type', 'text/html').end('<!doctype html><title>Neighbour</title>'));
    neighbour.listen(0, '127.0.0.1');
    await once(neighbour, 'listening');
    const other = await newPage(context);
    await other.goto(`http://localhost:${(neighbour.address() as AddressInfo).port}/`);
    const crossed = await other.evaluate(async (target) => {
      try {
        return (await fetch(target, { method: 'POST', credentials: 'include', mode: 'no-cors', body: '{}' })).type;
      } catch {
        return 'blocked';
      }
    }, `${url}/v1/session/end`);
    expect(['opaque', 'blocked']).toContain(crossed);
    await page.reload();
    await page.locator('#out').waitFor();
    await context.close();
    neighbour.closeAllConnections();
    neighbour.close();
  });

  it('ran nothing that the policy forbids', () => {
    expect(problems).toEqual([]);
  });
});
