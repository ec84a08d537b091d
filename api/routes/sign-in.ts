import type { AuthenticationResponseJSON, RegistrationResponseJSON } from '@simplewebauthn/server';
import type { Request, Response } from 'express';
import { z } from 'zod';
import { pendingCookieName } from '../../platform/identity/session-cookie.ts';
import type { SignInOutcome } from '../../platform/identity/sign-in-contract.ts';
import type { FactorProof, PendingSignIn } from '../../platform/identity/sign-in.ts';
import {
  factorProof,
  factorsOwed,
  keySignIn,
  organisationQuery,
  passkeyBegin,
  passkeyConfirmation,
  passkeySignIn,
  passwordForgotten,
  passwordReset,
  passwordSignIn,
  signInOffer,
  signInOutcome,
  totpConfirmation,
  totpEnrolment,
  webauthnChallenge,
} from '../../schemas/rest/sign-in.ts';
import { cookieOf, incomingFacts } from '../incoming-facts.ts';
import type { Identity } from '../identity.ts';
import { defineRoute, type AnyRoute, type RouteAnswer } from '../route.ts';
import { siteOf } from '../site.ts';
import { assertSameOrigin } from './ui-session.ts';

const tag = 'Sign-in';
/** What authenticator apps and browsers show as the place an account is of. */
const ISSUER = 'HAL9';
const outcome = { 200: { description: 'Signed in, or a second factor is owed; the cookie is set.', schema: signInOutcome } };
const passwordLimits = { timeoutMs: 15_000 };

/** Every step of signing in that HAL9 takes itself. The pages under `/sign-in` call these; sign-in at a provider has routes of its own. */
export function createSignInRoutes(identity: Identity): AnyRoute[] {
  const { signIn, account, forgotten, https, publicUrl } = identity;
  const site = (request: Request) => siteOf(request, publicUrl, https);
  const facts = (request: Request) => incomingFacts(request, https);
  const pendingOf = (request: Request): Promise<PendingSignIn> => signIn.pending(cookieOf(request, pendingCookieName(https)));
  return [
    defineRoute({
      method: 'get',
      path: '/v1/sign-in/organisations',
      id: 'findSignInOrganisation',
      tag,
      summary: 'Tells which organisation the people of an e-mail domain are of',
      permission: 'public',
      query: organisationQuery,
      responses: { 200: { description: 'Slug or id.', schema: z.object({ organisation: z.string() }) } },
      handler: async ({ query }) => ({ status: 200, body: { organisation: await signIn.organisationOfDomain(query.email.slice(query.email.lastIndexOf('@') + 1)) } }),
    }),
    defineRoute({
      method: 'get',
      path: '/v1/sign-in/organisations/:organisation',
      id: 'getSignInOffer',
      tag,
      summary: 'Tells how people of an organisation sign in',
      permission: 'public',
      params: z.object({ organisation: z.string().min(1).max(64) }),
      responses: { 200: { description: 'Providers, and whether passwords work.', schema: signInOffer } },
      async handler({ params }) {
        const offer = await signIn.offer(params.organisation);
        const where = encodeURIComponent(offer.organisation.slug ?? offer.organisation.id);
        return { status: 200, body: { ...offer, providers: offer.providers.map((provider) => ({ ...provider, location: `/sign-in/${where}/${provider.kind}/${provider.id}` })) } };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/v1/sign-in/password',
      id: 'signInByPassword',
      tag,
      summary: 'Signs in with user name and password',
      description: 'Wrong name, wrong password and unknown organisation are answered alike. Failures are counted by account and address, across all processes.',
      permission: 'public',
      audit: 'session.create',
      body: passwordSignIn,
      responses: outcome,
      ...passwordLimits,
      async handler({ body, request, response }) {
        assertSameOrigin(request);
        return answer(response, await signIn.withPassword(body, facts(request)));
      },
    }),
    defineRoute({
      method: 'post',
      path: '/v1/sign-in/key',
      id: 'signInByKey',
      tag,
      summary: 'Opens a browser session of an API key',
      permission: 'public',
      audit: 'session.create',
      body: keySignIn,
      responses: outcome,
      async handler({ body, request, response }) {
        assertSameOrigin(request);
        return answer(response, await signIn.withKey(body.key, facts(request), body.returnTo));
      },
    }),
    defineRoute({
      method: 'post',
      path: '/v1/sign-in/passkey/begin',
      id: 'beginPasskeySignIn',
      tag,
      summary: 'Asks for a passkey',
      permission: 'public',
      audit: { none: 'nothing is proved yet' },
      body: passkeyBegin,
      responses: { 200: { description: 'Options for `navigator.credentials.get`.', schema: webauthnChallenge } },
      async handler({ body, request }) {
        assertSameOrigin(request);
        return { status: 200, body: await signIn.beginPasskey(body.organisation, site(request)) };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/v1/sign-in/passkey',
      id: 'signInByPasskey',
      tag,
      summary: 'Signs in with a passkey, which is both factors at once',
      permission: 'public',
      audit: 'session.create',
      body: passkeySignIn,
      responses: outcome,
      async handler({ body, request, response }) {
        assertSameOrigin(request);
        const { organisation, challengeId, returnTo } = body;
        return answer(response, await signIn.withPasskey(organisation, challengeId, body.response as unknown as AuthenticationResponseJSON, facts(request), returnTo));
      },
    }),
    defineRoute({
      method: 'get',
      path: '/v1/sign-in/second-factor',
      id: 'getFactorsOwed',
      tag,
      summary: 'Tells which second factors the sign-in under way may show',
      permission: 'public',
      responses: { 200: { description: 'The factors.', schema: factorsOwed } },
      async handler({ request }) {
        const owed = await signIn.factorsOwed(await pendingOf(request), site(request));
        return { status: 200, body: { ...owed, webauthn: owed.webauthn ?? null } };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/v1/sign-in/second-factor',
      id: 'signInBySecondFactor',
      tag,
      summary: 'Shows the second factor and finishes the sign-in',
      permission: 'public',
      audit: 'session.create',
      body: factorProof,
      responses: outcome,
      async handler({ body, request, response }) {
        assertSameOrigin(request);
        return answer(response, await signIn.withFactor(await pendingOf(request), body as unknown as FactorProof, facts(request)));
      },
    }),
    defineRoute({
      method: 'post',
      path: '/v1/sign-in/second-factor/totp/begin',
      id: 'beginFirstTotp',
      tag,
      summary: 'Begins to add an authenticator app on the way in',
      permission: 'public',
      audit: { none: 'nothing is added yet' },
      responses: { 200: { description: 'The secret, shown this once.', schema: totpEnrolment } },
      async handler({ request }) {
        assertSameOrigin(request);
        return { status: 200, body: await signIn.enrolTotp(await pendingOf(request), ISSUER) };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/v1/sign-in/second-factor/totp',
      id: 'finishFirstTotp',
      tag,
      summary: 'Adds the authenticator app and finishes the sign-in',
      permission: 'public',
      audit: 'factor.create',
      body: totpConfirmation,
      responses: outcome,
      async handler({ body, request, response }) {
        assertSameOrigin(request);
        const done = await signIn.finishEnrolment(await pendingOf(request), body, facts(request));
        return answer(response, done.outcome, done.recoveryCodes);
      },
    }),
    defineRoute({
      method: 'post',
      path: '/v1/sign-in/second-factor/passkey/begin',
      id: 'beginFirstPasskey',
      tag,
      summary: 'Begins to add a passkey on the way in',
      permission: 'public',
      audit: { none: 'nothing is added yet' },
      responses: { 200: { description: 'Options for `navigator.credentials.create`.', schema: webauthnChallenge } },
      async handler({ request }) {
        assertSameOrigin(request);
        return { status: 200, body: await signIn.enrolPasskey(await pendingOf(request), site(request), ISSUER) };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/v1/sign-in/second-factor/passkey',
      id: 'finishFirstPasskey',
      tag,
      summary: 'Adds the passkey and finishes the sign-in',
      permission: 'public',
      audit: 'factor.create',
      body: passkeyConfirmation,
      responses: outcome,
      async handler({ body, request, response }) {
        assertSameOrigin(request);
        const { challengeId, name } = body;
        const done = await signIn.finishEnrolment(await pendingOf(request), { challengeId, name, response: body.response as unknown as RegistrationResponseJSON }, facts(request));
        return answer(response, done.outcome, done.recoveryCodes);
      },
    }),
    defineRoute({
      method: 'post',
      path: '/v1/sign-in/forgotten',
      id: 'requestPasswordReset',
      tag,
      summary: 'Asks for a mail by which a forgotten password is set anew',
      description: 'The answer is the same whoever was named. Mail goes to a confirmed address only; the link in it works once, within an hour.',
      permission: 'public',
      audit: 'password.request-reset',
      body: passwordForgotten,
      responses: { 204: { description: 'If somebody with a confirmed address is meant, they get a mail.' } },
      async handler({ body, request }) {
        assertSameOrigin(request);
        await forgotten.ask(body.organisation, body.userName, facts(request));
        return { status: 204 };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/v1/sign-in/reset',
      id: 'resetPassword',
      tag,
      summary: 'Sets a new password by a link from a mail or an administrator',
      permission: 'public',
      audit: 'password.reset',
      body: passwordReset,
      responses: { 204: { description: 'Set; every session of the person has ended.' } },
      ...passwordLimits,
      async handler({ body, request }) {
        assertSameOrigin(request);
        await account.reset(body.token, body.password, facts(request));
        return { status: 204 };
      },
    }),
  ];
}

function answer(response: Response, result: SignInOutcome, recoveryCodes?: readonly string[]): RouteAnswer {
  for (const cookie of result.cookies) response.append('Set-Cookie', cookie);
  return { status: 200, body: { kind: result.kind, location: result.location, ...(recoveryCodes === undefined ? {} : { recoveryCodes }) } };
}
