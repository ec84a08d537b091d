import { z } from 'zod';
import type { IdentityProviders } from '../../platform/identity/identity-providers.ts';
import type { ProviderDomains } from '../../platform/identity/provider-domains.ts';
import { domainClaim, domainClaimView, providerChange, providerDraft, providerView } from '../../schemas/rest/identity-providers.ts';
import { testQuery } from '../../schemas/rest/connections.ts';
import { pageOf, pageQuery } from '../../schemas/rest/page.ts';
import { decodeCursor, encodeCursor } from '../cursor.ts';
import { defineRoute, type AnyRoute } from '../route.ts';

const tag = 'Identity providers';
const params = z.object({ id: z.uuid() });
const domainParams = z.object({ id: z.uuid(), domain: z.string().min(3).max(253) });
const position = z.object({ name: z.string() });

/** Where the people of the caller's organisation prove who they are. Secrets go in and never come out. */
export function createIdentityProviderRoutes({ providers, domains }: { providers: IdentityProviders; domains: ProviderDomains }): AnyRoute[] {
  return [
    defineRoute({
      method: 'get',
      path: '/v1/identity-providers',
      id: 'listIdentityProviders',
      tag,
      summary: 'Lists identity providers by name',
      permission: 'identity-providers:read',
      query: pageQuery,
      responses: { 200: { description: 'A page of providers, without their secrets.', schema: pageOf(providerView) } },
      async handler({ caller, query }) {
        const after = query.cursor === undefined ? undefined : decodeCursor(query.cursor, position).name;
        const found = await providers.list(caller, query.limit + 1, after);
        const items = found.slice(0, query.limit);
        const last = items.at(-1);
        return { status: 200, body: { items, nextCursor: found.length > query.limit && last !== undefined ? encodeCursor({ name: last.name }) : null } };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/v1/identity-providers',
      id: 'createIdentityProvider',
      tag,
      summary: 'Adds an identity provider',
      description:
        'Tests it before saving: reads the discovery document and keys of an OpenID provider, binds the service account of a directory. One that does not work is not saved; `?test=false` saves it untested. The kinds `okta`, `entra-id`, `google` and `active-directory` fill in and check what is special to them.',
      permission: 'identity-providers:write',
      audit: 'identity-provider.create',
      stepUp: true,
      query: testQuery,
      body: providerDraft,
      timeoutMs: 60_000,
      responses: { 201: { description: 'The provider; `addresses` says what to enter there.', schema: providerView } },
      handler: async ({ caller, query, body, signal }) => ({ status: 201, body: await providers.create(caller, body, { test: query.test === 'true', signal }) }),
    }),
    defineRoute({
      method: 'get',
      path: '/v1/identity-providers/:id',
      id: 'getIdentityProvider',
      tag,
      summary: 'Reads an identity provider',
      permission: 'identity-providers:read',
      params,
      responses: { 200: { description: 'The provider, without its secrets.', schema: providerView } },
      handler: async ({ caller, params: { id } }) => ({ status: 200, body: await providers.get(caller, id) }),
    }),
    defineRoute({
      method: 'patch',
      path: '/v1/identity-providers/:id',
      id: 'changeIdentityProvider',
      tag,
      summary: 'Changes an identity provider',
      description: 'What is left out stays. Changed settings are tested before they are saved. `enabled: false` ends sign-ins by it and, within a second, the sessions that came from it; it is refused when no owner could sign in any more.',
      permission: 'identity-providers:write',
      audit: 'identity-provider.update',
      stepUp: true,
      params,
      query: testQuery,
      body: providerChange,
      timeoutMs: 60_000,
      responses: { 200: { description: 'The provider at its next version.', schema: providerView } },
      handler: async ({ caller, params: { id }, query, body, signal }) => ({ status: 200, body: await providers.change(caller, id, body, { test: query.test === 'true', signal }) }),
    }),
    defineRoute({
      method: 'post',
      path: '/v1/identity-providers/:id/test',
      id: 'testIdentityProvider',
      tag,
      summary: 'Tests an identity provider now',
      permission: 'identity-providers:write',
      audit: { none: 'changes nothing but the note of the outcome' },
      params,
      timeoutMs: 60_000,
      responses: { 200: { description: 'The provider; `state` and `lastFailure` say what the test found.', schema: providerView } },
      handler: async ({ caller, params: { id }, signal }) => ({ status: 200, body: await providers.test(caller, id, signal) }),
    }),
    defineRoute({
      method: 'delete',
      path: '/v1/identity-providers/:id',
      id: 'deleteIdentityProvider',
      tag,
      summary: 'Deletes an identity provider',
      description: 'The people stay; who only signed in by it cannot any more, and the roles that its groups gave are taken. Refused when no owner could sign in any more.',
      permission: 'identity-providers:write',
      audit: 'identity-provider.delete',
      stepUp: true,
      params,
      responses: { 204: { description: 'It is gone.' } },
      async handler({ caller, params: { id } }) {
        await providers.remove(caller, id);
        return { status: 204 };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/v1/identity-providers/:id/domains',
      id: 'listIdentityProviderDomains',
      tag,
      summary: 'Lists the e-mail domains that lead to a provider',
      permission: 'identity-providers:read',
      params,
      responses: { 200: { description: 'Claims, confirmed or not.', schema: z.object({ items: z.array(domainClaimView) }) } },
      handler: async ({ caller, params: { id } }) => ({ status: 200, body: { items: await domains.list(caller, id) } }),
    }),
    defineRoute({
      method: 'post',
      path: '/v1/identity-providers/:id/domains',
      id: 'claimIdentityProviderDomain',
      tag,
      summary: 'Claims an e-mail domain for a provider',
      description: 'It counts once an administrator of the platform has confirmed that the domain is the organisation\'s.',
      permission: 'identity-providers:write',
      audit: 'identity-provider.claim-domain',
      params,
      body: domainClaim,
      responses: { 201: { description: 'The claim, not confirmed yet.', schema: domainClaimView } },
      handler: async ({ caller, params: { id }, body }) => ({ status: 201, body: await domains.claim(caller, id, body.domain) }),
    }),
    defineRoute({
      method: 'delete',
      path: '/v1/identity-providers/:id/domains/:domain',
      id: 'releaseIdentityProviderDomain',
      tag,
      summary: 'Gives up a claim to an e-mail domain',
      permission: 'identity-providers:write',
      audit: 'identity-provider.release-domain',
      params: domainParams,
      responses: { 204: { description: 'It is gone.' } },
      async handler({ caller, params: { id, domain } }) {
        await domains.release(caller, id, domain);
        return { status: 204 };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/v1/organisations/:id/domains/:domain/confirm',
      id: 'confirmDomain',
      tag,
      summary: 'Confirms an organisation\'s claim to an e-mail domain',
      description: 'For administrators of the platform, who have made sure that the domain is the organisation\'s.',
      permission: 'organisations:write',
      audit: 'identity-provider.confirm-domain',
      params: domainParams,
      responses: { 200: { description: 'The claim, confirmed.', schema: domainClaimView } },
      handler: async ({ caller, params: { id, domain } }) => ({ status: 200, body: await domains.confirm(caller, id, domain) }),
    }),
  ];
}
