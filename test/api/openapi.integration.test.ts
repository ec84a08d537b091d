import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Validator } from '@seriousme/openapi-schema-validator';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { apiReferencePage } from '../../api/reference.ts';
import { API_REFERENCE, documentApi } from '../../deploy/local/generate-api-reference.ts';
import { PROJECT } from '../operations/project.ts';
import { startTestApi, type TestApi } from './running-api.ts';

/** Routes that need no credential, each on purpose. */
const OPEN = {
  'say how HAL9 is and what it offers': ['documentation', 'documentationAsset', 'explainProblem', 'health', 'metrics', 'openApi', 'readiness', 'getJwks'],
  'are pages without data': ['accountPage', 'console', 'consoleAsset', 'invitationPage', 'organisationSignInPage', 'resetPage', 'secondFactorPage', 'signInPage', 'showLdapSignIn', 'showUiSignIn'],
  'are the way in: what is sent proves who it is': [
    'findSignInOrganisation', 'getSignInOffer', 'signInByKey', 'signInByLdap', 'signInByPasskey', 'beginPasskeySignIn', 'signInByPassword', 'signInBySecondFactor', 'getFactorsOwed', 'beginFirstPasskey', 'finishFirstPasskey',
    'beginFirstTotp', 'finishFirstTotp', 'signInToUi', 'signOutOfUi', 'issueToken',
  ],
  'are the way in by a provider, whose answers are signed': ['startOidcSignIn', 'finishOidcSignIn', 'endOidcSessions', 'startSamlSignIn', 'finishSamlSignIn', 'getSamlMetadata', 'takeSamlLogout', 'takePostedSamlLogout'],
  'open by a link that only one person has': ['answerApprovalLink', 'showApprovalLink', 'streamLiveView', 'sendLiveInputs', 'openInvitation', 'acceptInvitation', 'resetPassword', 'downloadAccessExport'],
  'answer the same whoever is named': ['requestPasswordReset'],
  'take what is signed': ['receiveWebhook', 'answerWebhookHandshake', 'receiveBillingEvent'],
};

describe('OpenAPI', () => {
  let test: TestApi;
  beforeAll(async () => {
    test = await startTestApi({ HAL9_OPERATIONS: PROJECT });
  });
  afterAll(() => test.stop());

  it('is valid 3.1', async () => {
    const document = (await (await fetch(`${test.url}/openapi.json`)).json()) as Record<string, unknown>;
    const result = await new Validator().validate(document);
    expect(result.errors ?? []).toEqual([]);
    expect(result.valid).toBe(true);
    expect(document['openapi']).toBe('3.1.0');
  });

  it('has every route, with a start for each operation, and every reference leads somewhere', () => {
    const { paths, components } = test.api.openApi;
    for (const route of test.api.routes) expect(paths[route.path.replace(/:([a-zA-Z]+)/g, '{$1}')]?.[route.method], route.id).toMatchObject({ operationId: route.id });
    expect(paths['/v1/workflows/greet/runs']?.['post']).toMatchObject({ operationId: 'startGreet', requestBody: { content: { 'application/json': { schema: { properties: { input: { required: ['name'] } } } } } } });
    expect(paths['/v1/workflows/remediate/runs']).toBeDefined();
    expect(paths['/v1/workflows/cascade/runs']).toBeUndefined();
    const references = [...JSON.stringify(test.api.openApi).matchAll(/"\$ref":"#\/components\/(schemas|responses)\/([^"]+)"/g)];
    expect(references.length).toBeGreaterThan(20);
    for (const [, kind, name] of references) expect(Object.keys(kind === 'schemas' ? components.schemas : components.responses)).toContain(name);
    const ids = Object.values(paths).flatMap((methods) => Object.values(methods).map((operation) => operation['operationId']));
    expect(new Set(ids).size).toBe(ids.length);
  });

  it('documents every route: summary, tag, permission, at least one success, every parameter', () => {
    for (const route of test.api.routes) {
      expect(route.summary.length, route.id).toBeGreaterThan(5);
      expect(route.summary, `${route.id}: a summary ends without a stop`).not.toMatch(/\.$/);
      expect(route.tag, route.id).not.toBe('');
      expect(route.permission, route.id).toMatch(/^(public|signed-in|[a-z][a-z-]*:[a-z]+)$/);
      expect(Object.keys(route.responses).some((status) => status.startsWith('2') || status.startsWith('3')), route.id).toBe(true);
      for (const answer of Object.values(route.responses)) expect(answer.description, route.id).not.toBe('');
    }
    const unguarded = test.api.routes.filter((route) => route.permission === 'public').map((route) => route.id);
    expect(unguarded.sort()).toEqual(Object.values(OPEN).flat().sort());
  });

  it('has a page to try it that loads nothing from elsewhere', async () => {
    const page = await fetch(`${test.url}/docs`);
    expect(page.headers.get('content-security-policy')).toContain("script-src 'self'");
    const html = await page.text();
    expect(html).not.toMatch(/https?:\/\//);
    for (const [, asset] of html.matchAll(/(?:src|href)="([^"]+)"/g)) {
      const answer = await fetch(test.url + String(asset));
      expect([asset, answer.status]).toEqual([asset, 200]);
      expect((await answer.text()).length).toBeGreaterThan(50);
    }
    expect((await fetch(`${test.url}/docs/..%2fpackage.json`)).status).toBe(404);
  });

  it('is what the reference page says; run `npm run generate`', async () => {
    expect(await readFile(join(import.meta.dirname, '../..', API_REFERENCE), 'utf8')).toBe(apiReferencePage(await documentApi()));
  });
});
