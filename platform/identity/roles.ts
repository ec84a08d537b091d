/** A named set of scopes. */
export interface Role {
  readonly name: string;
  readonly description: string;
  /** Roles whose scopes this one has too, and theirs. */
  readonly inherits: readonly string[];
  readonly scopes: readonly string[];
  /** Whether who has it also has it in the organisations below. Counts for the role that is bound, not for roles it inherits. */
  readonly reachesDescendants: boolean;
}

/** The roles every organisation has; docs/reference/permissions.md lists what each may. */
export const PREDEFINED_ROLES: readonly Role[] = [
  {
    name: 'viewer',
    description: 'Sees what runs, what came in and what was decided. No people, no credentials, no connections.',
    inherits: [],
    scopes: ['workflows:read', 'runs:read', 'signals:read', 'decisions:read', 'neurons:read', 'automations:read', 'schedules:read', 'sources:read', 'approvals:read', 'health:read', 'notifications:read', 'budgets:read', 'teams:read', 'features:read', 'chains:read', 'memories:read', 'contents:read'],
    reachesDescendants: false,
  },
  {
    name: 'operator',
    description: 'Keeps things running: sends signals, starts, steers and stops runs, decides approvals.',
    inherits: ['viewer'],
    scopes: ['runs:write', 'signals:write', 'approvals:write', 'memories:write', 'contents:write', 'connections:read'],
    reachesDescendants: false,
  },
  {
    name: 'developer',
    description: 'Makes what operators run: neurons, automations, webhooks, connections; reads payloads in the clear and usage.',
    inherits: ['operator'],
    scopes: ['neurons:write', 'automations:write', 'schedules:write', 'sources:*', 'webhooks:*', 'webhook-endpoints:*', 'connections:write', 'codec:*', 'usage:read'],
    reachesDescendants: false,
  },
  {
    name: 'admin',
    description: 'Runs the organisation: people, teams, roles, sign-in, keys, budgets, audit. Neither billing, nor erasure in the audit log, nor the organisation itself.',
    inherits: ['developer'],
    scopes: [
      'users:*',
      'teams:*',
      'roles:*',
      'invitations:*',
      'api-keys:*',
      'sessions:*',
      'identity-providers:*',
      'scim:*',
      'audit:read',
      'audit:export',
      'compliance:*',
      'recovery:*',
      'consents:*',
      'privacy:read',
      'privacy:write',
      'budgets:*',
      'usage:*',
      'features:*',
      'chains:*',
      'chain-transactions:*',
      'notifications:*',
      'organisations:read',
    ],
    reachesDescendants: false,
  },
  {
    name: 'owner',
    description: 'Everything, here and in the organisations below: also billing, and the organisation itself. There is always one.',
    inherits: ['admin'],
    scopes: ['*'],
    reachesDescendants: true,
  },
];

const PREDEFINED = new Map(PREDEFINED_ROLES.map((role) => [role.name, role]));

/** Name of the role that an organisation, once it has had one, always keeps. */
export const OWNER = 'owner';

export function isPredefined(name: string): boolean {
  return PREDEFINED.has(name);
}

/** A role by name; the predefined ones cannot be hidden by an organisation's own. */
export function findRole(name: string, own: ReadonlyMap<string, Role>): Role | undefined {
  return PREDEFINED.get(name) ?? own.get(name);
}

/** What a role grants with everything it inherits. A role that is not there grants nothing. */
export function scopesOf(name: string, own: ReadonlyMap<string, Role>): string[] {
  const scopes = new Set<string>();
  for (const role of withInherited(name, own)) for (const scope of role.scopes) scopes.add(scope);
  return scopes.has('*') ? ['*'] : [...scopes];
}

/** Whether a role named `name` that inherits `inherits` would inherit itself, through however many others. */
export function inheritsItself(name: string, inherits: readonly string[], own: ReadonlyMap<string, Role>): boolean {
  return inherits.some((parent) => parent === name || withInherited(parent, own).some((role) => role.inherits.includes(name)));
}

/** Own roles that have what `name` has, by inheriting it, through however many others. */
export function heirsOf(name: string, own: ReadonlyMap<string, Role>): Role[] {
  return [...own.values()].filter((role) => role.name !== name && withInherited(role.name, own).some((one) => one.name === name));
}

/** Each role once, so that a cycle that got past every check ends too. */
function withInherited(name: string, own: ReadonlyMap<string, Role>): Role[] {
  const found = new Map<string, Role>();
  const open = [name];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const role = found.has(next) ? undefined : findRole(next, own);
    if (role === undefined) continue;
    found.set(next, role);
    open.push(...role.inherits);
  }
  return [...found.values()];
}
