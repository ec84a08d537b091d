import { randomBytes, randomUUID } from 'node:crypto';
import type { Database } from '../../database/database.ts';
import { InvitationStore, type Acceptance, type InvitationRecord } from '../../database/invitations.ts';
import { OrganisationStore } from '../../database/organisations.ts';
import { TeamStore } from '../../database/teams.ts';
import { UserStore } from '../../database/users.ts';
import { HalError } from '../../schemas/errors.ts';
import { actOf } from '../audit/act.ts';
import type { Connections } from '../connections/connections.ts';
import type { Egress } from '../connections/egress.ts';
import type { Authority } from './authority.ts';
import type { Caller } from './caller.ts';
import type { IncomingFacts } from './incoming-facts.ts';
import { mailInvitation } from './invitation-mail.ts';
import type { RoleBook } from './role-book.ts';
import { findRole, scopesOf } from './roles.ts';

export type Invitation = InvitationRecord;

export interface InvitationDraft {
  /** Whom to invite. Becomes the new user's address. */
  email?: string | undefined;
  /** A user without a password, who gets one by accepting; then no roles and teams. */
  userId?: string | undefined;
  roles: readonly string[];
  teamIds: readonly string[];
  /** Days until it cannot be accepted any more. */
  expiresInDays: number;
  /** Name of a connection of kind smtp that carries the mail; without one the link is in the answer only. */
  connection?: string | undefined;
}

export interface CreatedInvitation {
  invitation: Invitation;
  /** Known at this moment only. Undefined when a mail server took it: then it is the addressee's alone. */
  link: string | undefined;
  /** Why no mail left, in plain words; undefined when it did or none was asked for. */
  mailFailure: string | undefined;
}

/** What the page of a link may show. */
export interface OpenInvitation {
  readonly orgId: string;
  readonly organisation: string;
  /** Where to sign in afterwards. */
  readonly slug: string | null;
  /** The user name that is set already, for somebody who only chooses a password. */
  readonly userName: string | null;
  readonly email: string | null;
  readonly expiresAt: Date;
}

export interface InvitationDependencies {
  readonly database: Database;
  readonly authority: Authority;
  readonly book: RoleBook;
  readonly connections: Connections;
  readonly egress: Egress;
  /** Address people reach the API at, without a slash at its end. */
  readonly publicUrl: string;
}

/** Invitations into the caller's organisation: a link with a 256-bit token that makes one account, once. */
export class Invitations {
  readonly #store: InvitationStore;
  readonly #users: UserStore;
  readonly #teams: TeamStore;
  readonly #organisations: OrganisationStore;
  readonly #parts: InvitationDependencies;

  constructor(parts: InvitationDependencies) {
    this.#store = new InvitationStore(parts.database);
    this.#users = new UserStore(parts.database);
    this.#teams = new TeamStore(parts.database);
    this.#organisations = new OrganisationStore(parts.database);
    this.#parts = parts;
  }

  /**
   * Invites somebody. Whether the address has an account already makes no difference here.
   * @throws {HalError} `InvalidInput` for a role, team or user that is not there; `Forbidden` when it would give more than the caller has;
   *   `Conflict` for a user who has a password; `NotFound` for an unknown connection.
   */
  async create(caller: Caller, draft: InvitationDraft, signal: AbortSignal): Promise<CreatedInvitation> {
    await this.#assertMayInvite(caller, draft);
    const mail = draft.connection === undefined || draft.email === undefined ? undefined : { to: draft.email, connection: await this.#parts.connections.open(caller.orgId, draft.connection, ['smtp']) };
    const token = newInvitationToken();
    const id = randomUUID();
    const invitation = await this.#store.insert(
      {
        orgId: caller.orgId,
        id,
        token,
        email: draft.email ?? null,
        userId: draft.userId ?? null,
        roles: draft.roles,
        teamIds: draft.teamIds,
        invitedBy: caller.actor.kind === 'user' ? caller.actor.id : null,
        expiresAt: new Date(Date.now() + draft.expiresInDays * 86_400_000),
      },
      actOf(caller, 'invitation.create', { kind: 'invitation', id }, { roles: draft.roles, teamIds: draft.teamIds, userId: draft.userId ?? null }),
    );
    const link = invitationLink(this.#parts.publicUrl, token);
    if (mail === undefined) return { invitation, link, mailFailure: undefined };
    const organisation = (await this.#organisations.findAcrossOrganisations(caller.orgId))?.name ?? '';
    const failure = await mailInvitation(this.#parts.egress, mail.connection.settings, { id, to: mail.to, organisation, link, expiresAt: invitation.expiresAt }, signal);
    if (failure !== undefined) return { invitation, link, mailFailure: failure.message };
    await this.#store.noteMailed(caller.orgId, id);
    return { invitation: { ...invitation, mailed: true }, link: undefined, mailFailure: undefined };
  }

  /** Newest first, at most `limit`; `before` continues a page. */
  async list(caller: Caller, filter: { open?: boolean | undefined }, limit: number, before?: { createdAt: Date; id: string }): Promise<Invitation[]> {
    return this.#store.list(caller.orgId, filter, limit, before);
  }

  /** @throws {HalError} `NotFound`. */
  async get(caller: Caller, id: string): Promise<Invitation> {
    const invitation = await this.#store.find(caller.orgId, id);
    if (invitation === undefined) throw new HalError('NotFound', 'no such invitation');
    return invitation;
  }

  /** Ends an invitation that nobody accepted; again changes nothing. @throws {HalError} `NotFound`; `Conflict` when it was accepted. */
  async revoke(caller: Caller, id: string): Promise<Invitation> {
    const invitation = await this.get(caller, id);
    if (invitation.acceptedAt !== null) throw new HalError('Conflict', 'somebody has accepted it; deactivate the user instead');
    if (invitation.revokedAt !== null) return invitation;
    const revoked = await this.#store.revoke(caller.orgId, id, actOf(caller, 'invitation.revoke', { kind: 'invitation', id }));
    if (revoked === undefined) throw new HalError('Conflict', 'somebody has accepted it meanwhile; deactivate the user instead');
    return revoked;
  }

  /** What a link is good for; undefined when it is not (any more), with no word on why. For a page that throttles. */
  async open(token: string): Promise<OpenInvitation | undefined> {
    const invitation = await this.#find(token);
    if (invitation === undefined) return undefined;
    const { orgId, organisation, slug, userName, email, expiresAt } = invitation;
    return { orgId, organisation, slug, userName, email, expiresAt };
  }

  /**
   * Makes the account, or gives the named user their password; once.
   * @returns who it is. Signing them in is another matter.
   * @throws {HalError} `NotFound` when the link is not good any more; `Conflict` when the user name is taken, and the link stays good.
   */
  async accept(token: string, acceptance: Acceptance, facts: IncomingFacts): Promise<{ orgId: string; userId: string }> {
    const invitation = await this.#find(token);
    if (invitation === undefined) throw spent();
    const { orgId, id } = invitation;
    if (!(await this.#stillGiven(invitation))) throw spent();
    const accepted = await this.#store.accept(orgId, id, acceptance, (userId) => ({
      orgId,
      action: 'invitation.accept',
      result: 'succeeded',
      actor: { kind: 'user', id: userId },
      resource: { kind: 'invitation', id },
      requestId: facts.requestId,
      risk: 0,
      details: { userId, roles: invitation.roles },
      personal: { address: facts.address, ...(facts.userAgent === undefined ? {} : { userAgent: facts.userAgent }) },
    }));
    if (accepted === undefined) throw spent();
    return { orgId, userId: accepted.userId };
  }

  /** Whether whoever invited could do it still: who has lost their rights meanwhile must not come back by a link that they kept. */
  async #stillGiven({ orgId, invitedBy, roles, teamIds }: Invitation): Promise<boolean> {
    const { authority, book } = this.#parts;
    // By a key, or by somebody of an organisation above, whose rights are not kept here.
    if (invitedBy === null || (await this.#users.find(orgId, invitedBy)) === undefined) return true;
    const own = await book.own(orgId);
    const given = [...roles.flatMap((role) => scopesOf(role, own)), ...(await Promise.all(teamIds.map((teamId) => authority.ofTeam(orgId, teamId)))).flat()];
    return authority.personCovers(orgId, invitedBy, given);
  }

  async #find(token: string) {
    return TOKEN.test(token) ? this.#store.findOpenAcrossOrganisations(token) : undefined;
  }

  async #assertMayInvite(caller: Caller, { userId, roles, teamIds }: InvitationDraft): Promise<void> {
    const { authority, book } = this.#parts;
    if (userId !== undefined) {
      const user = await this.#users.find(caller.orgId, userId);
      if (user === undefined) throw new HalError('InvalidInput', 'no such user', { errors: [{ path: '/userId', message: 'is nobody of this organisation' }] });
      if (user.hasPassword) throw new HalError('Conflict', 'the user has a password');
      await authority.assertMayTouch(caller, userId);
    }
    const own = await book.own(caller.orgId);
    for (const name of roles) {
      const role = findRole(name, own);
      if (role === undefined) throw new HalError('InvalidInput', 'no such role', { errors: [{ path: '/roles', message: `there is no role ${name}` }] });
      await authority.assertMayGiveRole(caller, role, own);
    }
    for (const teamId of teamIds) {
      if ((await this.#teams.find(caller.orgId, teamId)) === undefined) throw new HalError('InvalidInput', 'no such team', { errors: [{ path: '/teamIds', message: `there is no team ${teamId}` }] });
      await authority.assertMayGiveTeam(caller, teamId);
    }
  }
}

/** 32 bytes as base64url. */
const TOKEN = /^[A-Za-z0-9_-]{43}$/;

export function newInvitationToken(): string {
  return randomBytes(32).toString('base64url');
}

/** The page where an invitation is accepted. */
export function invitationLink(publicUrl: string, token: string): string {
  return `${publicUrl}/invitations/${token}`;
}

function spent(): HalError {
  return new HalError('NotFound', 'the invitation was used, was revoked or has expired');
}
