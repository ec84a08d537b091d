import { noActHere } from '../audit/act.ts';
import type { Logger } from 'pino';
import { z } from 'zod';
import { HalError } from '../../schemas/errors.ts';
import type { SamlSettings } from '../../schemas/rest/identity-providers.ts';
import { AWAY_SECONDS, browserHash, isSameBrowser } from './browser-cookie.ts';
import type { Challenges } from './challenges.ts';
import type { IdentityProviders, OpenProvider } from './identity-providers.ts';
import type { IncomingFacts } from './incoming-facts.ts';
import type { ProviderAnswers } from './provider-answers.ts';
import { samlAddresses } from './provider-kinds.ts';
import { judgeAssertion, type AssertedPerson } from './saml-assertion.ts';
import { SamlRefusal } from './saml-refusal.ts';
import { verifyResponse } from './saml-response.ts';
import { decodeMessage, SamlServiceProvider, type LogoutMessage, type SamlRequest } from './saml-service-provider.ts';
import type { ExternalIdentity } from './sign-in-contract.ts';
import type { SignInPlace } from './sign-in-place.ts';

export interface SamlDependencies {
  readonly providers: IdentityProviders;
  readonly challenges: Challenges;
  readonly answers: ProviderAnswers;
  readonly logger: Pick<Logger, 'info'>;
}

export interface FinishedSamlSignIn {
  readonly identity: ExternalIdentity;
  readonly returnTo: string | undefined;
}

/** What the browser posted to the assertion consumer service. */
export interface PostedResponse {
  readonly response: string;
  readonly relayState: string | undefined;
  /** Value of the browser's cookie. */
  readonly browser: string | undefined;
}

const signInChallenge = z.object({ kind: z.literal('sign-in'), providerId: z.string(), requestId: z.string(), browser: z.string(), returnTo: z.string().optional() });
const logoutChallenge = z.object({ kind: z.literal('logout'), providerId: z.string(), requestId: z.string() });

const REFUSED = 'the answer of the identity provider was not accepted; start the sign-in again';
const TRANSIENT = 'urn:oasis:names:tc:SAML:2.0:nameid-format:transient';

/** Sign-in and single logout with SAML 2.0 (web browser SSO profile 4.1, single logout profile 4.4), HAL9 being the service provider. */
export class SamlSignIn {
  readonly #dependencies: SamlDependencies;

  constructor(dependencies: SamlDependencies) {
    this.#dependencies = dependencies;
  }

  /** The document to enter at the provider. @throws {HalError} `NotFound`. */
  async metadata(place: SignInPlace): Promise<string> {
    return this.#service(await this.#open(place), place).metadata();
  }

  /**
   * Begins a sign-in.
   * @param options `browser`: the random value in the browser's cookie; `returnTo`: path of this site for afterwards.
   * @throws {HalError} `NotFound`.
   */
  async start(place: SignInPlace, options: { browser: string; returnTo: string | undefined }): Promise<SamlRequest> {
    const provider = await this.#open(place);
    const requestId = SamlServiceProvider.requestId();
    const relayState = await this.#dependencies.challenges.create(
      place.orgId,
      'saml',
      { kind: 'sign-in', providerId: place.providerId, requestId, browser: browserHash(options.browser), ...(options.returnTo === undefined ? {} : { returnTo: options.returnTo }) },
      AWAY_SECONDS,
    );
    return this.#service(provider, place).signInRequest(requestId, relayState);
  }

  /**
   * Takes what the provider made the browser post.
   * @throws {HalError} `Unauthenticated`, with one text for all causes; the audit log has the cause. `NotFound`.
   */
  async finish(place: SignInPlace, posted: PostedResponse, facts: IncomingFacts, now = new Date()): Promise<FinishedSamlSignIn> {
    const provider = await this.#open(place);
    try {
      const { requestId, returnTo } = await this.#begun(place, provider, posted);
      const person = await this.#believe(place, provider, posted.response, requestId, now);
      return { identity: identityOf(provider, person), returnTo };
    } catch (error) {
      return await this.#refuse(provider, 'session.refuse', error, facts);
    }
  }

  /**
   * Where to send a browser whose session has just ended, so that the provider ends its own.
   * @param logout what the session kept.
   * @returns undefined when the provider has no single logout, is gone, or the session is not of it.
   */
  async logoutAddress(place: SignInPlace, logout: Readonly<Record<string, string>> | undefined): Promise<URL | undefined> {
    const nameId = logout?.['nameId'];
    if (logout === undefined || nameId === undefined) return undefined;
    let provider;
    try {
      provider = await this.#open(place);
    } catch (error) {
      // The session here has ended; that the provider was removed must not show as a failure.
      if (error instanceof HalError && error.type === 'NotFound') return undefined;
      throw error;
    }
    const requestId = SamlServiceProvider.requestId();
    const relayState = await this.#dependencies.challenges.create(place.orgId, 'saml', { kind: 'logout', providerId: place.providerId, requestId }, AWAY_SECONDS);
    const address = await this.#service(provider, place).logoutRequest(
      requestId,
      { nameId, nameIdFormat: logout['nameIdFormat'], nameQualifier: logout['nameQualifier'], spNameQualifier: logout['spNameQualifier'], sessionIndex: logout['sessionIndex'] },
      relayState,
    );
    return address === undefined ? undefined : new URL(address);
  }

  /**
   * Takes a message of single logout: a request of the provider ends the sessions it names, an answer to ours ends the matter.
   * @param message the query as it came, or the fields of a form.
   * @returns where to send the browser.
   * @throws {HalError} `Unauthenticated` for a message that is not to be believed; `NotFound`.
   */
  async logout(place: SignInPlace, message: { readonly query: string } | { readonly form: URLSearchParams }, facts: IncomingFacts, now = new Date()): Promise<string> {
    const provider = await this.#open(place);
    const service = this.#service(provider, place);
    try {
      const { read, relayState } = await this.#readLogout(service, message, now);
      if (read.kind === 'response') {
        // It answers a sign-out that is on record.
        noActHere('written-with-its-cause');
        await this.#finishLogout(place, read, relayState);
        return place.base;
      }
      if (!(await this.#dependencies.answers.useOnce(place, `logout/${read.id}`, new Date(now.getTime() + 20 * 60_000)))) throw new SamlRefusal('replay', 'the logout request was used before');
      await this.#endSessions(place, read, facts.requestId);
      return (await service.logoutResponse(read.id, relayState)) ?? place.base;
    } catch (error) {
      return await this.#refuse(provider, 'single-logout.refuse', error, facts);
    }
  }

  /** The request that this answers, taken once; for a sign-in that the provider began there is none. */
  async #begun(place: SignInPlace, provider: OpenProvider<SamlSettings>, posted: PostedResponse): Promise<{ requestId: string | undefined; returnTo: string | undefined }> {
    const { relayState, browser } = posted;
    const payload = relayState === undefined ? undefined : await this.#dependencies.challenges.consume(place.orgId, relayState, 'saml');
    if (payload === undefined) {
      if (provider.settings.idpInitiated) return { requestId: undefined, returnTo: undefined };
      throw new SamlRefusal('relay-state', 'no sign-in was begun, or it was finished or has expired');
    }
    const taken = signInChallenge.safeParse(payload);
    if (!taken.success || taken.data.providerId !== place.providerId) throw new SamlRefusal('relay-state', 'of another provider or purpose');
    if (!isSameBrowser(browser, taken.data.browser)) throw new SamlRefusal('browser', 'not the browser that left');
    return { requestId: taken.data.requestId, returnTo: taken.data.returnTo };
  }

  async #believe(place: SignInPlace, provider: OpenProvider<SamlSettings>, response: string, requestId: string | undefined, now: Date): Promise<AssertedPerson> {
    const { settings } = provider;
    const addresses = samlAddresses(place.base, place.providerId);
    const signed = await verifyResponse(decodeMessage(response), {
      certificates: settings.certificates,
      wantResponseSigned: settings.signed === 'response' || settings.signed === 'both',
      wantAssertionsSigned: settings.signed === 'assertion' || settings.signed === 'both',
      allowSha1: settings.allowSha1,
      decryptionKey: settings.serviceKey,
    });
    if (settings.encrypted && !signed.encrypted) throw new SamlRefusal('decryption', 'the assertion is not encrypted');
    const person = judgeAssertion(signed, {
      issuer: settings.entityId,
      audience: addresses.metadata,
      recipient: addresses.assertionConsumer,
      requestId,
      now,
      skewMs: settings.clockSkewSeconds * 1000,
    });
    if (person.nameId.format === TRANSIENT) throw new SamlRefusal('subject', 'a transient name says nothing about who it is');
    // Last, so that a message refused for another reason does not use up the honest one with the same id.
    if (!(await this.#dependencies.answers.useOnce(place, `assertion/${person.assertionId}`, person.expiresAt))) throw new SamlRefusal('replay', 'the assertion was used before');
    return person;
  }

  async #readLogout(service: SamlServiceProvider, message: { readonly query: string } | { readonly form: URLSearchParams }, now: Date): Promise<{ read: LogoutMessage; relayState: string | undefined }> {
    if ('query' in message) return { read: await service.readRedirect(message.query, now), relayState: new URLSearchParams(message.query).get('RelayState') ?? undefined };
    const request = message.form.getAll('SAMLRequest');
    const response = message.form.getAll('SAMLResponse');
    const [encoded] = [...request, ...response];
    if (encoded === undefined || request.length + response.length > 1) throw new SamlRefusal('structure', 'the form has not one message');
    return { read: await service.readPost(request.length === 1 ? 'SAMLRequest' : 'SAMLResponse', encoded, now), relayState: message.form.get('RelayState') ?? undefined };
  }

  async #finishLogout(place: SignInPlace, read: Extract<LogoutMessage, { kind: 'response' }>, relayState: string | undefined): Promise<void> {
    const taken = logoutChallenge.safeParse(relayState === undefined ? undefined : await this.#dependencies.challenges.consume(place.orgId, relayState, 'saml'));
    if (!taken.success || taken.data.providerId !== place.providerId || taken.data.requestId !== read.inResponseTo) throw new SamlRefusal('in-response-to', 'nobody asked for this logout');
  }

  async #endSessions(place: SignInPlace, read: Extract<LogoutMessage, { kind: 'request' }>, requestId: string): Promise<void> {
    const { answers } = this.#dependencies;
    for (const index of read.sessionIndexes) await answers.endSession(place, index, requestId);
    if (read.sessionIndexes.length === 0) await answers.endPerson(place, read.nameId, requestId);
  }

  async #open(place: SignInPlace): Promise<OpenProvider<SamlSettings>> {
    return this.#dependencies.providers.open(place.orgId, place.providerId, 'saml');
  }

  #service(provider: OpenProvider<SamlSettings>, place: SignInPlace): SamlServiceProvider {
    return new SamlServiceProvider(provider.settings, samlAddresses(place.base, place.providerId));
  }

  /** @throws {HalError} `Unauthenticated` after the cause was recorded; anything that is no refusal as it is. */
  async #refuse(provider: OpenProvider, action: string, error: unknown, facts: IncomingFacts): Promise<never> {
    if (!(error instanceof SamlRefusal)) throw error;
    const refusal = { action, actor: { kind: 'anonymous', id: 'browser' }, risk: SUSPICIOUS.has(error.reason) ? 60 : 20, details: { reason: error.reason, detail: error.message } };
    await this.#dependencies.answers.refused({ orgId: provider.orgId, providerId: provider.id }, refusal, facts);
    this.#dependencies.logger.info({ requestId: facts.requestId, providerId: provider.id, reason: error.reason }, 'a SAML message was refused');
    throw new HalError('Unauthenticated', REFUSED, { cause: error });
  }
}

/** Causes that an honest provider and browser hardly ever have. */
const SUSPICIOUS: ReadonlySet<string> = new Set(['doctype', 'structure', 'signature', 'algorithm', 'replay', 'browser', 'recipient', 'audience']);

function identityOf({ orgId, id, settings }: OpenProvider<SamlSettings>, person: AssertedPerson): ExternalIdentity {
  const { attributes, secondFactorContexts } = settings;
  const values = (name: string): readonly string[] => person.attributes.get(name) ?? [];
  const { nameId, sessionIndex } = person;
  const email = values(attributes.email)[0] ?? (nameId.format?.endsWith(':emailAddress') === true ? nameId.value : undefined);
  return {
    orgId,
    providerId: id,
    subject: nameId.value,
    userName: (attributes.userName === undefined ? undefined : values(attributes.userName)[0]) ?? nameId.value,
    userNameProven: true,
    email,
    emailVerified: email !== undefined && settings.trustsEmail,
    displayName: values(attributes.displayName)[0],
    groups: values(attributes.groups),
    secondFactor: person.authnContext !== undefined && secondFactorContexts.includes(person.authnContext),
    logout: {
      nameId: nameId.value,
      ...(nameId.format === undefined ? {} : { nameIdFormat: nameId.format }),
      ...(nameId.nameQualifier === undefined ? {} : { nameQualifier: nameId.nameQualifier }),
      ...(nameId.spNameQualifier === undefined ? {} : { spNameQualifier: nameId.spNameQualifier }),
      ...(sessionIndex === undefined ? {} : { sessionIndex, session: sessionIndex }),
    },
  };
}
