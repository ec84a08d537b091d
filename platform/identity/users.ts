import { randomUUID } from 'node:crypto';
import type { Database } from '../../database/database.ts';
import { UserStore, type UserChange, type UserFilter, type UserRecord } from '../../database/users.ts';
import { HalError } from '../../schemas/errors.ts';
import { actOf } from '../audit/act.ts';
import type { Authority } from './authority.ts';
import type { Caller } from './caller.ts';

export type User = UserRecord;

export interface UserDraft {
  userName: string;
  email?: string | null | undefined;
  /** Whether somebody trustworthy says that the address is theirs; default false. */
  emailVerified?: boolean | undefined;
  displayName?: string | null | undefined;
  externalId?: string | null | undefined;
  /** Default true. */
  active?: boolean | undefined;
}

/** People of the caller's organisation. A person made here has no password: an invitation lets them choose one, or they sign in elsewhere. */
export class Users {
  readonly #store: UserStore;
  readonly #authority: Authority;

  constructor(database: Database, authority: Authority) {
    this.#store = new UserStore(database);
    this.#authority = authority;
  }

  /** Oldest first, at most `limit`; `after` continues a page. */
  async list(caller: Caller, filter: UserFilter, limit: number, after?: { createdAt: Date; id: string }): Promise<User[]> {
    return this.#store.list(caller.orgId, filter, limit, after);
  }

  /** @throws {HalError} `NotFound`. */
  async get(caller: Caller, id: string): Promise<User> {
    return found(await this.#store.find(caller.orgId, id));
  }

  /** @throws {HalError} `Conflict` when the user name is taken. */
  async create(caller: Caller, draft: UserDraft): Promise<User> {
    const id = randomUUID();
    return this.#store.insert(
      caller.orgId,
      {
        id,
        userName: draft.userName,
        email: draft.email ?? null,
        emailVerified: draft.emailVerified ?? false,
        displayName: draft.displayName ?? null,
        externalId: draft.externalId ?? null,
        active: draft.active ?? true,
      },
      actOf(caller, 'user.create', { kind: 'user', id }),
    );
  }

  /**
   * Changes what is given. A new address is unverified unless the change says otherwise.
   * @throws {HalError} `NotFound`; `Conflict` for a name that is taken or the last owner; `Forbidden` when the person may do more than the caller.
   */
  async change(caller: Caller, id: string, change: UserChange): Promise<User> {
    const before = await this.get(caller, id);
    await this.#authority.assertMayTouch(caller, id);
    const moved = change.email !== undefined && change.email !== before.email;
    const complete = moved && change.emailVerified === undefined ? { ...change, emailVerified: false } : change;
    const action = change.active === undefined || change.active === before.active ? 'user.change' : change.active ? 'user.activate' : 'user.deactivate';
    return found(await this.#store.change(caller.orgId, id, complete, actOf(caller, action, { kind: 'user', id }, { fields: Object.keys(change).sort() })));
  }

  /**
   * Ends everything of theirs within a second: sessions, keys, the invitations they sent.
   * @throws {HalError} as `change`.
   */
  async deactivate(caller: Caller, id: string): Promise<User> {
    return this.change(caller, id, { active: false });
  }

  /** Lets them sign in again; keys they had stay revoked. @throws {HalError} as `change`. */
  async activate(caller: Caller, id: string): Promise<User> {
    return this.change(caller, id, { active: true });
  }

  /** @throws {HalError} as `change`. */
  async remove(caller: Caller, id: string): Promise<void> {
    await this.get(caller, id);
    await this.#authority.assertMayTouch(caller, id);
    if (!(await this.#store.remove(caller.orgId, id, actOf(caller, 'user.delete', { kind: 'user', id })))) throw missing();
  }
}

function found(user: User | undefined): User {
  if (user === undefined) throw missing();
  return user;
}

function missing(): HalError {
  return new HalError('NotFound', 'no such user');
}
