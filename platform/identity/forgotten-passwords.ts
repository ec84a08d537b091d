import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import type { Act } from '../../database/audit-acts.ts';
import type { Database } from '../../database/database.ts';
import { PasswordMailStore, type PasswordMailRecord } from '../../database/password-mails.ts';
import { SignInStore, type SignInOrganisation } from '../../database/sign-ins.ts';
import { HalError } from '../../schemas/errors.ts';
import type { Connections } from '../connections/connections.ts';
import { Egress } from '../connections/egress.ts';
import type { OutsideFailure } from '../connections/failure.ts';
import type { KeyRing } from '../keys/key-ring.ts';
import type { Grants } from './grants.ts';
import type { IncomingFacts } from './incoming-facts.ts';
import { oneLine, post, type MailServer } from './mail.ts';
import { LINK_SECONDS, type PasswordLinks } from './password-links.ts';
import { personalOf } from './sessions.ts';
import type { SignInThrottle } from './sign-in-throttle.ts';

const PURPOSE = 'password-mails';
/** Between two tries at a mail server that is away, seconds. */
const MOST_SECONDS = 300;

const content = z.object({ typed: z.string(), letter: z.object({ userId: z.string(), to: z.string(), subject: z.string(), lines: z.array(z.string()) }).optional() });
type Content = z.output<typeof content>;

export interface ForgottenPasswordDependencies {
  readonly database: Database;
  readonly keys: KeyRing;
  readonly throttle: Pick<SignInThrottle, 'beginAt' | 'mayMail'>;
  /** HAL9_MAIL_URL, for organisations that name no connection of their own. */
  readonly mailServer: MailServer | undefined;
}

/** Takes requests for a mail about a forgotten password, and says nothing about who there is. */
export class ForgottenPasswords {
  readonly #store: PasswordMailStore;
  readonly #signIns: SignInStore;
  readonly #parts: ForgottenPasswordDependencies;

  constructor(parts: ForgottenPasswordDependencies) {
    this.#store = new PasswordMailStore(parts.database);
    this.#signIns = new SignInStore(parts.database);
    this.#parts = parts;
  }

  /** Whether mail can leave for the people of the organisation. */
  offers({ policy }: Pick<SignInOrganisation, 'policy'>): boolean {
    return policy.mailConnection !== null || this.#parts.mailServer !== undefined;
  }

  /**
   * @param organisation slug or id.
   * @param typed user name or address, of whoever it is.
   * @throws {HalError} `NotFound` for an unknown organisation, `Conflict` where no mail can leave; `RateLimited` by address. Nothing that
   *   depends on the person.
   */
  async ask(organisation: string, typed: string, facts: IncomingFacts): Promise<void> {
    await this.#parts.throttle.beginAt(facts.address);
    const found = await this.#signIns.findOrganisationAcrossOrganisations(organisation.toLowerCase());
    if (found === undefined || found.suspended) throw new HalError('NotFound', 'no organisation of this name');
    if (!this.offers(found)) throw new HalError('Conflict', 'no mail server is set up here; ask an administrator for a link');
    const { orgId } = found;
    const id = randomUUID();
    const act = actFor(orgId, 'password.request-reset', { kind: 'nobody', id: 'nobody' }, facts.requestId);
    const personal = { ...personalOf(facts), userName: typed };
    // Whoever asks too often hears the same: otherwise the limit would tell what others asked for.
    if (!(await this.#parts.throttle.mayMail(orgId, typed))) return this.#signIns.recordRefusal({ ...act, result: 'refused', details: { reason: 'too-often' }, personal });
    await this.#store.ask({ orgId, id, sealed: seal(this.#parts.keys, orgId, id, { typed }), expiresAt: new Date(Date.now() + LINK_SECONDS * 1000) }, { ...act, personal });
  }
}

export interface PasswordMailerDependencies {
  readonly database: Database;
  readonly keys: KeyRing;
  readonly grants: Grants;
  readonly links: PasswordLinks;
  readonly connections: Pick<Connections, 'open'>;
  readonly egress: Egress;
  readonly mailServer: MailServer | undefined;
  /** Where people reach HAL9, without a slash at the end. */
  readonly publicUrl: string;
}

/** Writes and sends the mails that were asked for. */
export class PasswordMailer {
  readonly #store: PasswordMailStore;
  readonly #signIns: SignInStore;
  readonly #parts: PasswordMailerDependencies;
  /** The installation's own mail server may stand beside it: whoever writes its settings may reach what they like. */
  readonly #beside = new Egress({ allowPrivate: true });

  constructor(parts: PasswordMailerDependencies) {
    this.#store = new PasswordMailStore(parts.database);
    this.#signIns = new SignInStore(parts.database);
    this.#parts = parts;
  }

  /** Sends what is due. @returns how many were looked at. */
  async run(limit: number, signal: AbortSignal): Promise<number> {
    const due = await this.#store.takeAcrossOrganisations(limit);
    await Promise.all(due.map((mail) => this.#send(mail, signal)));
    return due.length;
  }

  async #send(mail: PasswordMailRecord, signal: AbortSignal): Promise<void> {
    const { orgId, id } = mail;
    const organisation = await this.#signIns.findOrganisationAcrossOrganisations(orgId);
    const letter = organisation === undefined || mail.expiresAt <= new Date() ? undefined : await this.#letterOf(mail, organisation);
    if (organisation === undefined || letter === undefined) return this.#store.finish(orgId, id, undefined);
    const failure = await this.#post(organisation, { id, ...letter }, signal);
    const act = actFor(orgId, 'password.mail-reset', { kind: 'system', id: 'dispatcher' }, id);
    const about = { ...act, resource: { kind: 'user', id: letter.userId } };
    if (failure === undefined) await this.#store.finish(orgId, id, about);
    else if (failure.retryable) await this.#store.retry(orgId, id, Math.min(MOST_SECONDS, Math.max(failure.retryAfterSeconds ?? 0, 2 ** mail.attempts)));
    else await this.#store.finish(orgId, id, { ...about, result: 'failed', details: { reason: failure.message } });
  }

  /** The letter as it was written in the first try. @returns undefined when nobody is meant. */
  async #letterOf({ orgId, id, sealed }: PasswordMailRecord, organisation: SignInOrganisation): Promise<Content['letter']> {
    const { typed, letter } = content.parse(JSON.parse(this.#parts.keys.open(orgId, PURPOSE, sealed, id).toString('utf8')));
    if (letter !== undefined) return letter;
    const written = await this.#write(organisation, typed);
    if (written !== undefined) await this.#store.keep(orgId, id, seal(this.#parts.keys, orgId, id, { typed, letter: written }));
    return written;
  }

  async #write({ orgId, name, slug, policy }: SignInOrganisation, typed: string): Promise<Content['letter']> {
    const person = await this.#store.addressee(orgId, typed);
    // Nobody who could not sign in afterwards.
    if (person === undefined || (await this.#parts.grants.of(orgId, person.id)) === undefined) return undefined;
    const to = { userId: person.id, to: person.email };
    const ignore = 'If you did not ask for this, do nothing: nothing has changed.';
    if (person.passwordHash === null || !policy.passwords) {
      return { ...to, subject: 'How you sign in to HAL9', lines: [`You have no password for ${oneLine(name)} on HAL9: you sign in at your identity provider, here:`, '', `${this.#parts.publicUrl}/sign-in/${slug ?? orgId}`, '', ignore] };
    }
    const { link, expiresAt } = await this.#parts.links.make(orgId, person.id, person.passwordHash);
    return { ...to, subject: 'A new password for HAL9', lines: [`Set a new password for ${oneLine(name)} on HAL9:`, '', link, '', `The link works once, until ${expiresAt.toUTCString()}. All your sessions end then; second factors stay.`, ignore] };
  }

  async #post({ orgId, policy }: SignInOrganisation, letter: { readonly id: string } & NonNullable<Content['letter']>, signal: AbortSignal): Promise<OutsideFailure | undefined> {
    const { connections, egress, mailServer } = this.#parts;
    if (policy.mailConnection === null) return mailServer === undefined ? { message: 'no mail server is set up', retryable: false } : post(this.#beside, mailServer, letter, signal);
    try {
      return await post(egress, (await connections.open(orgId, policy.mailConnection, ['smtp'])).settings, letter, signal);
    } catch (error) {
      if (error instanceof HalError) return { message: error.message, retryable: error.failure.retryable };
      throw error;
    }
  }
}

function seal(keys: KeyRing, orgId: string, id: string, sealed: Content): Buffer {
  return keys.seal(orgId, PURPOSE, JSON.stringify(sealed), id);
}

function actFor(orgId: string, action: string, actor: Act['actor'], requestId: string): Act {
  return { orgId, action, result: 'succeeded', actor, resource: { kind: 'user', id: 'unknown' }, requestId, risk: 0, details: {}, personal: {} };
}
