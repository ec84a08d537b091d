import { randomBytes } from 'node:crypto';
import { promisify } from 'node:util';
import { inflateRaw } from 'node:zlib';
import { SAML, ValidateInResponseTo } from '@node-saml/node-saml';
import type { Element } from '@xmldom/xmldom';
import type { SamlSettings } from '../../schemas/rest/identity-providers.ts';
import type { SamlAddresses } from './provider-kinds.ts';
import { instant } from './saml-assertion.ts';
import { assertShape, childrenNamed, MESSAGE_LIMIT_BYTES, NS, parseXml, signatureOf, textOf } from './saml-document.ts';
import { SamlRefusal } from './saml-refusal.ts';

/** What the browser carries to the provider. */
export type SamlRequest =
  | { readonly binding: 'redirect'; readonly location: string }
  /** To be posted by the browser as a form. */
  | { readonly binding: 'post'; readonly action: string; readonly fields: Readonly<Record<string, string>> };

/** Who is logged out, as the session kept it. */
export interface LoggedOut {
  readonly nameId: string;
  readonly nameIdFormat: string | undefined;
  readonly nameQualifier: string | undefined;
  readonly spNameQualifier: string | undefined;
  readonly sessionIndex: string | undefined;
}

/** A logout message of the provider, its signature checked. */
export type LogoutMessage =
  | { readonly kind: 'request'; readonly id: string; readonly nameId: string; readonly sessionIndexes: readonly string[] }
  | { readonly kind: 'response'; readonly inResponseTo: string };

const NAME_IDS = {
  persistent: 'urn:oasis:names:tc:SAML:2.0:nameid-format:persistent',
  emailAddress: 'urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress',
  unspecified: 'urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified',
} as const;
/** The hash functions a signature in a query may use (SAML bindings 3.4.4.1). */
const SHA2 = /#rsa-sha(256|384|512)$/;
const SHA1 = /#rsa-sha1$/;
/** How old a logout request may be, milliseconds. */
const LOGOUT_AGE_MS = 10 * 60_000;

const inflate = promisify(inflateRaw);

/** HAL9 towards one SAML provider: what it sends, and what it believes of single logout. node-saml builds, signs and verifies. */
export class SamlServiceProvider {
  readonly #settings: SamlSettings;
  readonly #addresses: SamlAddresses;

  constructor(settings: SamlSettings, addresses: SamlAddresses) {
    this.#settings = settings;
    this.#addresses = addresses;
  }

  /** @returns an id for {@link signInRequest}. */
  static requestId(): string {
    // An xs:ID may not begin with a digit.
    return `_${randomBytes(20).toString('hex')}`;
  }

  /** The metadata document to enter at the provider. */
  metadata(): string {
    const { serviceCertificate } = this.#settings;
    // The library publishes an encryption key whenever it has a decryption key, which is what we want.
    return this.#library().generateServiceProviderMetadata(serviceCertificate ?? null, serviceCertificate ?? null);
  }

  /** Asks the provider to sign somebody in. @param relayState at most 80 bytes (SAML bindings 3.4.3). */
  async signInRequest(requestId: string, relayState: string): Promise<SamlRequest> {
    const library = this.#library({ generateUniqueId: () => requestId });
    if (this.#settings.binding === 'redirect') return { binding: 'redirect', location: await library.getAuthorizeUrlAsync(relayState, undefined, {}) };
    const fields = await this.#library({ generateUniqueId: () => requestId, skipRequestCompression: true }).getAuthorizeMessageAsync(relayState);
    return { binding: 'post', action: this.#settings.signInUrl, fields: Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, String(value)])) };
  }

  /** Where to send the browser so that the provider ends its session; undefined when it has no such address. */
  async logoutRequest(requestId: string, person: LoggedOut, relayState: string): Promise<string | undefined> {
    if (this.#settings.logoutUrl === undefined) return undefined;
    const profile = {
      issuer: this.#settings.entityId,
      nameID: person.nameId,
      nameIDFormat: person.nameIdFormat ?? NAME_IDS.unspecified,
      ...(person.nameQualifier === undefined ? {} : { nameQualifier: person.nameQualifier }),
      ...(person.spNameQualifier === undefined ? {} : { spNameQualifier: person.spNameQualifier }),
      ...(person.sessionIndex === undefined ? {} : { sessionIndex: person.sessionIndex }),
    };
    return this.#library({ generateUniqueId: () => requestId }).getLogoutUrlAsync(profile, relayState, {});
  }

  /** The answer to a logout request of the provider. @returns undefined when the provider has no address for it. */
  async logoutResponse(requestId: string, relayState: string | undefined): Promise<string | undefined> {
    if (this.#settings.logoutUrl === undefined) return undefined;
    const request = { ID: requestId, issuer: this.#settings.entityId, nameID: '', nameIDFormat: '' };
    return this.#library().getLogoutResponseUrlAsync(request, relayState ?? '', {}, true);
  }

  /**
   * A logout message that came by redirect: signed in the query (SAML bindings 3.4.4.1).
   * @param query as it came, without the question mark: the signature is over its bytes.
   * @throws {SamlRefusal}.
   */
  async readRedirect(query: string, now: Date): Promise<LogoutMessage> {
    const parameters = singleParameters(query);
    const name = parameters.has('SAMLRequest') ? 'SAMLRequest' : 'SAMLResponse';
    const message = parameters.get(name);
    const [signature, algorithm] = [parameters.get('Signature'), parameters.get('SigAlg')];
    if (message === undefined || (parameters.has('SAMLRequest') && parameters.has('SAMLResponse'))) throw new SamlRefusal('structure', 'the query has not one message');
    if (signature === undefined || algorithm === undefined) throw new SamlRefusal('signature', 'the query is not signed');
    const hash = decodeURIComponent(algorithm.replaceAll('+', ' '));
    if (!SHA2.test(hash) && !(this.#settings.allowSha1 && SHA1.test(hash))) throw new SamlRefusal('algorithm', 'the signature of the query is not allowed');
    const value = (encoded: string): string => decodeURIComponent(encoded.replaceAll('+', '%20'));
    const xml = await inflated(value(message));
    const root = parseXml(xml);
    assertShape(root, { sha1: this.#settings.allowSha1 });
    const container = Object.fromEntries([...parameters].map(([key, encoded]) => [key, value(encoded)]));
    try {
      await this.#library().validateRedirectAsync(container, [...parameters].map(([key, encoded]) => `${key}=${encoded}`).join('&'));
    } catch (error) {
      throw new SamlRefusal('signature', 'the signature of the query is not valid', { cause: error });
    }
    return this.#judge(root, now);
  }

  /**
   * A logout message that came by POST: signed in itself.
   * @throws {SamlRefusal}.
   */
  async readPost(name: 'SAMLRequest' | 'SAMLResponse', encoded: string, now: Date): Promise<LogoutMessage> {
    const xml = decodeMessage(encoded);
    const root = parseXml(xml);
    assertShape(root, { sha1: this.#settings.allowSha1 });
    if (signatureOf(root) === undefined) throw new SamlRefusal('signature', 'the message is not signed');
    const container = { [name]: Buffer.from(xml).toString('base64') };
    try {
      if (name === 'SAMLRequest') await this.#library().validatePostRequestAsync(container);
      else await this.#library().validatePostResponseAsync(container);
    } catch (error) {
      throw new SamlRefusal('signature', 'the signature of the message is not valid', { cause: error });
    }
    return this.#judge(root, now);
  }

  /** The signature covers the whole root, so all of it may be read. */
  #judge(root: Element, now: Date): LogoutMessage {
    const { entityId, clockSkewSeconds } = this.#settings;
    const skewMs = clockSkewSeconds * 1000;
    const [issuer] = childrenNamed(root, NS.assertion, 'Issuer');
    if (issuer === undefined || textOf(issuer) !== entityId) throw new SamlRefusal('issuer', 'the message is of another provider');
    if (root.getAttribute('Destination') !== this.#addresses.singleLogout) throw new SamlRefusal('destination', 'the message was meant for another address');
    const issued = instant(root.getAttribute('IssueInstant'))?.getTime();
    const until = instant(root.getAttribute('NotOnOrAfter'))?.getTime();
    if (issued === undefined || issued > now.getTime() + skewMs || issued + LOGOUT_AGE_MS + skewMs <= now.getTime()) throw new SamlRefusal('time', 'the message is not of now');
    if (until !== undefined && until + skewMs <= now.getTime()) throw new SamlRefusal('time', 'the message has expired');
    if (root.namespaceURI === NS.protocol && root.localName === 'LogoutResponse') return { kind: 'response', inResponseTo: root.getAttribute('InResponseTo') ?? '' };
    if (root.namespaceURI !== NS.protocol || root.localName !== 'LogoutRequest') throw new SamlRefusal('structure', 'the message is no logout');
    const [nameId, ...more] = childrenNamed(root, NS.assertion, 'NameID');
    const id = root.getAttribute('ID') ?? '';
    if (nameId === undefined || more.length > 0 || id === '') throw new SamlRefusal('subject', 'the logout names nobody');
    return { kind: 'request', id, nameId: textOf(nameId), sessionIndexes: childrenNamed(root, NS.protocol, 'SessionIndex').map(textOf) };
  }

  #library(more: { generateUniqueId?: () => string; skipRequestCompression?: boolean } = {}): SAML {
    const { settings, addresses } = { settings: this.#settings, addresses: this.#addresses };
    return new SAML({
      issuer: addresses.metadata,
      callbackUrl: addresses.assertionConsumer,
      logoutCallbackUrl: addresses.singleLogout,
      entryPoint: settings.signInUrl,
      logoutUrl: settings.logoutUrl ?? settings.signInUrl,
      idpCert: [...settings.certificates],
      identifierFormat: NAME_IDS[settings.nameId],
      disableRequestedAuthnContext: true,
      forceAuthn: settings.forceSignIn,
      signatureAlgorithm: 'sha256',
      digestAlgorithm: 'sha256',
      acceptedClockSkewMs: settings.clockSkewSeconds * 1000,
      wantAssertionsSigned: settings.signed === 'assertion' || settings.signed === 'both',
      wantAuthnResponseSigned: true,
      // Answers are bound to their requests by challenges, which are taken once.
      validateInResponseTo: ValidateInResponseTo.never,
      ...(settings.serviceKey === undefined ? {} : { privateKey: settings.serviceKey, decryptionPvk: settings.serviceKey }),
      ...(settings.serviceCertificate === undefined ? {} : { publicCert: settings.serviceCertificate }),
      ...more,
    });
  }
}

/**
 * A message as the POST binding carries it, base64 of XML (SAML bindings 3.5.4).
 * @throws {SamlRefusal} `too-large`, `not-xml`.
 */
export function decodeMessage(encoded: string): string {
  if (encoded.length > MESSAGE_LIMIT_BYTES * 1.5) throw new SamlRefusal('too-large', 'the message is too large');
  const text = encoded.replace(/\s+/g, '');
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(text)) throw new SamlRefusal('not-xml', 'the message is not base64');
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.from(text, 'base64'));
  } catch (error) {
    throw new SamlRefusal('not-xml', 'the message is not UTF-8', { cause: error });
  }
}

async function inflated(encoded: string): Promise<string> {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(await inflate(Buffer.from(encoded, 'base64'), { maxOutputLength: MESSAGE_LIMIT_BYTES }));
  } catch (error) {
    throw new SamlRefusal('not-xml', 'the message cannot be unpacked', { cause: error });
  }
}

const PARAMETERS = ['SAMLRequest', 'SAMLResponse', 'RelayState', 'SigAlg', 'Signature'];

/** Raw values by name. @throws {SamlRefusal} `structure` for a parameter that is foreign to the binding or comes twice: a signature covers neither. */
function singleParameters(query: string): Map<string, string> {
  const found = new Map<string, string>();
  for (const part of query.split('&')) {
    const equals = part.indexOf('=');
    const name = part.slice(0, equals);
    if (!PARAMETERS.includes(name) || found.has(name)) throw new SamlRefusal('structure', 'the query has parameters that do not belong there');
    found.set(name, part.slice(equals + 1));
  }
  // In the order of the signature, whatever order they came in.
  return new Map(PARAMETERS.flatMap((name): [string, string][] => (found.has(name) ? [[name, found.get(name) ?? '']] : [])));
}
