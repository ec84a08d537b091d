import type { Request } from 'express';
import { z } from 'zod';
import { personOf } from '../../platform/identity/account.ts';
import { STEP_UP_SECONDS, type LiveSession, type SessionView } from '../../platform/identity/sessions.ts';
import type { FactorProof } from '../../platform/identity/sign-in.ts';
import { HalError } from '../../schemas/errors.ts';
import { currentSession, endedSessions, factorsOwed, passwordChange, resetLink, sessionList, sessionProof, signInPolicy } from '../../schemas/rest/sign-in.ts';
import { sessionOf } from '../authentication.ts';
import { incomingFacts } from '../incoming-facts.ts';
import type { Identity } from '../identity.ts';
import { defineRoute, type AnyRoute } from '../route.ts';
import { siteOf } from '../site.ts';

const tag = 'Sessions';
const ofUser = z.object({ id: z.uuid() });

/** One's own session and account, and what administrators do about those of others. */
export function createSessionRoutes(identity: Identity): AnyRoute[] {
  const { sessions, account, signIn, factors, https, publicUrl } = identity;
  const facts = (request: Request) => incomingFacts(request, https);
  return [
    defineRoute({
      method: 'get',
      path: '/v1/session',
      id: 'getSession',
      tag,
      summary: 'Tells who is signed in here, and the token that requests by cookie need',
      permission: 'signed-in',
      responses: { 200: { description: 'The session.', schema: currentSession } },
      async handler({ caller, request }) {
        const session = own(request);
        const provenUntil = new Date(session.verifiedAt.getTime() + STEP_UP_SECONDS * 1000);
        const { id, method, secondFactor, csrf, expiresAt } = session;
        return {
          status: 200,
          body: { id, orgId: caller.orgId, homeOrgId: session.orgId, actor: caller.actor, impersonatorId: caller.impersonatorId ?? null, method, secondFactor, scopes: caller.scopes, risk: caller.risk ?? 0, csrfToken: csrf, provenUntil, expiresAt },
        };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/v1/session/end',
      id: 'signOut',
      tag,
      summary: 'Signs out here',
      permission: 'signed-in',
      audit: 'session.end',
      responses: { 204: { description: 'The session has ended; the cookie is gone.' } },
      async handler({ request, response }) {
        response.append('Set-Cookie', await sessions.signOut(own(request), facts(request)));
        return { status: 204 };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/v1/session/proof',
      id: 'getProofs',
      tag,
      summary: 'Tells by what you can prove again who you are',
      permission: 'signed-in',
      responses: { 200: { description: 'The factors.', schema: factorsOwed } },
      async handler({ request }) {
        const session = own(request);
        const userId = personOf(session);
        const { factors: mine, recoveryCodes } = await factors.list({ orgId: session.orgId, userId });
        const kinds = new Set(mine.map((factor) => factor.kind));
        const webauthn = kinds.has('webauthn') ? await factors.beginAssertion(session.orgId, userId, siteOf(request, publicUrl, https)) : null;
        return { status: 200, body: { totp: kinds.has('totp'), recovery: recoveryCodes > 0, enrol: false, password: mine.length === 0, webauthn } };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/v1/session/proof',
      id: 'proveAgain',
      tag,
      summary: 'Proves again who you are, for what is sensitive',
      description: `Counts for ${STEP_UP_SECONDS / 60} minutes. A second factor where you have one, else the password.`,
      permission: 'signed-in',
      audit: 'session.prove',
      body: sessionProof,
      responses: { 204: { description: 'Proved; the session has a new token.' } },
      timeoutMs: 15_000,
      async handler({ body, request, response }) {
        response.append('Set-Cookie', await account.proveAgain(own(request), body as unknown as FactorProof | { kind: 'password'; password: string }, facts(request)));
        return { status: 204 };
      },
    }),
    defineRoute({
      method: 'put',
      path: '/v1/session/password',
      id: 'changePassword',
      tag,
      summary: 'Changes your password',
      description: 'All your other sessions end.',
      permission: 'signed-in',
      audit: 'password.change',
      body: passwordChange,
      responses: { 204: { description: 'Changed.' } },
      timeoutMs: 15_000,
      async handler({ body, request }) {
        await account.changePassword(own(request), body.present, body.next, facts(request));
        return { status: 204 };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/v1/sessions',
      id: 'listSessions',
      tag,
      summary: 'Lists your open sessions, newest first',
      permission: 'signed-in',
      responses: { 200: { description: 'At most 100.', schema: sessionList } },
      async handler({ request }) {
        const session = own(request);
        return { status: 200, body: { items: (await sessions.list(session.orgId, personOf(session))).map((one) => view(one, session.id)) } };
      },
    }),
    defineRoute({
      method: 'delete',
      path: '/v1/sessions',
      id: 'endOtherSessions',
      tag,
      summary: 'Ends all your sessions but this one',
      permission: 'signed-in',
      audit: 'session.end',
      responses: { 200: { description: 'How many there were.', schema: endedSessions } },
      async handler({ caller, request }) {
        const session = own(request);
        return { status: 200, body: { ended: await sessions.endAll({ ...caller, orgId: session.orgId }, personOf(session), session.id) } };
      },
    }),
    defineRoute({
      method: 'delete',
      path: '/v1/sessions/:id',
      id: 'endSession',
      tag,
      summary: 'Ends one of your sessions',
      permission: 'signed-in',
      audit: 'session.end',
      params: ofUser,
      responses: { 204: { description: 'It has ended.' } },
      async handler({ caller, params, request }) {
        const session = own(request);
        await sessions.endOne({ ...caller, orgId: session.orgId }, personOf(session), params.id);
        return { status: 204 };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/v1/users/:id/sessions',
      id: 'listUserSessions',
      tag,
      summary: 'Lists the open sessions of a user, newest first',
      permission: 'sessions:read',
      params: ofUser,
      responses: { 200: { description: 'At most 100.', schema: sessionList } },
      async handler({ caller, params }) {
        await account.assertIsThere(caller, params.id);
        return { status: 200, body: { items: (await sessions.list(caller.orgId, params.id)).map((one) => view(one, caller.sessionId)) } };
      },
    }),
    defineRoute({
      method: 'delete',
      path: '/v1/users/:id/sessions',
      id: 'endUserSessions',
      tag,
      summary: 'Ends all sessions of a user, in every process within a second',
      permission: 'sessions:write',
      audit: 'session.end',
      params: ofUser,
      responses: { 200: { description: 'How many there were.', schema: endedSessions } },
      async handler({ caller, params }) {
        await account.assertIsThere(caller, params.id);
        return { status: 200, body: { ended: await sessions.endAll(caller, params.id) } };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/v1/users/:id/password-reset',
      id: 'createPasswordReset',
      tag,
      summary: 'Makes a link by which a user sets a new password',
      description: 'Works once, within an hour. Pass it on by a way that only the user reads. Second factors stay.',
      permission: 'users:write',
      audit: 'password.issue-reset',
      stepUp: true,
      params: ofUser,
      responses: { 201: { description: 'The link, shown this once.', schema: resetLink } },
      handler: async ({ caller, params }) => ({ status: 201, body: await account.resetLink(caller, params.id) }),
    }),
    defineRoute({
      method: 'get',
      path: '/v1/sign-in-policy',
      id: 'getSignInPolicy',
      tag,
      summary: 'Reads how people of the organisation may sign in',
      permission: 'identity-providers:read',
      responses: { 200: { description: 'The policy.', schema: signInPolicy } },
      handler: async ({ caller }) => ({ status: 200, body: await signIn.policy(caller) }),
    }),
    defineRoute({
      method: 'put',
      path: '/v1/sign-in-policy',
      id: 'putSignInPolicy',
      tag,
      summary: 'Says how people of the organisation may sign in',
      permission: 'identity-providers:write',
      audit: 'sign-in-policy.change',
      stepUp: true,
      body: signInPolicy,
      responses: { 200: { description: 'The policy.', schema: signInPolicy } },
      handler: async ({ caller, body }) => ({ status: 200, body: await signIn.setPolicy(caller, body) }),
    }),
  ];
}

function own(request: Request): LiveSession {
  const session = sessionOf(request);
  if (session === undefined) throw new HalError('Forbidden', 'this is about a session: sign in with a browser');
  return session;
}

function view(session: SessionView, current: string | undefined) {
  return { ...session, userAgent: session.userAgent ?? null, current: session.id === current };
}
