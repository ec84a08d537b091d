import { SAML } from '@node-saml/node-saml';
import { XMLSerializer, type Element } from '@xmldom/xmldom';
import { decrypt } from 'xml-encryption';
import { assertShape, childElements, childrenNamed, NS, parseXml, signatureOf } from './saml-document.ts';
import { SamlRefusal } from './saml-refusal.ts';

/** Whom a provider's signatures are believed from, and which are demanded. */
export interface SamlTrust {
  /** PEM certificates or public keys, pinned: their dates and issuers say nothing. Several while the provider changes its key. */
  readonly certificates: readonly string[];
  readonly wantResponseSigned: boolean;
  readonly wantAssertionsSigned: boolean;
  /** See {@link assertShape}. */
  readonly allowSha1: boolean;
  /** PEM key that opens encrypted assertions; without one they are refused. */
  readonly decryptionKey?: string | undefined;
}

/** What a signature covers. */
export interface SignedResponse {
  /** The assertion as it was signed, canonical and without comments. Nothing else of the response may be believed of a person. */
  readonly assertion: Element;
  /** Attributes of the response's root; covered by a signature only when `responseSigned`. */
  readonly response: { readonly destination: string | undefined; readonly inResponseTo: string | undefined; readonly issuer: string | undefined };
  readonly responseSigned: boolean;
  readonly assertionSigned: boolean;
  readonly encrypted: boolean;
}

const SUCCESS = 'urn:oasis:names:tc:SAML:2.0:status:Success';
/** RSA with OAEP and AES, authenticated or under a signature that is checked afterwards. Not: PKCS #1 v1.5, Triple DES. */
const KEY_TRANSPORT = new Set([`${NS.encryption}rsa-oaep-mgf1p`]);
const CONTENT_CIPHERS = new Set(['http://www.w3.org/2009/xmlenc11#aes128-gcm', 'http://www.w3.org/2009/xmlenc11#aes256-gcm', `${NS.encryption}aes128-cbc`, `${NS.encryption}aes256-cbc`]);

/**
 * Verifies the signatures of a SAML 2.0 `Response` and hands on only what they cover. node-saml does the cryptography; before it sees
 * the message the shape is checked (`saml-document.ts`). A signature that is there must be valid even where it is not
 * demanded. Times, audience and the rest are judged by {@link judgeAssertion}.
 * @param xml the message, decoded.
 * @throws {SamlRefusal}.
 */
export async function verifyResponse(xml: string, trust: SamlTrust): Promise<SignedResponse> {
  const root = parseXml(xml);
  if (root.namespaceURI !== NS.protocol || root.localName !== 'Response' || root.getAttribute('Version') !== '2.0') throw new SamlRefusal('structure', 'the message is no SAML 2.0 response');
  assertShape(root, { sha1: trust.allowSha1 });
  assertSuccess(root);
  const { asserting, encrypted } = await assertionIn(root, trust);
  const responseSigned = signatureOf(root) !== undefined;
  const assertionSigned = signatureOf(asserting) !== undefined;
  if (!responseSigned && !assertionSigned) throw new SamlRefusal('signature', 'nothing is signed');
  const library = new SAML({
    // Addresses, audience and times are no question of signatures.
    callbackUrl: 'https://unused.invalid',
    issuer: 'unused',
    audience: false,
    acceptedClockSkewMs: -1,
    idpCert: [...trust.certificates],
    wantAuthnResponseSigned: trust.wantResponseSigned || responseSigned,
    wantAssertionsSigned: trust.wantAssertionsSigned || assertionSigned,
    ...(trust.decryptionKey === undefined ? {} : { decryptionPvk: trust.decryptionKey }),
  });
  const signed = await signedAssertion(library, xml);
  return {
    assertion: parseXml(signed),
    response: {
      destination: root.getAttribute('Destination') ?? undefined,
      inResponseTo: root.getAttribute('InResponseTo') ?? undefined,
      issuer: childrenNamed(root, NS.assertion, 'Issuer')[0]?.textContent?.trim(),
    },
    responseSigned,
    assertionSigned,
    encrypted,
  };
}

async function signedAssertion(library: SAML, xml: string): Promise<string> {
  let assertion: string | undefined;
  try {
    const { profile } = await library.validatePostResponseAsync({ SAMLResponse: Buffer.from(xml).toString('base64') });
    assertion = profile?.getAssertionXml?.();
  } catch (error) {
    throw new SamlRefusal('signature', 'no valid signature', { cause: error });
  }
  if (assertion === undefined) throw new SamlRefusal('signature', 'no signature covers an assertion');
  return assertion;
}

/** The one assertion, opened if it is encrypted, with its shape checked. */
async function assertionIn(root: Element, trust: SamlTrust): Promise<{ asserting: Element; encrypted: boolean }> {
  const plain = childrenNamed(root, NS.assertion, 'Assertion');
  const sealed = childrenNamed(root, NS.assertion, 'EncryptedAssertion');
  const [only, ...more] = [...plain, ...sealed];
  if (only === undefined || more.length > 0) throw new SamlRefusal('structure', 'the response has not exactly one assertion');
  if (plain.length === 1) return { asserting: only, encrypted: false };
  if (trust.decryptionKey === undefined) throw new SamlRefusal('decryption', 'the assertion is encrypted and there is no key for it');
  assertCiphers(only);
  const opened = parseXml(await decrypted(new XMLSerializer().serializeToString(only), trust.decryptionKey));
  if (opened.namespaceURI !== NS.assertion || opened.localName !== 'Assertion') throw new SamlRefusal('structure', 'what was encrypted is no assertion');
  assertShape(opened, { sha1: trust.allowSha1 });
  return { asserting: opened, encrypted: true };
}

function assertCiphers(sealed: Element): void {
  const visit = (element: Element): void => {
    if (element.namespaceURI === NS.encryption && element.localName === 'EncryptionMethod') {
      const allowed = (element.parentNode?.localName ?? '') === 'EncryptedKey' ? KEY_TRANSPORT : CONTENT_CIPHERS;
      if (!allowed.has(element.getAttribute('Algorithm') ?? '')) throw new SamlRefusal('algorithm', 'the encryption is not allowed');
    }
    for (const child of childElements(element)) visit(child);
  };
  visit(sealed);
}

function decrypted(xml: string, key: string): Promise<string> {
  return new Promise((resolve, reject) => {
    decrypt(xml, { key, disallowDecryptionWithInsecureAlgorithm: true }, (error, result) => {
      if (error === null) resolve(result);
      else reject(new SamlRefusal('decryption', 'the assertion cannot be decrypted', { cause: error }));
    });
  });
}

function assertSuccess(root: Element): void {
  const status = childrenNamed(root, NS.protocol, 'Status').flatMap((element) => childrenNamed(element, NS.protocol, 'StatusCode'));
  if (status.length !== 1 || status[0]?.getAttribute('Value') !== SUCCESS) throw new SamlRefusal('status', 'the provider says that the sign-in failed');
}
