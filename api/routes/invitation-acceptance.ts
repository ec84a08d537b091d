import type { Request } from 'express';
import type { Invitations } from '../../platform/identity/invitations.ts';
import { hashPassword } from '../../platform/identity/passwords.ts';
import { HalError } from '../../schemas/errors.ts';
import { invitationAcceptance, invitationToken, openInvitation, signInOutcome } from '../../schemas/rest/sign-in.ts';
import { incomingFacts } from '../incoming-facts.ts';
import type { Identity } from '../identity.ts';
import { defineRoute, type AnyRoute } from '../route.ts';
import { assertSameOrigin } from './ui-session.ts';

const tag = 'Sign-in';

export interface InvitationAcceptanceDependencies {
  readonly invitations: Invitations;
  readonly identity: Identity;
}

/** What the page behind an invitation does: shows whose it is, makes the account, signs in. */
export function createInvitationAcceptanceRoutes({ invitations, identity: { account, signIn, throttle, https } }: InvitationAcceptanceDependencies): AnyRoute[] {
  const opened = async (token: string, address: string) => {
    await throttle.beginAt(address);
    const invitation = await invitations.open(token);
    if (invitation === undefined) throw new HalError('NotFound', 'the invitation was used, was revoked or has expired');
    await throttle.succeededAt(address);
    return invitation;
  };
  const facts = (request: Request) => incomingFacts(request, https);
  return [
    defineRoute({
      method: 'post',
      path: '/v1/sign-in/invitation',
      id: 'openInvitation',
      tag,
      summary: 'Tells what an invitation is for',
      permission: 'public',
      audit: { none: 'it only reads' },
      body: invitationToken,
      responses: { 200: { description: 'The invitation.', schema: openInvitation } },
      async handler({ body, request }) {
        assertSameOrigin(request);
        const { organisation, userName, email, expiresAt } = await opened(body.token, facts(request).address);
        return { status: 200, body: { organisation, userName, email, expiresAt } };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/v1/sign-in/invitation/accept',
      id: 'acceptInvitation',
      tag,
      summary: 'Makes the account an invitation is for, and signs in',
      permission: 'public',
      audit: 'invitation.accept',
      body: invitationAcceptance,
      timeoutMs: 15_000,
      responses: { 200: { description: 'Signed in, or a second factor is owed; the cookie is set.', schema: signInOutcome } },
      async handler({ body, request, response }) {
        assertSameOrigin(request);
        const { token, displayName, password } = body;
        const { orgId, userName: named, email } = await opened(token, facts(request).address);
        const userName = named ?? body.userName;
        await account.assertGoodFor(orgId, [userName, displayName, email], password);
        await invitations.accept(token, { userName, displayName, passwordHash: await hashPassword(password) }, facts(request));
        const { kind, cookies, location } = await signIn.withPassword({ organisation: orgId, userName, password }, facts(request));
        for (const cookie of cookies) response.append('Set-Cookie', cookie);
        return { status: 200, body: { kind, location } };
      },
    }),
  ];
}
