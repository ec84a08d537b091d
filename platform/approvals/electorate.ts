import type { ApprovalRecord } from '../../database/approvals.ts';
import type { Database } from '../../database/database.ts';
import { ElectorateStore } from '../../database/electorate.ts';
import type { Caller } from '../identity/caller.ts';
import { effectiveScopes, Grants } from '../identity/grants.ts';
import { can } from '../identity/permissions.ts';

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** An approval as somebody sees it. */
export interface ApprovalView extends ApprovalRecord {
  /** Who may still answer, in words for people; empty once it is closed. */
  readonly waitsFor: readonly string[];
  /** Whether who asks may still answer. */
  readonly mayAnswer: boolean;
}

/** A caller and the person behind them, as far as approvals care. */
interface Voter {
  readonly caller: Caller;
  /** `<kind>:<id>` of all that the caller is: a key and the person it was made for are one, and so is who acts as somebody else. */
  readonly selves: ReadonlySet<string>;
  readonly teams: readonly string[];
  /** Roles whose conditions hold now. */
  readonly roles: readonly string[];
}

/** Who may answer an approval. */
export class Electorate {
  readonly #store: ElectorateStore;
  readonly #grants: Grants;

  constructor(database: Database) {
    this.#store = new ElectorateStore(database);
    this.#grants = new Grants(database);
  }

  /** Why the caller may not give the answer; undefined when they may. Who asked may always refuse. */
  async refusal(caller: Caller, approval: ApprovalRecord, approved: boolean): Promise<string | undefined> {
    return this.#refusal(await this.#voter(caller), approval, approved);
  }

  /** Approvals as the caller sees them: who may still answer, and whether they may. */
  async shown(caller: Caller, approvals: readonly ApprovalRecord[]): Promise<ApprovalView[]> {
    if (approvals.length === 0) return [];
    const named = approvals.flatMap(({ approvers, state }) => (approvers === null || state !== 'open' ? [] : [approvers]));
    const [voter, names] = await Promise.all([this.#voter(caller), this.#store.names(caller.orgId, named.flatMap(({ teams }) => teams), named.flatMap(({ users }) => users))]);
    return Promise.all(
      approvals.map(async (approval) => ({
        ...approval,
        waitsFor: approval.state === 'open' ? waitsFor(approval, names) : [],
        mayAnswer: approval.state === 'open' && !approval.answers.some(({ approver }) => voter.selves.has(`${approver.kind}:${approver.id}`)) && (await this.#refusal(voter, approval, true)) === undefined,
      })),
    );
  }

  async #refusal(voter: Voter, { permission, approvers, requester, allowRequester }: ApprovalRecord, approved: boolean): Promise<string | undefined> {
    if (!can(voter.caller, permission)) return `needs the permission ${permission}`;
    if (requester !== null && (!allowRequester || !approved) && (voter.selves.has(requester) || (await this.#isBehind(voter, requester)))) return approved ? 'who asked may not approve' : undefined;
    if (approvers === null) return undefined;
    const { actor } = voter.caller;
    const isOne = actor.kind === 'user' && (approvers.users.includes(actor.id) || approvers.teams.some((team) => voter.teams.includes(team)) || approvers.roles.some((role) => voter.roles.includes(role)));
    return isOne ? undefined : 'only the approvers it names may answer, and as themselves, not by a key';
  }

  /** Whether the requester is a key that was made for the voter. */
  async #isBehind({ caller, selves }: Voter, requester: string): Promise<boolean> {
    const [kind = '', id = ''] = requester.split(/:(.*)/s);
    if ((kind !== 'api-key' && kind !== 'service') || !UUID.test(id)) return false;
    const maker = await this.#store.makerOfKey(caller.orgId, id);
    return maker !== undefined && selves.has(`user:${maker}`);
  }

  async #voter(caller: Caller): Promise<Voter> {
    const { orgId, homeOrgId = orgId, actor, impersonatorId, client, risk = 0 } = caller;
    const selves = new Set([`${actor.kind}:${actor.id}`, ...(impersonatorId === undefined ? [] : [`user:${impersonatorId}`])]);
    if ((actor.kind === 'api-key' || actor.kind === 'service') && UUID.test(actor.id)) {
      const maker = await this.#store.makerOfKey(orgId, actor.id);
      if (maker !== undefined) selves.add(`user:${maker}`);
    }
    if (actor.kind !== 'user') return { caller, selves, teams: [], roles: [] };
    // Teams are those of one organisation: nobody from above is in one.
    const [teams, grants] = await Promise.all([homeOrgId === orgId ? this.#store.teamsOf(orgId, actor.id) : [], this.#grants.of(homeOrgId, actor.id, orgId)]);
    const circumstances = { at: new Date(), address: client?.address, risk };
    const roles = (grants?.grants ?? []).flatMap((grant) => (grant.role !== undefined && effectiveScopes({ grants: [grant] }, circumstances).length > 0 ? [grant.role] : []));
    return { caller, selves, teams, roles };
  }
}

function waitsFor({ approvers, permission, answers }: ApprovalRecord, names: ReadonlyMap<string, string>): string[] {
  if (approvers === null) return [`whoever has the permission ${permission}`];
  const answered = new Set(answers.map(({ approver }) => approver.id));
  return [...approvers.roles.map((role) => `role ${role}`), ...approvers.teams.map((id) => `team ${names.get(id) ?? id}`), ...approvers.users.filter((id) => !answered.has(id)).map((id) => names.get(id) ?? id)];
}
