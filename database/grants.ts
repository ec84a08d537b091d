import type { Database } from './database.ts';

/** What decides a person's rights, as stored: nothing is judged yet. */
export interface GrantRecord {
  readonly active: boolean;
  /** The organisation acted in and those above it, nearest first. */
  readonly line: readonly string[];
  /** Whether one of the line is suspended. */
  readonly suspended: boolean;
  /** Of the person, of their teams and of the teams above those. */
  readonly bindings: readonly { id: string; role: string; conditions: unknown }[];
  /** The home organisation's own roles. */
  readonly roles: readonly { name: string; description: string; inherits: string[]; scopes: string[]; reachesDescendants: boolean }[];
  /** What their teams were given; empty in another organisation than the home one. */
  readonly shares: readonly { kind: string; id: string; access: 'read' | 'write' }[];
}

/** Deeper lines than these are never made; reading stops there whatever the rows say. */
const DEEPEST = 32;

const READ = `
with recursive line as (
  select org_id, parent_id, suspended_at, 0 as depth from organisations where org_id = $3
  union all
  select o.org_id, o.parent_id, o.suspended_at, l.depth + 1 from line l join organisations o on o.org_id = l.parent_id where l.depth < ${DEEPEST}
),
own_teams as (
  select t.id, t.parent_id, 0 as depth from team_members m join teams t on t.org_id = m.org_id and t.id = m.team_id where m.org_id = $1 and m.user_id = $2
  union
  select t.id, t.parent_id, o.depth + 1 from own_teams o join teams t on t.org_id = $1 and t.id = o.parent_id where o.depth < ${DEEPEST}
)
select
  exists (select from users where org_id = $1 and id = $2 and active) as active,
  (select array_agg(org_id order by depth) from line) as line,
  exists (select from line where suspended_at is not null) as suspended,
  (select coalesce(jsonb_agg(jsonb_build_object('id', b.id, 'role', b.role, 'conditions', b.conditions)), '[]')
   from role_bindings b where b.org_id = $1 and (b.user_id = $2 or b.team_id in (select id from own_teams))) as bindings,
  (select coalesce(jsonb_agg(jsonb_build_object('name', r.name, 'description', r.description, 'inherits', r.inherits, 'scopes', r.scopes, 'reachesDescendants', r.reaches_descendants)), '[]')
   from roles r where r.org_id = $1) as roles,
  (select coalesce(jsonb_agg(jsonb_build_object('kind', s.resource_kind, 'id', s.resource_id, 'access', s.access)), '[]')
   from team_shares s where $1 = $3 and s.org_id = $1 and s.team_id in (select id from own_teams)) as shares`;

const READ_TEAM = `
with recursive line as (
  select t.id, t.parent_id, 0 as depth from teams t where t.org_id = $1 and t.id = $2
  union
  select t.id, t.parent_id, l.depth + 1 from line l join teams t on t.org_id = $1 and t.id = l.parent_id where l.depth < ${DEEPEST}
)
select
  (select coalesce(jsonb_agg(jsonb_build_object('id', b.id, 'role', b.role, 'conditions', b.conditions)), '[]')
   from role_bindings b where b.org_id = $1 and b.team_id in (select id from line)) as bindings,
  (select coalesce(jsonb_agg(jsonb_build_object('name', r.name, 'description', r.description, 'inherits', r.inherits, 'scopes', r.scopes, 'reachesDescendants', r.reaches_descendants)), '[]')
   from roles r where r.org_id = $1) as roles,
  (select coalesce(jsonb_agg(jsonb_build_object('kind', s.resource_kind, 'id', s.resource_id, 'access', s.access)), '[]')
   from team_shares s where s.org_id = $1 and s.team_id in (select id from line)) as shares`;

/** Reads what decides rights. Crosses organisations, because a person may act below their own. */
export class GrantStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** In one statement. Nobody and nothing found is an inactive record with an empty line. */
  async readAcrossOrganisations(homeOrgId: string, userId: string, targetOrgId: string): Promise<GrantRecord> {
    const { rows } = await this.#database.systemPool.query<Omit<GrantRecord, 'line'> & { line: string[] | null }>({ name: 'grants', text: READ, values: [homeOrgId, userId, targetOrgId] });
    const [row] = rows;
    if (row === undefined) throw new Error('a statement of subqueries answers one row');
    return { ...row, line: row.line ?? [] };
  }

  /** What membership in a team gives: its own and that of the teams above. Nothing for a team that is not there. */
  async readTeam(orgId: string, teamId: string): Promise<Pick<GrantRecord, 'bindings' | 'roles' | 'shares'>> {
    const { rows } = await this.#database.systemPool.query<Pick<GrantRecord, 'bindings' | 'roles' | 'shares'>>(READ_TEAM, [orgId, teamId]);
    const [row] = rows;
    if (row === undefined) throw new Error('a statement of subqueries answers one row');
    return row;
  }
}
