import type { Database } from '../../database/database.ts';
import { UserStore } from '../../database/users.ts';
import { HalError } from '../../schemas/errors.ts';
import { actOf } from '../audit/act.ts';
import type { Caller } from './caller.ts';
import type { Grants } from './grants.ts';
import type { IncomingFacts } from './incoming-facts.ts';
import { covers } from './permissions.ts';
import type { OpenedSession, Sessions } from './sessions.ts';

export interface ImpersonationDependencies {
  readonly database: Database;
  readonly grants: Grants;
  readonly sessions: Pick<Sessions, 'open'>;
}

/**
 * Acting as somebody else, to see what they see. The session ends after an hour at most, every act in it names both, and at no time it may
 * more than either of them (`intersect`).
 */
export class Impersonation {
  readonly #users: UserStore;
  readonly #grants: Grants;
  readonly #sessions: Pick<Sessions, 'open'>;

  constructor({ database, grants, sessions }: ImpersonationDependencies) {
    this.#users = new UserStore(database);
    this.#grants = grants;
    this.#sessions = sessions;
  }

  /**
   * Opens a session as a user of the organisation the caller acts in.
   * @param reason stands in the audit log.
   * @throws {HalError} `NotFound`; `Forbidden` for a key or service, for somebody who acts as another already, for oneself, an owner, or a
   *   person who may do more; `Conflict` when the person is inactive.
   */
  async begin(caller: Caller, userId: string, reason: string, facts: IncomingFacts): Promise<OpenedSession> {
    if (caller.actor.kind !== 'user') throw new HalError('Forbidden', 'only a person may act as another');
    if (caller.impersonatorId !== undefined) throw new HalError('Forbidden', 'you act as somebody else already');
    if (caller.actor.id === userId) throw new HalError('Forbidden', 'this is you');
    const user = await this.#users.find(caller.orgId, userId);
    if (user === undefined) throw new HalError('NotFound', 'no such user');
    if (!user.active) throw new HalError('Conflict', 'the user is inactive');
    const theirs = await this.#grants.atMost(caller.orgId, userId);
    if (theirs.includes('*')) throw new HalError('Forbidden', 'nobody acts as an owner');
    if (theirs.some((scope) => !covers(caller.scopes, scope))) throw new HalError('Forbidden', 'the person may do more than you');
    return this.#sessions.open(
      {
        orgId: caller.orgId,
        userId,
        method: 'impersonation',
        secondFactor: false,
        risk: caller.risk ?? 0,
        impersonator: { orgId: caller.homeOrgId ?? caller.orgId, userId: caller.actor.id },
      },
      facts,
      actOf(caller, 'user.impersonate', { kind: 'user', id: userId }, { userId, reason }),
    );
  }
}
