import { DOMParser, onWarningStopParsing, type Element } from '@xmldom/xmldom';
import { SamlRefusal } from './saml-refusal.ts';

export const NS = {
  assertion: 'urn:oasis:names:tc:SAML:2.0:assertion',
  protocol: 'urn:oasis:names:tc:SAML:2.0:protocol',
  metadata: 'urn:oasis:names:tc:SAML:2.0:metadata',
  signature: 'http://www.w3.org/2000/09/xmldsig#',
  encryption: 'http://www.w3.org/2001/04/xmlenc#',
} as const;

/** Largest SAML message read, bytes of XML. Responses with some hundred groups stay below 100 KiB. */
export const MESSAGE_LIMIT_BYTES = 512 * 1024;
const DEPTH_LIMIT = 50;
const ELEMENT_LIMIT = 20_000;

/** @returns the element's child elements, in order. */
export function childElements(parent: Element): Element[] {
  const found: Element[] = [];
  for (let node = parent.firstChild; node !== null; node = node.nextSibling) if (isElement(node)) found.push(node);
  return found;
}

/** Children of one name in one namespace. */
export function childrenNamed(parent: Element, namespace: string, localName: string): Element[] {
  return childElements(parent).filter((child) => child.namespaceURI === namespace && child.localName === localName);
}

/** The text of an element without comments, so that `a<!-- -->b` is `ab` and never `a`. */
export function textOf(element: Element): string {
  return (element.textContent ?? '').trim();
}

/**
 * Reads XML from outside strictly: bounded, UTF-8, no DTD (so no entities of its own), no processing instruction, well-formed without a
 * warning, one root. This is a second parser beside the one that verifies signatures: a document that two parsers could read
 * differently has to pass both.
 * @throws {SamlRefusal} `too-large`, `doctype`, `not-xml`.
 */
export function parseXml(xml: string): Element {
  if (Buffer.byteLength(xml) > MESSAGE_LIMIT_BYTES) throw new SamlRefusal('too-large', `the message is larger than ${MESSAGE_LIMIT_BYTES} bytes`);
  if (/<!(DOCTYPE|ENTITY|ELEMENT|ATTLIST|NOTATION)/i.test(xml)) throw new SamlRefusal('doctype', 'the message has a document type');
  const body = xml.replace(/^\s*<\?xml\s[^?]*\?>/, '');
  if (body.includes('<?')) throw new SamlRefusal('not-xml', 'the message has a processing instruction');
  // U+FFFD stands where bytes were no UTF-8; a NUL where they were UTF-16.
  if (body.includes('\ufffd') || body.includes('\0')) throw new SamlRefusal('not-xml', 'the message is not UTF-8');
  let root: Element | null;
  try {
    root = new DOMParser({ onError: onWarningStopParsing }).parseFromString(xml, 'application/xml').documentElement;
  } catch (error) {
    throw new SamlRefusal('not-xml', 'the message is no well-formed XML', { cause: error });
  }
  if (root === null) throw new SamlRefusal('not-xml', 'the message has no root element');
  let count = 0;
  const walk = (element: Element, depth: number): void => {
    count += 1;
    if (depth > DEPTH_LIMIT || count > ELEMENT_LIMIT) throw new SamlRefusal('too-large', 'the message is nested too deep or has too many elements');
    for (const child of childElements(element)) walk(child, depth + 1);
  };
  walk(root, 1);
  return root;
}

/** Which hash functions a signature may use. */
export interface AllowedAlgorithms {
  /** SHA-1, for providers that cannot do better; broken for signatures since 2017 (SHAttered). */
  readonly sha1: boolean;
}

const DSIG = NS.signature;
const SIGNATURE_METHODS = new Set(['http://www.w3.org/2001/04/xmldsig-more#rsa-sha256', 'http://www.w3.org/2001/04/xmldsig-more#rsa-sha512']);
const DIGEST_METHODS = new Set(['http://www.w3.org/2001/04/xmlenc#sha256', 'http://www.w3.org/2001/04/xmlenc#sha512']);
const SHA1_METHODS = new Set([`${DSIG}rsa-sha1`, `${DSIG}sha1`]);
const ENVELOPED = `${DSIG}enveloped-signature`;
/** Exclusive canonicalization drops comments, so what is signed has none. */
const CANONICALIZATIONS = new Set(['http://www.w3.org/2001/10/xml-exc-c14n#', 'http://www.w3.org/TR/2001/REC-xml-c14n-20010315']);

/** Where something that matters may stand, so that nothing signed can be moved aside and something else put in its place. */
const PLACES: Readonly<Record<string, { readonly namespace: string; readonly allowed: (element: Element, root: Element) => boolean }>> = {
  Response: { namespace: NS.protocol, allowed: (element, root) => element === root },
  LogoutRequest: { namespace: NS.protocol, allowed: (element, root) => element === root },
  LogoutResponse: { namespace: NS.protocol, allowed: (element, root) => element === root },
  Assertion: { namespace: NS.assertion, allowed: inResponseOrAdvice },
  EncryptedAssertion: { namespace: NS.assertion, allowed: inResponseOrAdvice },
  Advice: { namespace: NS.assertion, allowed: (element) => isNamed(element.parentNode, NS.assertion, 'Assertion') },
  Signature: { namespace: DSIG, allowed: (element, root) => element.parentNode === root || isNamed(element.parentNode, NS.assertion, 'Assertion') },
  SignedInfo: { namespace: DSIG, allowed: (element) => isNamed(element.parentNode, DSIG, 'Signature') },
  SignatureValue: { namespace: DSIG, allowed: (element) => isNamed(element.parentNode, DSIG, 'Signature') },
  Reference: { namespace: DSIG, allowed: (element) => isNamed(element.parentNode, DSIG, 'SignedInfo') },
  Subject: { namespace: NS.assertion, allowed: (element) => isNamed(element.parentNode, NS.assertion, 'Assertion') },
};

/**
 * The shape of a SAML message that no honest provider breaks and every signature wrapping needs broken (Somorovsky et al., "On Breaking
 * SAML", USENIX Security 2012): ids are unique, a signature stands in the element it covers and covers only that,
 * nothing hides in `ds:Object` or in a place where nobody looks. Cryptography is not judged here.
 * @throws {SamlRefusal} `structure`, `algorithm`.
 */
export function assertShape(root: Element, algorithms: AllowedAlgorithms): void {
  const ids = new Set<string>();
  const visit = (element: Element): void => {
    for (const name of ['ID', 'Id', 'id', 'xml:id', 'AssertionID', 'ResponseID']) {
      const id = element.getAttribute(name);
      if (id === null) continue;
      if (ids.has(id)) throw new SamlRefusal('structure', 'an id appears twice');
      ids.add(id);
    }
    const place = Object.hasOwn(PLACES, element.localName ?? '') ? PLACES[element.localName ?? ''] : undefined;
    if (place !== undefined && !isForeignReference(element) && (element.namespaceURI !== place.namespace || !place.allowed(element, root))) {
      throw new SamlRefusal('structure', `${element.localName} stands where it has no meaning`);
    }
    if (element.namespaceURI === DSIG && (element.localName === 'Object' || element.localName === 'Manifest')) throw new SamlRefusal('structure', 'a signature carries an object');
    if (element.namespaceURI === DSIG && element.localName === 'Signature' && !isQuoted(element, root)) assertSignature(element, algorithms);
    for (const child of childElements(element)) visit(child);
  };
  visit(root);
}

/** The `ds:Signature` of an element itself, if it has one. @throws {SamlRefusal} `structure` for two. */
export function signatureOf(element: Element): Element | undefined {
  const signatures = childrenNamed(element, DSIG, 'Signature');
  if (signatures.length > 1) throw new SamlRefusal('structure', 'an element has two signatures');
  return signatures[0];
}

function assertSignature(signature: Element, algorithms: AllowedAlgorithms): void {
  const parent = signature.parentNode;
  if (!isElement(parent)) throw new SamlRefusal('structure', 'a signature stands alone');
  signatureOf(parent);
  const [info, ...otherInfos] = childrenNamed(signature, DSIG, 'SignedInfo');
  if (info === undefined || otherInfos.length > 0) throw new SamlRefusal('structure', 'a signature has not one SignedInfo');
  if (childrenNamed(signature, DSIG, 'SignatureValue').length !== 1) throw new SamlRefusal('structure', 'a signature has not one value');
  const [reference, ...otherReferences] = childrenNamed(info, DSIG, 'Reference');
  if (reference === undefined || otherReferences.length > 0) throw new SamlRefusal('structure', 'a signature has not one reference');
  const id = parent.getAttribute('ID');
  if (id === null || id === '' || reference.getAttribute('URI') !== `#${id}`) throw new SamlRefusal('structure', 'a signature does not refer to its own parent');
  const transforms = childrenNamed(reference, DSIG, 'Transforms').flatMap((list) => childElements(list));
  if (transforms.length > 2) throw new SamlRefusal('structure', 'a signature has too many transforms');
  for (const transform of transforms) {
    const algorithm = transform.getAttribute('Algorithm') ?? '';
    if (algorithm !== ENVELOPED && !CANONICALIZATIONS.has(algorithm)) throw new SamlRefusal('algorithm', 'a signature uses a transform that is not allowed');
  }
  assertAlgorithm(info, 'CanonicalizationMethod', (name) => CANONICALIZATIONS.has(name));
  assertAlgorithm(info, 'SignatureMethod', (name) => SIGNATURE_METHODS.has(name) || (algorithms.sha1 && SHA1_METHODS.has(name)));
  assertAlgorithm(reference, 'DigestMethod', (name) => DIGEST_METHODS.has(name) || (algorithms.sha1 && SHA1_METHODS.has(name)));
}

function assertAlgorithm(parent: Element, name: string, allowed: (algorithm: string) => boolean): void {
  const [method, ...more] = childrenNamed(parent, DSIG, name);
  if (method === undefined || more.length > 0) throw new SamlRefusal('structure', `a signature has not one ${name}`);
  if (!allowed(method.getAttribute('Algorithm') ?? '')) throw new SamlRefusal('algorithm', `the ${name} is not allowed`);
}

/** Whether a signature belongs to an assertion that is quoted in advice: nobody relies on it, and it may be of any kind. */
function isQuoted(signature: Element, root: Element): boolean {
  const signed = signature.parentNode;
  return signed !== root && signed?.parentNode !== root;
}

/** Advice of the assertion may quote other assertions; HAL9 reads none of them. */
function inResponseOrAdvice(element: Element, root: Element): boolean {
  const parent = element.parentNode;
  if (element === root) return true;
  return (parent === root && isNamed(root, NS.protocol, 'Response')) || isNamed(parent, NS.assertion, 'Advice');
}

/** `xenc:ReferenceList` has references of its own namespaces; they are none of a signature. */
function isForeignReference(element: Element): boolean {
  return element.localName === 'Reference' && element.namespaceURI === NS.encryption;
}

function isNamed(node: unknown, namespace: string, localName: string): boolean {
  return isElement(node) && node.namespaceURI === namespace && node.localName === localName;
}

function isElement(node: unknown): node is Element {
  return typeof node === 'object' && node !== null && 'nodeType' in node && node.nodeType === 1;
}
