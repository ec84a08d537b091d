import { beforeAll, describe, expect, it } from 'vitest';
import { judgeAssertion, type SamlExpectations } from '../../platform/identity/saml-assertion.ts';
import { verifyResponse, type SamlTrust } from '../../platform/identity/saml-response.ts';
import { ACS, assertionXml, encryptAssertion, IDP, makeKey, REQUEST, responseXml, SHA1, signXml, SP, type Claims, type TestKey } from './saml-provider.ts';

let idp: TestKey;
let other: TestKey;
let sp: TestKey;

beforeAll(() => {
  idp = makeKey('idp');
  other = makeKey('other');
  sp = makeKey('sp');
});

const trust = (overrides: Partial<SamlTrust> = {}): SamlTrust => ({ certificates: [idp.certificate], wantResponseSigned: false, wantAssertionsSigned: false, allowSha1: false, ...overrides });
const expected = (overrides: Partial<SamlExpectations> = {}): SamlExpectations => ({ issuer: IDP, audience: SP, recipient: ACS, requestId: REQUEST, now: new Date(), skewMs: 30_000, ...overrides });

async function person(xml: string, trusted = trust(), expectations = expected()) {
  return judgeAssertion(await verifyResponse(xml, trusted), expectations);
}

/** Why it is refused; undefined when it is accepted. */
async function refusal(xml: string, trusted = trust(), expectations = expected()): Promise<unknown> {
  return person(xml, trusted, expectations).then(
    () => undefined,
    (error: unknown) => (error instanceof Error && 'reason' in error ? error.reason : error),
  );
}

const signedAssertion = (claims: Claims = {}) => responseXml(signXml(assertionXml(claims), idp), claims);
const signedResponse = (claims: Claims = {}) => signXml(responseXml(assertionXml(claims), claims), idp);

describe('an honest response', () => {
  it.each([
    ['with a signed assertion', signedAssertion],
    ['signed as a whole', signedResponse],
    ['signed twice', () => signXml(responseXml(signXml(assertionXml(), idp)), idp)],
  ])('%s is accepted with what it says', async (_, build) => {
    const said = await person(build());
    expect(said).toMatchObject({ nameId: { value: 'ada', format: 'urn:oasis:names:tc:SAML:2.0:nameid-format:persistent' }, sessionIndex: '_session-1' });
    expect(Object.fromEntries(said.attributes)).toEqual({ email: ['ada@example.com'], groups: ['ops', 'staff'] });
    expect(said.expiresAt.getTime()).toBeGreaterThan(Date.now());
  });

  it('is accepted by any of several certificates, and by a bare public key', async () => {
    expect(await refusal(signedAssertion(), trust({ certificates: [other.certificate, idp.certificate] }))).toBeUndefined();
    expect(await refusal(signedAssertion(), trust({ certificates: [idp.publicKey] }))).toBeUndefined();
    expect(await refusal(signedAssertion(), trust({ certificates: [other.certificate] }))).toBe('signature');
  });

  it('is opened when it is encrypted, with the signature inside or outside', async () => {
    const trusted = trust({ decryptionKey: sp.key });
    const inside = responseXml(await encryptAssertion(signXml(assertionXml(), idp), sp));
    const outside = signXml(responseXml(await encryptAssertion(assertionXml(), sp)), idp);
    expect((await person(inside, trusted)).nameId.value).toBe('ada');
    expect((await person(outside, trusted)).nameId.value).toBe('ada');
    expect(await refusal(inside)).toBe('decryption');
    expect(await refusal(inside, trust({ decryptionKey: other.key }))).toBe('decryption');
    expect(await refusal(responseXml(await encryptAssertion(assertionXml(), sp)), trusted)).toBe('signature');
    expect(await refusal(responseXml(await encryptAssertion(signXml(assertionXml(), other), sp)), trusted)).toBe('signature');
  });

  it('may come from a clock that is a little off', async () => {
    expect(await refusal(signedAssertion({ notBefore: 20 }))).toBeUndefined();
    expect(await refusal(signedAssertion({ notOnOrAfter: -20 }))).toBeUndefined();
  });
});

describe('signatures', () => {
  it('must be there, and where they are demanded', async () => {
    expect(await refusal(responseXml(assertionXml()))).toBe('signature');
    expect(await refusal(signedAssertion(), trust({ wantResponseSigned: true }))).toBe('signature');
    expect(await refusal(signedResponse(), trust({ wantAssertionsSigned: true }))).toBe('signature');
  });

  it('must be valid even where they are not demanded', async () => {
    const twice = signXml(responseXml(signXml(assertionXml(), other)), idp);
    expect(await refusal(twice)).toBe('signature');
    expect(await refusal(responseXml(signXml(assertionXml(), idp)).replace('</samlp:Response>', '</samlp:Response>').replace('ada@example.com', 'eve@example.com'))).toBe('signature');
  });

  it('of a key that only the message itself vouches for count for nothing', async () => {
    expect(await refusal(responseXml(signXml(assertionXml(), other)))).toBe('signature');
  });

  it('with SHA-1 only where the provider can do no better', async () => {
    const weak = responseXml(signXml(assertionXml(), idp, SHA1));
    expect(await refusal(weak)).toBe('algorithm');
    expect(await refusal(weak, trust({ allowSha1: true }))).toBeUndefined();
  });

  it('keyed with the public certificate as HMAC secret, or canonicalized with comments, are refused', async () => {
    const hmac = signedAssertion().replace('xmldsig-more#rsa-sha256', 'xmldsig-more#hmac-sha256');
    expect(await refusal(hmac)).toBe('algorithm');
    const comments = signedAssertion().replaceAll('xml-exc-c14n#"', 'xml-exc-c14n#WithComments"');
    expect(await refusal(comments)).toBe('algorithm');
    const xslt = signedAssertion().replace('http://www.w3.org/2000/09/xmldsig#enveloped-signature', 'http://www.w3.org/TR/1999/REC-xslt-19991116');
    expect(await refusal(xslt)).toBe('algorithm');
  });

  it('do not save weak encryption', async () => {
    const trusted = trust({ decryptionKey: sp.key });
    expect(await refusal(responseXml(await encryptAssertion(signXml(assertionXml(), idp), sp, { key: 'http://www.w3.org/2001/04/xmlenc#rsa-1_5' })), trusted)).toBe('algorithm');
    expect(await refusal(responseXml(await encryptAssertion(signXml(assertionXml(), idp), sp, { content: 'http://www.w3.org/2001/04/xmlenc#tripledes-cbc' })), trusted)).toBe('algorithm');
  });
});

describe('signature wrapping', () => {
  /** What the attacker has: one honest message, here of `eve`, and what they want to be: `admin`. */
  const honest = { nameId: 'eve', assertionId: '_honest' };
  const evil = (): string => assertionXml({ nameId: 'admin', assertionId: '_evil' });
  const signature = (xml: string): string => /<ds:Signature[\s\S]*?<\/ds:Signature>/.exec(xml)?.[0] ?? '';
  const without = (xml: string): string => xml.replace(signature(xml), '');
  /** An evil assertion with something put after its issuer. */
  const evilWith = (inner: string): string => evil().replace('</saml:Issuer>', `</saml:Issuer>${inner}`);

  const attacks: readonly [string, () => string][] = [
    ['1: the signed response inside the signature of an evil response', () => {
      const signed = signXml(responseXml(assertionXml(honest), { responseId: '_honest-response' }), idp);
      const carrier = signature(signed).replace('</ds:Signature>', `${without(signed)}</ds:Signature>`);
      return responseXml(evil(), { responseId: '_evil-response' }).replace('</saml:Issuer>', `</saml:Issuer>${carrier}`);
    }],
    ['2: the signed response beside its detached signature in an evil response', () => {
      const signed = signXml(responseXml(assertionXml(honest), { responseId: '_honest-response' }), idp);
      return responseXml(evil(), { responseId: '_evil-response' }).replace('</saml:Issuer>', `</saml:Issuer>${without(signed)}${signature(signed)}`);
    }],
    ['3: an evil assertion before the signed one', () => responseXml(evil() + signXml(assertionXml(honest), idp))],
    ['4: the signed assertion inside an evil one', () => responseXml(evil().replace('</saml:Assertion>', `${signXml(assertionXml(honest), idp)}</saml:Assertion>`))],
    ['5: an evil assertion that carries the signature, the honest one at the end', () => {
      const signed = signXml(assertionXml(honest), idp);
      return responseXml(evilWith(signature(signed)) + without(signed));
    }],
    ['6: an evil assertion that carries the signature, the honest one in it', () => {
      const signed = signXml(assertionXml(honest), idp);
      return responseXml(evilWith(signature(signed).replace('</ds:Signature>', `${without(signed)}</ds:Signature>`)));
    }],
    ['7: an evil assertion among extensions', () => {
      const signed = signXml(assertionXml({ ...honest, assertionId: '_same' }), idp);
      const extension = `<samlp:Extensions>${assertionXml({ nameId: 'admin', assertionId: '_same' })}</samlp:Extensions>`;
      return responseXml(signed).replace('<samlp:Status>', `${extension}<samlp:Status>`);
    }],
    ['8: the honest assertion in an object of the signature', () => {
      const signed = signXml(assertionXml(honest), idp);
      return responseXml(evilWith(signature(signed).replace('</ds:Signature>', `<ds:Object>${without(signed)}</ds:Object></ds:Signature>`)));
    }],
  ];

  it.each(attacks)('%s is refused', async (_, build) => {
    const xml = build();
    expect(xml).toContain('admin');
    expect(signature(xml)).not.toBe('');
    expect(await refusal(xml)).toBe('structure');
    expect(await refusal(xml, trust({ wantAssertionsSigned: true, wantResponseSigned: true }))).toBe('structure');
  });

  it('with the evil id made the same as the signed one is refused too', async () => {
    const signed = signXml(assertionXml(honest), idp);
    expect(await refusal(responseXml(signed + assertionXml({ nameId: 'admin', assertionId: '_honest' })))).toBe('structure');
    const quoted = `<saml:Advice>${without(signed)}</saml:Advice>`;
    expect(await refusal(responseXml(assertionXml({ nameId: 'admin', assertionId: '_evil' }).replace('</saml:Conditions>', `</saml:Conditions>${quoted}`).replace('</saml:Issuer>', `</saml:Issuer>${signature(signed)}`)))).toBe('structure');
  });

  it('by an assertion of another namespace, by two subjects or with a second reference is refused', async () => {
    const signed = signXml(assertionXml(honest), idp);
    expect(await refusal(responseXml(`<x:Assertion xmlns:x="urn:x">${signed}</x:Assertion>`))).toBe('structure');
    expect(await refusal(responseXml(signed.replace('<saml:Subject>', '<saml:Subject><saml:NameID>admin</saml:NameID></saml:Subject><saml:Subject>')))).toBe('signature');
    const reference = /<ds:Reference[\s\S]*?<\/ds:Reference>/.exec(signed)?.[0] ?? '';
    expect(await refusal(responseXml(signed.replace(reference, reference + reference)))).toBe('structure');
  });
});

describe('XML', () => {
  it('a comment cannot cut a name', async () => {
    const said = await person(responseXml(signXml(assertionXml({ nameId: 'admin@example.com.evil.example' }), idp).replace('admin@example.com', 'admin@example.com<!-- -->')));
    expect(said.nameId.value).toBe('admin@example.com.evil.example');
    const attribute = await person(responseXml(signXml(assertionXml({ attributes: { email: ['admin@example.com.evil.example'] } }), idp).replace('admin@example.com', 'admin@example.com<!---->')));
    expect(attribute.attributes.get('email')).toEqual(['admin@example.com.evil.example']);
  });

  it.each([
    ['an entity of a file', '<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]>', 'doctype'],
    ['a billion laughs', '<!DOCTYPE r [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>', 'doctype'],
    ['a bare document type', '<!doctype r>', 'doctype'],
    ['a processing instruction', '<?xml-stylesheet href="x"?>', 'not-xml'],
  ])('%s is refused', async (_, prefix, reason) => {
    expect(await refusal(prefix + signedAssertion())).toBe(reason);
  });

  it('that is too large, too deep, no XML, not UTF-8 or has two roots is refused', async () => {
    expect(await refusal(signedAssertion().replace('<samlp:Status>', `<!--${'x'.repeat(600_000)}--><samlp:Status>`))).toBe('too-large');
    expect(await refusal(responseXml('<a>'.repeat(60) + '</a>'.repeat(60)))).toBe('too-large');
    expect(await refusal('hello')).toBe('not-xml');
    expect(await refusal('')).toBe('not-xml');
    expect(await refusal(`${signedAssertion()}<x/>`)).toBe('not-xml');
    expect(await refusal(Buffer.from(signedAssertion(), 'utf16le').toString('utf8'))).toBe('not-xml');
    expect(await refusal(signedAssertion().replace('<samlp:Status>', '<x a="1" a="2"/><samlp:Status>'))).toBe('not-xml');
    expect(await refusal(signedAssertion().replace('samlp:Response', 'samlp:Reply').replace('/samlp:Response', '/samlp:Reply'))).toBe('structure');
  });
});

describe('claims', () => {
  it.each<[string, Claims, string]>([
    ['another audience', { audience: 'https://elsewhere.example.com' }, 'audience'],
    ['another recipient', { recipient: 'https://elsewhere.example.com/acs' }, 'recipient'],
    ['another destination', { destination: 'https://elsewhere.example.com/acs' }, 'destination'],
    ['another issuer', { issuer: 'https://evil.example.com' }, 'issuer'],
    ['the future', { notBefore: 120 }, 'time'],
    ['the past', { notOnOrAfter: -60 }, 'time'],
    ['an old issue', { issued: -3600, notOnOrAfter: 3600 }, 'time'],
    ['an issue in the future', { issued: 3600, notOnOrAfter: 7200 }, 'time'],
    ['another request', { inResponseTo: '_other' }, 'in-response-to'],
    ['no request', { inResponseTo: null }, 'unsolicited'],
    ['nobody', { nameId: '' }, 'subject'],
    ['a failure', { status: 'urn:oasis:names:tc:SAML:2.0:status:Responder' }, 'status'],
    ['an unknown condition', { conditions: '<x:Moon xmlns:x="urn:x" phase="full"/>' }, 'condition'],
    ['two audiences of which one is not ours', { conditions: '<saml:AudienceRestriction><saml:Audience>https://elsewhere.example.com</saml:Audience></saml:AudienceRestriction>' }, 'audience'],
  ])('for %s are refused', async (_, claims, reason) => {
    expect(await refusal(signedAssertion(claims))).toBe(reason);
    expect(await refusal(signedResponse(claims))).toBe(reason);
  });

  it('of a sign-in that the provider began answer no request', async () => {
    expect(await refusal(signedAssertion({ inResponseTo: null }), trust(), expected({ requestId: undefined }))).toBeUndefined();
    expect(await refusal(signedAssertion(), trust(), expected({ requestId: undefined }))).toBe('in-response-to');
  });

  it('need no destination, which not every provider writes', async () => {
    expect(await refusal(signedAssertion({ destination: null }))).toBeUndefined();
  });

  it('with a bearer confirmation that is not the only one', async () => {
    const holder = '<saml:SubjectConfirmation Method="urn:oasis:names:tc:SAML:2.0:cm:holder-of-key"/>';
    expect(await refusal(responseXml(signXml(assertionXml().replace('<saml:SubjectConfirmation ', `${holder}<saml:SubjectConfirmation `), idp)))).toBeUndefined();
    const bearerless = assertionXml().replace('cm:bearer', 'cm:sender-vouches');
    expect(await refusal(responseXml(signXml(bearerless, idp)))).toBe('subject');
  });
});
