import { randomUUID } from 'node:crypto';
import type { Database } from '../../database/database.ts';
import { TeamStore, type TeamChange, type TeamFilter, type TeamRecord, type TeamShare, type TeamTree } from '../../database/teams.ts';
import { UserStore } from '../../database/users.ts';
import { HalError } from '../../schemas/errors.ts';
import { actOf } from '../audit/act.ts';
import type { Authority } from './authority.ts';
import type { Caller } from './caller.ts';
import { shareScopes } from './grants.ts';

export type Team = TeamRecord;

export interface TeamDraft {
  name: string;
  parentId?: string | null | undefined;
  externalId?: string | null | undefined;
  features?: Readonly<Record<string, boolean>> | undefined;
}

/** Teams stand at most so deep below each other, the topmost counted. */
export const DEEPEST_TEAM = 8;

/** Teams of the caller's organisation. Who is in a team has what the team and those above it have. */
export class Teams {
  readonly #store: TeamStore;
  readonly #users: UserStore;
  readonly #authority: Authority;

  constructor(database: Database, authority: Authority) {
    this.#store = new TeamStore(database);
    this.#users = new UserStore(database);
    this.#authority = authority;
  }

  /** Oldest first, at most `limit`; `after` continues a page. */
  async list(caller: Caller, filter: TeamFilter, limit: number, after?: { createdAt: Date; id: string }): Promise<Team[]> {
    return this.#store.list(caller.orgId, filter, limit, after);
  }

  /** @throws {HalError} `NotFound`. */
  async get(caller: Caller, id: string): Promise<Team> {
    const team = await this.#store.find(caller.orgId, id);
    if (team === undefined) throw missing();
    return team;
  }

  /** @throws {HalError} `Conflict` when the name is taken; `InvalidInput` for a parent that is not there or too deep; `Forbidden` when the parent has more than the caller. */
  async create(caller: Caller, draft: TeamDraft): Promise<Team> {
    const id = randomUUID();
    const parentId = draft.parentId ?? null;
    if (parentId !== null) await this.#authority.assertMayGiveTeam(caller, parentId);
    return this.#store.insert(
      caller.orgId,
      { id, name: draft.name, parentId, externalId: draft.externalId ?? null, features: draft.features ?? {} },
      actOf(caller, 'team.create', { kind: 'team', id }, { parentId }),
      (tree) => assertPlace(tree, id, parentId),
    );
  }

  /** @throws {HalError} `NotFound`, and as `create`; `Conflict` when the organisation would lose its last owner. */
  async change(caller: Caller, id: string, change: TeamChange): Promise<Team> {
    const { parentId } = change;
    await this.get(caller, id);
    if (parentId !== undefined) {
      await this.#authority.assertMayTouchTeam(caller, id);
      if (parentId !== null) await this.#authority.assertMayGiveTeam(caller, parentId);
    }
    const act = actOf(caller, 'team.change', { kind: 'team', id }, { fields: Object.keys(change).sort(), ...(parentId === undefined ? {} : { parentId }) });
    const team = await this.#store.change(caller.orgId, id, change, act, (tree) => {
      if (parentId !== undefined) assertPlace(tree, id, parentId);
    });
    if (team === undefined) throw missing();
    return team;
  }

  /** @throws {HalError} `NotFound`; `Conflict` while there are teams below it, or for the last owner's team; `Forbidden` when it may do more than the caller. */
  async remove(caller: Caller, id: string): Promise<void> {
    await this.get(caller, id);
    await this.#authority.assertMayTouchTeam(caller, id);
    if ((await this.#store.children(caller.orgId, id)).length > 0) throw new HalError('Conflict', 'there are teams below this one; move or delete them first');
    if (!(await this.#store.remove(caller.orgId, id, actOf(caller, 'team.delete', { kind: 'team', id })))) throw missing();
  }

  /** Ids of the members of the team itself. @throws {HalError} `NotFound`. */
  async members(caller: Caller, id: string): Promise<string[]> {
    await this.get(caller, id);
    return this.#store.members(caller.orgId, id);
  }

  /**
   * Adds and removes members in one step; who is a member already, or is not, stays so.
   * @throws {HalError} `NotFound` for the team, `InvalidInput` for a user that is not there, `Forbidden` when the team has more than the caller,
   *   `Conflict` for the last owner.
   */
  async changeMembers(caller: Caller, id: string, change: { add?: readonly string[] | undefined; remove?: readonly string[] | undefined }): Promise<void> {
    const { add = [], remove = [] } = change;
    await this.get(caller, id);
    if (add.length > 0) await this.#authority.assertMayGiveTeam(caller, id);
    if (remove.length > 0) await this.#authority.assertMayTouchTeam(caller, id);
    for (const userId of add) {
      if ((await this.#users.find(caller.orgId, userId)) === undefined) throw new HalError('InvalidInput', 'no such user', { errors: [{ path: '/add', message: `${userId} is nobody of this organisation` }] });
    }
    if (add.length === 0 && remove.length === 0) return;
    await this.#store.changeMembers(caller.orgId, id, { add, remove }, actOf(caller, 'team.change-members', { kind: 'team', id }, { added: [...add], removed: [...remove] }));
  }

  /** @throws {HalError} `NotFound`. */
  async shares(caller: Caller, id: string): Promise<TeamShare[]> {
    await this.get(caller, id);
    return this.#store.shares(caller.orgId, id);
  }

  /** Gives the team one resource. @throws {HalError} `NotFound`; `Forbidden` when the caller does not have it. */
  async share(caller: Caller, id: string, share: TeamShare): Promise<void> {
    await this.get(caller, id);
    await this.#authority.assertMayGive(caller, shareScopes(share));
    await this.#store.share(caller.orgId, id, share, actOf(caller, 'team.share', { kind: 'team', id }, { resourceKind: share.kind, resourceId: share.id, access: share.access }));
  }

  /** @throws {HalError} `NotFound`. */
  async unshare(caller: Caller, id: string, share: Pick<TeamShare, 'kind' | 'id'>): Promise<void> {
    await this.get(caller, id);
    const removed = await this.#store.unshare(caller.orgId, id, share, actOf(caller, 'team.unshare', { kind: 'team', id }, { resourceKind: share.kind, resourceId: share.id }));
    if (!removed) throw new HalError('NotFound', 'the team was not given that');
  }

  /**
   * Which features are on for the caller: in each team's line the nearest toggle counts, and a feature is on when it is in one of their
   * teams. Nothing for keys, and for people in an organisation below their own.
   */
  async features(caller: Caller): Promise<Readonly<Record<string, boolean>>> {
    if (caller.actor.kind !== 'user' || (caller.homeOrgId ?? caller.orgId) !== caller.orgId) return {};
    return effectiveFeatures(await this.#store.featureLines(caller.orgId, caller.actor.id));
  }
}

/** @param lines toggles of each team, from the team itself up. */
export function effectiveFeatures(lines: readonly (readonly Readonly<Record<string, boolean>>[])[]): Record<string, boolean> {
  const features: Record<string, boolean> = {};
  for (const line of lines) {
    // What is further away comes first, so that the nearest is written last.
    const merged = Object.assign({}, ...[...line].reverse()) as Record<string, boolean>;
    for (const [feature, on] of Object.entries(merged)) features[feature] = on || features[feature] === true;
  }
  return features;
}

/** @throws {HalError} `InvalidInput` when the team would stand below itself, below nothing, or too deep. */
function assertPlace(tree: TeamTree, id: string, parentId: string | null): void {
  if (parentId === null) return;
  const refuse = (message: string): HalError => new HalError('InvalidInput', 'the team cannot stand there', { errors: [{ path: '/parentId', message }] });
  if (!tree.has(parentId)) throw refuse('no such team');
  let depth = 1;
  for (let above: string | null = parentId; above !== null; above = tree.get(above) ?? null) {
    if (above === id) throw refuse('a team cannot stand below itself');
    depth += 1;
  }
  if (depth + heightBelow(tree, id) > DEEPEST_TEAM) throw refuse(`teams stand at most ${DEEPEST_TEAM} deep`);
}

/** Levels below a team; 0 for one without teams below. */
function heightBelow(tree: TeamTree, id: string): number {
  let height = 0;
  for (let level = [id]; ; height += 1) {
    level = [...tree].filter(([, parent]) => parent !== null && level.includes(parent)).map(([child]) => child);
    if (level.length === 0) return height;
  }
}

function missing(): HalError {
  return new HalError('NotFound', 'no such team');
}
