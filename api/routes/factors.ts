import type { RegistrationResponseJSON } from '@simplewebauthn/server';
import type { Request } from 'express';
import { z } from 'zod';
import { actOf } from '../../platform/audit/act.ts';
import { personOf } from '../../platform/identity/account.ts';
import type { Caller } from '../../platform/identity/caller.ts';
import { factorList, passkeyConfirmation, recoveryCodes, totpConfirmation, totpEnrolment, webauthnChallenge } from '../../schemas/rest/sign-in.ts';
import { sessionOf } from '../authentication.ts';
import type { Identity } from '../identity.ts';
import { defineRoute, type AnyRoute } from '../route.ts';
import { siteOf } from '../site.ts';

const tag = 'Second factors';
const ISSUER = 'HAL9';
const added = { 201: { description: 'Added. Recovery codes come with the first factor.', schema: recoveryCodes } };

/** Second factors and passkeys of one's own account; every change asks for a recent proof. */
export function createFactorRoutes({ factors, signIn, account, https, publicUrl }: Identity): AnyRoute[] {
  const person = (request: Request) => {
    const session = sessionOf(request);
    const userId = personOf(session);
    return { orgId: session?.orgId ?? '', userId };
  };
  const act = (caller: Caller, request: Request, action: string) => (id: string) => actOf({ ...caller, orgId: person(request).orgId }, action, { kind: 'factor', id });
  return [
    defineRoute({
      method: 'get',
      path: '/v1/factors',
      id: 'listFactors',
      tag,
      summary: 'Lists your second factors',
      permission: 'signed-in',
      responses: { 200: { description: 'The factors and how many recovery codes are left.', schema: factorList } },
      async handler({ caller, request }) {
        const whose = person(request);
        const [list, policy] = await Promise.all([factors.list(whose), signIn.policy({ ...caller, orgId: whose.orgId })]);
        return { status: 200, body: { ...list, required: policy.requireSecondFactor } };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/v1/factors/totp/begin',
      id: 'beginTotp',
      tag,
      summary: 'Begins to add an authenticator app',
      permission: 'signed-in',
      audit: { none: 'nothing is added yet' },
      stepUp: true,
      responses: { 200: { description: 'The secret, shown this once.', schema: totpEnrolment } },
      async handler({ request }) {
        const whose = person(request);
        return { status: 200, body: await factors.beginTotp(whose, { issuer: ISSUER, account: await account.userName(whose) }) };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/v1/factors/totp',
      id: 'finishTotp',
      tag,
      summary: 'Adds the authenticator app, once a code shows that it has the secret',
      permission: 'signed-in',
      audit: 'factor.create',
      stepUp: true,
      body: totpConfirmation,
      responses: added,
      async handler({ caller, body, request }) {
        const codes = await factors.finishTotp(person(request), body.challengeId, body.code, body.name, act(caller, request, 'factor.create'));
        return { status: 201, body: { recoveryCodes: codes } };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/v1/factors/passkey/begin',
      id: 'beginPasskey',
      tag,
      summary: 'Begins to add a passkey or security key',
      permission: 'signed-in',
      audit: { none: 'nothing is added yet' },
      stepUp: true,
      responses: { 200: { description: 'Options for `navigator.credentials.create`.', schema: webauthnChallenge } },
      async handler({ request }) {
        const whose = person(request);
        return { status: 200, body: await factors.beginPasskey(whose, siteOf(request, publicUrl, https), { issuer: ISSUER, account: await account.userName(whose) }) };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/v1/factors/passkey',
      id: 'finishPasskey',
      tag,
      summary: 'Adds the passkey or security key',
      permission: 'signed-in',
      audit: 'factor.create',
      stepUp: true,
      body: passkeyConfirmation,
      responses: added,
      async handler({ caller, body, request }) {
        const codes = await factors.finishPasskey(person(request), body.challengeId, body.response as unknown as RegistrationResponseJSON, body.name, act(caller, request, 'factor.create'));
        return { status: 201, body: { recoveryCodes: codes } };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/v1/factors/recovery-codes',
      id: 'renewRecoveryCodes',
      tag,
      summary: 'Makes new recovery codes; the old ones stop working',
      permission: 'signed-in',
      audit: 'factor.renew-recovery-codes',
      stepUp: true,
      responses: { 201: { description: 'The codes, shown this once.', schema: recoveryCodes } },
      async handler({ caller, request }) {
        const whose = person(request);
        return { status: 201, body: { recoveryCodes: await factors.renewRecoveryCodes(whose, actOf({ ...caller, orgId: whose.orgId }, 'factor.renew-recovery-codes', { kind: 'user', id: whose.userId })) } };
      },
    }),
    defineRoute({
      method: 'delete',
      path: '/v1/factors/:id',
      id: 'removeFactor',
      tag,
      summary: 'Removes a second factor',
      permission: 'signed-in',
      audit: 'factor.delete',
      stepUp: true,
      params: z.object({ id: z.uuid() }),
      responses: { 204: { description: 'It is gone.' } },
      async handler({ caller, params, request }) {
        const whose = person(request);
        const { requireSecondFactor } = await signIn.policy({ ...caller, orgId: whose.orgId });
        await factors.remove(whose, params.id, requireSecondFactor, act(caller, request, 'factor.delete')(params.id));
        return { status: 204 };
      },
    }),
    defineRoute({
      method: 'delete',
      path: '/v1/users/:id/factors',
      id: 'removeUserFactors',
      tag,
      summary: 'Removes every second factor of a user who lost them',
      permission: 'users:write',
      audit: 'factor.delete',
      stepUp: true,
      params: z.object({ id: z.uuid() }),
      responses: { 204: { description: 'They are gone; the next sign-in asks for none, or for a new one where it is required.' } },
      async handler({ caller, params }) {
        await account.removeFactors(caller, params.id);
        return { status: 204 };
      },
    }),
  ];
}
