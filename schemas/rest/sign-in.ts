import { z } from 'zod';

const organisation = z.string().min(1).max(64).describe('Slug or id of the organisation.');
const returnTo = z.string().max(2000).optional().describe('Path of this site for afterwards; anything else goes to the console.');
const password = z.string().min(1).max(512);
const challengeId = z.uuid();
/** What a browser's `PublicKeyCredential.toJSON()` gives; the library checks what is in it. */
const credentialBase = {
  id: z.string().min(1).max(2000),
  rawId: z.string().min(1).max(2000),
  type: z.literal('public-key'),
  authenticatorAttachment: z.enum(['cross-platform', 'platform']).optional(),
  clientExtensionResults: z.looseObject({}),
};
const encoded = z.string().max(20_000);

export const assertionResponse = z.looseObject({
  ...credentialBase,
  response: z.looseObject({ clientDataJSON: encoded, authenticatorData: encoded, signature: encoded, userHandle: encoded.optional() }),
});
export const registrationResponse = z.looseObject({
  ...credentialBase,
  response: z.looseObject({ clientDataJSON: encoded, attestationObject: encoded, transports: z.array(z.enum(['ble', 'cable', 'hybrid', 'internal', 'nfc', 'smart-card', 'usb'])).optional() }),
});

export const passwordSignIn = z.strictObject({ organisation, userName: z.string().trim().min(1).max(256), password, returnTo });
export const keySignIn = z.strictObject({ key: z.string().trim().min(1).max(200), returnTo });
export const passkeyBegin = z.strictObject({ organisation });
export const passkeySignIn = z.strictObject({ organisation, challengeId, response: assertionResponse, returnTo });

const code = z.string().trim().min(6).max(20);
const name = z.string().trim().min(1).max(100).describe('What you call it.');

export const factorProof = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('totp'), code }),
  z.strictObject({ kind: z.literal('recovery'), code: z.string().trim().min(10).max(40) }),
  z.strictObject({ kind: z.literal('webauthn'), challengeId, response: assertionResponse }),
]);
export const sessionProof = z.discriminatedUnion('kind', [...factorProof.options, z.strictObject({ kind: z.literal('password'), password })]);
export const totpConfirmation = z.strictObject({ challengeId, code, name: name.default('Authenticator app') });
export const passkeyConfirmation = z.strictObject({ challengeId, response: registrationResponse, name: name.default('Passkey') });
export const passwordForgotten = z.strictObject({ organisation: z.string().min(1).max(64), userName: z.string().trim().min(1).max(320).describe('User name or e-mail address.') });
export const passwordReset = z.strictObject({ token: z.string().max(200), password });
export const passwordChange = z.strictObject({ present: password, next: password });
export const invitationToken = z.strictObject({ token: z.string().max(200) });
export const invitationAcceptance = z.strictObject({ token: z.string().max(200), userName: z.string().trim().min(1).max(256), displayName: z.string().trim().max(200).nullable().default(null), password });
export const organisationQuery = z.object({ email: z.email().max(320) });

export const signInOutcome = z
  .object({ kind: z.enum(['session', 'second-factor']), location: z.string().describe('Where the browser goes now.'), recoveryCodes: z.array(z.string()).optional().describe('Shown this once.') })
  .meta({ id: 'SignInOutcome' });
export const signInOffer = z
  .object({
    organisation: z.object({ id: z.uuid(), name: z.string(), slug: z.string().nullable() }),
    passwords: z.boolean(),
    resetByMail: z.boolean().describe('Whether a forgotten password can be set anew by mail.'),
    providers: z.array(z.object({ id: z.uuid(), kind: z.enum(['oidc', 'saml', 'ldap']), name: z.string(), location: z.string() })),
  })
  .meta({ id: 'SignInOffer' });
export const factorsOwed = z
  .object({
    totp: z.boolean(),
    recovery: z.boolean(),
    enrol: z.boolean().describe('Whether a first factor must be added now.'),
    password: z.boolean().optional(),
    webauthn: z.object({ challengeId, options: z.looseObject({}) }).nullable(),
  })
  .meta({ id: 'FactorsOwed' });
export const webauthnChallenge = z.object({ challengeId, options: z.looseObject({}) });
export const totpEnrolment = z
  .object({ challengeId, secret: z.string().describe('Base32, to be typed.'), uri: z.string().describe('`otpauth://` address.'), qr: z.string().describe('The address as a QR code, SVG.') })
  .meta({ id: 'TotpEnrolment' });
export const recoveryCodes = z.object({ recoveryCodes: z.array(z.string()).describe('Shown this once; empty when there were some already.') });
export const factorList = z
  .object({
    factors: z.array(z.object({ id: z.uuid(), kind: z.enum(['totp', 'webauthn']), name: z.string(), createdAt: z.iso.datetime(), lastUsedAt: z.iso.datetime().nullable() })),
    recoveryCodes: z.int().describe('How many are left.'),
    required: z.boolean().describe('Whether the organisation requires a second factor.'),
  })
  .meta({ id: 'FactorList' });

export const sessionView = z
  .object({
    id: z.uuid(),
    method: z.string(),
    address: z.string(),
    userAgent: z.string().nullable(),
    secondFactor: z.boolean(),
    current: z.boolean(),
    createdAt: z.iso.datetime(),
    lastSeenAt: z.iso.datetime(),
    expiresAt: z.iso.datetime(),
  })
  .meta({ id: 'Session' });
export const sessionList = z.object({ items: z.array(sessionView) });
export const currentSession = z
  .object({
    id: z.uuid(),
    orgId: z.uuid().describe('The organisation acted in.'),
    homeOrgId: z.uuid(),
    actor: z.object({ kind: z.enum(['user', 'api-key']), id: z.string() }),
    impersonatorId: z.string().nullable(),
    method: z.string(),
    secondFactor: z.boolean(),
    scopes: z.array(z.string()),
    risk: z.int(),
    csrfToken: z.string().describe('To be sent as X-CSRF-Token with everything that is not GET.'),
    provenUntil: z.iso.datetime().describe('Sensitive requests ask for another proof after this.'),
    expiresAt: z.iso.datetime(),
  })
  .meta({ id: 'CurrentSession' });
export const endedSessions = z.object({ ended: z.int() });
export const signInPolicy = z
  .strictObject({ requireSecondFactor: z.boolean().describe('Everybody needs a second factor, here or at their provider.'), passwords: z.boolean().default(true).describe('Whether people may sign in by a password here.'), mailConnection: z.string().max(128).nullable().default(null).describe('Name of the connection of kind smtp that carries mails about forgotten passwords; null: the mail server of the installation, if it has one.') })
  .meta({ id: 'SignInPolicy' });
export const resetLink = z.object({ link: z.string().describe('Sets a new password, once, within an hour.'), expiresAt: z.iso.datetime() });
export const openInvitation = z.object({ organisation: z.string(), userName: z.string().nullable(), email: z.string().nullable(), expiresAt: z.iso.datetime() });

export const tokenRequest = z.strictObject({
  scope: z.string().max(20_000).optional().describe('Space-separated part of the key\'s scopes; all of them, if left out.'),
  expiresInSeconds: z.int().min(60).max(900).default(600),
});
/** RFC 6749, 5.1. */
export const issuedToken = z.object({ access_token: z.string(), token_type: z.literal('Bearer'), expires_in: z.int().describe('Seconds.'), scope: z.string() }).meta({ id: 'ServiceToken' });
export const jwkSet = z.object({ keys: z.array(z.looseObject({ kid: z.string() })) });
