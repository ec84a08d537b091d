import { execFileSync } from 'node:child_process';
import { randomUUID, sign } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SignedXml } from 'xml-crypto';
import { encrypt } from 'xml-encryption';

export interface TestKey {
  readonly key: string;
  readonly certificate: string;
  readonly publicKey: string;
}

/** A fresh RSA key with a self-signed certificate. */
export function makeKey(name: string): TestKey {
  const folder = mkdtempSync(join(tmpdir(), 'hal9-saml-'));
  try {
    execFileSync('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '1', '-subj', `/CN=${name}`, '-keyout', 'key.pem', '-out', 'certificate.pem'], { cwd: folder, stdio: 'pipe' });
    const publicKey = execFileSync('openssl', ['x509', '-in', 'certificate.pem', '-pubkey', '-noout'], { cwd: folder, encoding: 'utf8' });
    return { key: readFileSync(join(folder, 'key.pem'), 'utf8'), certificate: readFileSync(join(folder, 'certificate.pem'), 'utf8'), publicKey };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

export interface Claims {
  readonly issuer?: string;
  readonly audience?: string;
  readonly recipient?: string;
  readonly destination?: string | null;
  readonly inResponseTo?: string | null;
  readonly nameId?: string;
  readonly nameIdFormat?: string;
  readonly assertionId?: string;
  readonly responseId?: string;
  readonly sessionIndex?: string;
  readonly now?: Date;
  /** Seconds from `now`. */
  readonly notBefore?: number;
  readonly notOnOrAfter?: number;
  readonly issued?: number;
  readonly conditions?: string;
  readonly authnContext?: string;
  readonly status?: string;
  readonly attributes?: Readonly<Record<string, readonly string[]>>;
}

export const IDP = 'https://idp.example.com/metadata';
export const SP = 'https://hal9.example.com/saml/metadata';
export const ACS = 'https://hal9.example.com/saml/acs';
export const REQUEST = '_request-1';

const at = (now: Date, seconds: number): string => new Date(now.getTime() + seconds * 1000).toISOString();

/** An unsigned assertion, as an identity provider writes it. */
export function assertionXml(claims: Claims = {}): string {
  const now = claims.now ?? new Date();
  const until = at(now, claims.notOnOrAfter ?? 300);
  const inResponseTo = claims.inResponseTo === null ? '' : ` InResponseTo="${claims.inResponseTo ?? REQUEST}"`;
  const attributes = Object.entries(claims.attributes ?? { email: ['ada@example.com'], groups: ['ops', 'staff'] })
    .map(([name, values]) => `<saml:Attribute Name="${name}">${values.map((value) => `<saml:AttributeValue>${value}</saml:AttributeValue>`).join('')}</saml:Attribute>`)
    .join('');
  return (
    `<saml:Assertion xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID="${claims.assertionId ?? `_${randomUUID()}`}" Version="2.0" IssueInstant="${at(now, claims.issued ?? 0)}">` +
    `<saml:Issuer>${claims.issuer ?? IDP}</saml:Issuer>` +
    `<saml:Subject><saml:NameID Format="${claims.nameIdFormat ?? 'urn:oasis:names:tc:SAML:2.0:nameid-format:persistent'}">${claims.nameId ?? 'ada'}</saml:NameID>` +
    `<saml:SubjectConfirmation Method="urn:oasis:names:tc:SAML:2.0:cm:bearer"><saml:SubjectConfirmationData NotOnOrAfter="${until}" Recipient="${claims.recipient ?? ACS}"${inResponseTo}/></saml:SubjectConfirmation></saml:Subject>` +
    `<saml:Conditions NotBefore="${at(now, claims.notBefore ?? -60)}" NotOnOrAfter="${until}"><saml:AudienceRestriction><saml:Audience>${claims.audience ?? SP}</saml:Audience></saml:AudienceRestriction>${claims.conditions ?? ''}</saml:Conditions>` +
    `<saml:AuthnStatement AuthnInstant="${at(now, -1)}" SessionIndex="${claims.sessionIndex ?? '_session-1'}"><saml:AuthnContext><saml:AuthnContextClassRef>${claims.authnContext ?? 'urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport'}</saml:AuthnContextClassRef></saml:AuthnContext></saml:AuthnStatement>` +
    `<saml:AttributeStatement>${attributes}</saml:AttributeStatement>` +
    '</saml:Assertion>'
  );
}

/** An unsigned response around an assertion. */
export function responseXml(assertion: string, claims: Claims = {}): string {
  const now = claims.now ?? new Date();
  const inResponseTo = claims.inResponseTo === null ? '' : ` InResponseTo="${claims.inResponseTo ?? REQUEST}"`;
  const destination = claims.destination === null ? '' : ` Destination="${claims.destination ?? ACS}"`;
  return (
    `<samlp:Response xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" ID="${claims.responseId ?? `_${randomUUID()}`}" Version="2.0" IssueInstant="${at(now, 0)}"${destination}${inResponseTo}>` +
    `<saml:Issuer xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion">${claims.issuer ?? IDP}</saml:Issuer>` +
    `<samlp:Status><samlp:StatusCode Value="${claims.status ?? 'urn:oasis:names:tc:SAML:2.0:status:Success'}"/></samlp:Status>${assertion}</samlp:Response>`
  );
}

export interface Signing {
  readonly signature?: string;
  readonly digest?: string;
  readonly canonicalization?: string;
}

const SHA256 = { signature: 'http://www.w3.org/2001/04/xmldsig-more#rsa-sha256', digest: 'http://www.w3.org/2001/04/xmlenc#sha256', canonicalization: 'http://www.w3.org/2001/10/xml-exc-c14n#' };
export const SHA1: Signing = { signature: 'http://www.w3.org/2000/09/xmldsig#rsa-sha1', digest: 'http://www.w3.org/2000/09/xmldsig#sha1' };

/** Signs the root element as SAML wants it: enveloped, after the issuer. */
export function signXml(xml: string, key: Pick<TestKey, 'key' | 'certificate'>, signing: Signing = {}): string {
  const { signature, digest, canonicalization } = { ...SHA256, ...signing };
  const signer = new SignedXml({ privateKey: key.key, publicCert: key.certificate, signatureAlgorithm: signature, canonicalizationAlgorithm: canonicalization });
  signer.addReference({ xpath: '/*', transforms: ['http://www.w3.org/2000/09/xmldsig#enveloped-signature', canonicalization], digestAlgorithm: digest });
  signer.computeSignature(xml, { location: { reference: "/*/*[local-name(.)='Issuer']", action: 'after' }, prefix: 'ds' });
  return signer.getSignedXml();
}

export function encryptAssertion(assertion: string, recipient: TestKey, algorithms: { content?: 'http://www.w3.org/2009/xmlenc11#aes256-gcm' | 'http://www.w3.org/2001/04/xmlenc#tripledes-cbc'; key?: 'http://www.w3.org/2001/04/xmlenc#rsa-oaep-mgf1p' | 'http://www.w3.org/2001/04/xmlenc#rsa-1_5' } = {}): Promise<string> {
  return new Promise((resolve, reject) => {
    encrypt(
      assertion,
      {
        rsa_pub: recipient.publicKey,
        pem: recipient.certificate,
        encryptionAlgorithm: algorithms.content ?? 'http://www.w3.org/2009/xmlenc11#aes256-gcm',
        keyEncryptionAlgorithm: algorithms.key ?? 'http://www.w3.org/2001/04/xmlenc#rsa-oaep-mgf1p',
        warnInsecureAlgorithm: false,
      },
      (error, sealed) => {
        // The declaration says Error, the library says null.
        if (error) reject(error);
        else resolve(`<saml:EncryptedAssertion xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion">${sealed}</saml:EncryptedAssertion>`);
      },
    );
  });
}

/** A query as the redirect binding signs it (SAML bindings 3.4.4.1). */
export function signQuery(parameters: Readonly<Record<string, string>>, key: Pick<TestKey, 'key'>, hash: 'sha1' | 'sha256' = 'sha256'): string {
  const algorithm = hash === 'sha1' ? 'http://www.w3.org/2000/09/xmldsig#rsa-sha1' : 'http://www.w3.org/2001/04/xmldsig-more#rsa-sha256';
  const text = [...Object.entries(parameters), ['SigAlg', algorithm]].map(([name = '', value = '']) => `${name}=${encodeURIComponent(value)}`).join('&');
  return `${text}&Signature=${encodeURIComponent(sign(`RSA-${hash.toUpperCase()}`, Buffer.from(text), key.key).toString('base64'))}`;
}
