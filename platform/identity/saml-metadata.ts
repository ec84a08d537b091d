import { createPublicKey, X509Certificate, type KeyObject } from 'node:crypto';
import type { Element } from '@xmldom/xmldom';
import { HalError } from '../../schemas/errors.ts';
import type { SamlSettings } from '../../schemas/rest/identity-providers.ts';
import type { OutsideFailure } from '../connections/failure.ts';
import { childElements, childrenNamed, NS, parseXml, textOf } from './saml-document.ts';
import { SamlRefusal } from './saml-refusal.ts';

const REDIRECT = 'urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect';
const POST = 'urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST';
/** Smallest RSA modulus believed, bits (NIST SP 800-131A). */
const LEAST_BITS = 2048;

/**
 * Reads what HAL9 needs of a provider's metadata (SAML 2.0 metadata, `EntityDescriptor` with an `IDPSSODescriptor`). The document is
 * believed because whoever configures the provider entered it; a signature on it is not looked at.
 * @throws {HalError} `InvalidInput` saying what is missing.
 */
export function readProviderMetadata(xml: string): Pick<SamlSettings, 'entityId' | 'signInUrl' | 'binding' | 'logoutUrl' | 'certificates'> {
  const root = parsed(xml);
  if (root.namespaceURI !== NS.metadata || root.localName !== 'EntityDescriptor') throw refused('is no metadata of one provider (EntityDescriptor)');
  const descriptor = childrenNamed(root, NS.metadata, 'IDPSSODescriptor')[0];
  if (descriptor === undefined) throw refused('describes no identity provider (IDPSSODescriptor)');
  const entityId = root.getAttribute('entityID') ?? '';
  if (entityId === '') throw refused('has no entityID');
  const services = childrenNamed(descriptor, NS.metadata, 'SingleSignOnService');
  const redirect = location(services, REDIRECT);
  const signInUrl = redirect ?? location(services, POST);
  if (signInUrl === undefined) throw refused('has no SingleSignOnService for redirect or POST');
  const logoutUrl = location(childrenNamed(descriptor, NS.metadata, 'SingleLogoutService'), REDIRECT);
  const certificates = childrenNamed(descriptor, NS.metadata, 'KeyDescriptor')
    .filter((key) => (key.getAttribute('use') ?? 'signing') === 'signing')
    .flatMap((key) => descendants(key, 'X509Certificate'))
    .map((certificate) => pemOf(textOf(certificate)));
  if (certificates.length === 0) throw refused('has no certificate for signing');
  return { entityId, signInUrl, binding: redirect === undefined ? 'post' : 'redirect', ...(logoutUrl === undefined ? {} : { logoutUrl }), certificates: [...new Set(certificates)] };
}

/**
 * What can be said of a SAML provider without a browser: whether its certificates and our key can be used.
 * @returns what is wrong, in plain words.
 */
export function checkSaml(settings: SamlSettings, now: Date): OutsideFailure | undefined {
  for (const [index, pem] of settings.certificates.entries()) {
    const key = publicKey(pem);
    if (key === undefined) return failure(`certificate ${index + 1} cannot be read`);
    if (key.asymmetricKeyType !== 'rsa') return failure(`certificate ${index + 1} has no RSA key`);
    const bits = key.asymmetricKeyDetails?.modulusLength ?? 0;
    if (bits < LEAST_BITS) return failure(`certificate ${index + 1} has a key of ${bits} bits; ${LEAST_BITS} are needed`);
  }
  if (settings.serviceCertificate !== undefined && new X509Certificate(settings.serviceCertificate).validToDate < now) return failure('the certificate of HAL9 itself has expired');
  return undefined;
}

function publicKey(pem: string): KeyObject | undefined {
  try {
    return createPublicKey(pem);
  } catch {
    return undefined; // the caller says which
  }
}

function failure(message: string): OutsideFailure {
  return { message, retryable: false };
}

function parsed(xml: string): Element {
  try {
    return parseXml(xml);
  } catch (error) {
    if (error instanceof SamlRefusal) throw refused(error.message.replace('the message', 'the document'));
    throw error;
  }
}

function location(services: readonly Element[], binding: string): string | undefined {
  return services.find((service) => service.getAttribute('Binding') === binding)?.getAttribute('Location') ?? undefined;
}

function descendants(element: Element, localName: string): Element[] {
  return childElements(element).flatMap((child) => [...(child.localName === localName && child.namespaceURI === NS.signature ? [child] : []), ...descendants(child, localName)]);
}

function pemOf(base64: string): string {
  const lines = base64.replace(/\s+/g, '').match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`;
}

function refused(message: string): HalError {
  return new HalError('InvalidInput', `the metadata ${message}`, { errors: [{ path: '/settings/metadata', message }] });
}
