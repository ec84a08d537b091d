import type { Element } from '@xmldom/xmldom';
import { childElements, childrenNamed, NS, textOf } from './saml-document.ts';
import { SamlRefusal } from './saml-refusal.ts';
import type { SignedResponse } from './saml-response.ts';

/** What this service provider demands of an assertion. */
export interface SamlExpectations {
  /** Entity id of the provider. */
  readonly issuer: string;
  /** HAL9's entity id towards it. */
  readonly audience: string;
  /** The assertion consumer service the response was posted to. */
  readonly recipient: string;
  /** Id of the request it answers; undefined for a sign-in that the provider began, which must then answer none. */
  readonly requestId: string | undefined;
  readonly now: Date;
  /** How far the provider's clock may be off, milliseconds. */
  readonly skewMs: number;
}

/** What an assertion says of a person, all of it signed. */
export interface AssertedPerson {
  readonly assertionId: string;
  readonly nameId: { readonly value: string; readonly format: string | undefined; readonly nameQualifier: string | undefined; readonly spNameQualifier: string | undefined };
  readonly sessionIndex: string | undefined;
  /** When the provider's session ends, if it says so. */
  readonly sessionEndsAt: Date | undefined;
  readonly authnContext: string | undefined;
  /** Values by the attribute's name, in order. */
  readonly attributes: ReadonlyMap<string, readonly string[]>;
  /** When the assertion stops being acceptable, skew included; it is remembered as used until then. */
  readonly expiresAt: Date;
}

const BEARER = 'urn:oasis:names:tc:SAML:2.0:cm:bearer';
/** An assertion older than this is refused whatever it says itself, milliseconds. */
const MAX_AGE_MS = 10 * 60_000;
const VALUE_LIMIT = 5000;
const TEXT_LIMIT = 4096;

/**
 * Judges a signed assertion as SAML 2.0 profiles 4.1.4.2 and 4.1.4.3 ask of a service provider.
 * @throws {SamlRefusal} naming the first thing that is wrong.
 */
export function judgeAssertion({ assertion, response }: SignedResponse, expected: SamlExpectations): AssertedPerson {
  if (response.issuer !== undefined && response.issuer !== expected.issuer) throw new SamlRefusal('issuer', 'the response is of another provider');
  if (response.destination !== undefined && response.destination !== expected.recipient) throw new SamlRefusal('destination', 'the response was meant for another address');
  if (response.inResponseTo !== expected.requestId) throw answersWrong(response.inResponseTo);
  if (assertion.getAttribute('Version') !== '2.0') throw new SamlRefusal('structure', 'the assertion is not of SAML 2.0');
  const assertionId = assertion.getAttribute('ID') ?? '';
  if (assertionId === '') throw new SamlRefusal('structure', 'the assertion has no id');
  if (textOf(only(assertion, 'Issuer', 'issuer')) !== expected.issuer) throw new SamlRefusal('issuer', 'the assertion is of another provider');
  assertTimely(assertion, expected.now, expected.skewMs);
  const issuedAt = instant(assertion.getAttribute('IssueInstant'));
  if (issuedAt === undefined || issuedAt.getTime() > expected.now.getTime() + expected.skewMs) throw new SamlRefusal('time', 'the assertion was issued in the future');
  if (issuedAt.getTime() + MAX_AGE_MS + expected.skewMs <= expected.now.getTime()) throw new SamlRefusal('time', 'the assertion is too old');
  assertAudience(only(assertion, 'Conditions', 'condition'), expected.audience);
  const subject = only(assertion, 'Subject', 'subject');
  const confirmedUntil = assertConfirmed(subject, expected);
  const statement = childrenNamed(assertion, NS.assertion, 'AuthnStatement')[0];
  if (statement === undefined) throw new SamlRefusal('subject', 'the assertion does not say that somebody signed in');
  const sessionEndsAt = instant(statement.getAttribute('SessionNotOnOrAfter'));
  if (sessionEndsAt !== undefined && sessionEndsAt.getTime() + expected.skewMs <= expected.now.getTime()) throw new SamlRefusal('time', 'the session at the provider has ended');
  return {
    assertionId,
    nameId: nameIdOf(subject),
    sessionIndex: statement.getAttribute('SessionIndex') ?? undefined,
    sessionEndsAt,
    authnContext: childrenNamed(statement, NS.assertion, 'AuthnContext').flatMap((context) => childrenNamed(context, NS.assertion, 'AuthnContextClassRef')).map(textOf)[0],
    attributes: attributesOf(assertion),
    expiresAt: new Date(Math.min(confirmedUntil.getTime(), issuedAt.getTime() + MAX_AGE_MS) + expected.skewMs),
  };
}

/**
 * The times of an assertion's conditions and of its subject's confirmation.
 * @param skewMs how far the provider's clock may be off, milliseconds.
 * @throws {SamlRefusal} `time` when it is not valid yet or any more.
 */
export function assertTimely(assertion: Element, now: Date, skewMs: number): void {
  for (const conditions of childrenNamed(assertion, NS.assertion, 'Conditions')) assertWithin(conditions, now, skewMs);
  const data = childrenNamed(assertion, NS.assertion, 'Subject')
    .flatMap((subject) => childrenNamed(subject, NS.assertion, 'SubjectConfirmation'))
    .flatMap((confirmation) => childrenNamed(confirmation, NS.assertion, 'SubjectConfirmationData'));
  if (data.length > 0 && !data.some((one) => isWithin(one, now, skewMs))) throw new SamlRefusal('time', 'the confirmation of the subject is not valid now');
}

function assertWithin(element: Element, now: Date, skewMs: number): void {
  if (!isWithin(element, now, skewMs)) throw new SamlRefusal('time', 'the assertion is not valid now');
}

function isWithin(element: Element, now: Date, skewMs: number): boolean {
  const from = instant(element.getAttribute('NotBefore'));
  const until = instant(element.getAttribute('NotOnOrAfter'));
  return (from === undefined || from.getTime() <= now.getTime() + skewMs) && (until === undefined || until.getTime() + skewMs > now.getTime());
}

function assertAudience(conditions: Element, audience: string): void {
  const restrictions = childrenNamed(conditions, NS.assertion, 'AudienceRestriction');
  if (restrictions.length === 0) throw new SamlRefusal('audience', 'the assertion is for anybody');
  for (const restriction of restrictions) {
    const audiences = childrenNamed(restriction, NS.assertion, 'Audience').map(textOf);
    if (!audiences.includes(audience)) throw new SamlRefusal('audience', 'the assertion is for another service');
  }
  for (const condition of childElements(conditions)) {
    const known = condition.namespaceURI === NS.assertion && ['AudienceRestriction', 'OneTimeUse', 'ProxyRestriction'].includes(condition.localName ?? '');
    // A condition that is not understood makes an assertion invalid (SAML core 2.5.1.1).
    if (!known) throw new SamlRefusal('condition', 'the assertion has a condition HAL9 does not know');
  }
}

/** @returns until when the assertion may be presented. */
function assertConfirmed(subject: Element, expected: SamlExpectations): Date {
  let refusal = new SamlRefusal('subject', 'the subject is not confirmed for a bearer');
  for (const confirmation of childrenNamed(subject, NS.assertion, 'SubjectConfirmation')) {
    if (confirmation.getAttribute('Method') !== BEARER) continue;
    const [data, ...more] = childrenNamed(confirmation, NS.assertion, 'SubjectConfirmationData');
    if (data === undefined || more.length > 0) continue;
    const until = instant(data.getAttribute('NotOnOrAfter'));
    const answers = data.getAttribute('InResponseTo') ?? undefined;
    if (data.getAttribute('Recipient') !== expected.recipient) refusal = new SamlRefusal('recipient', 'the assertion was meant for another address');
    else if (until === undefined || !isWithin(data, expected.now, expected.skewMs)) refusal = new SamlRefusal('time', 'the confirmation of the subject is not valid now');
    else if (answers !== expected.requestId) refusal = answersWrong(answers);
    else return until;
  }
  throw refusal;
}

function answersWrong(given: string | undefined): SamlRefusal {
  return given === undefined ? new SamlRefusal('unsolicited', 'the response answers no request') : new SamlRefusal('in-response-to', 'the response answers another request');
}

function nameIdOf(subject: Element): AssertedPerson['nameId'] {
  const element = only(subject, 'NameID', 'subject');
  const value = textOf(element);
  if (value === '' || value.length > 1024 || /\p{Cc}/u.test(value)) throw new SamlRefusal('subject', 'the assertion names nobody');
  return {
    value,
    format: element.getAttribute('Format') ?? undefined,
    nameQualifier: element.getAttribute('NameQualifier') ?? undefined,
    spNameQualifier: element.getAttribute('SPNameQualifier') ?? undefined,
  };
}

function attributesOf(assertion: Element): Map<string, string[]> {
  const found = new Map<string, string[]>();
  let values = 0;
  for (const statement of childrenNamed(assertion, NS.assertion, 'AttributeStatement')) {
    for (const attribute of childrenNamed(statement, NS.assertion, 'Attribute')) {
      const name = attribute.getAttribute('Name') ?? '';
      for (const value of childrenNamed(attribute, NS.assertion, 'AttributeValue')) {
        values += 1;
        if (values > VALUE_LIMIT) throw new SamlRefusal('too-large', 'the assertion has too many attributes');
        const text = textOf(value);
        if (text === '' || text.length > TEXT_LIMIT) continue;
        const list = found.get(name);
        if (list === undefined) found.set(name, [text]);
        else list.push(text);
      }
    }
  }
  return found;
}

function only(parent: Element, name: string, reason: 'issuer' | 'condition' | 'subject'): Element {
  const [element, ...more] = childrenNamed(parent, NS.assertion, name);
  if (element === undefined || more.length > 0) throw new SamlRefusal(reason, `the assertion has not exactly one ${name}`);
  return element;
}

/** `xs:dateTime` in UTC, as SAML core 1.3.3 asks. @throws {SamlRefusal} `time` for any other text. */
export function instant(text: string | null): Date | undefined {
  if (text === null) return undefined;
  const at = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/.test(text) ? new Date(text) : undefined;
  if (at === undefined || Number.isNaN(at.getTime())) throw new SamlRefusal('time', 'a time is malformed');
  return at;
}
