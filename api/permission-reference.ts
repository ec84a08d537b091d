import { can, covers } from '../platform/identity/permissions.ts';
import { PREDEFINED_ROLES, scopesOf } from '../platform/identity/roles.ts';
import type { OperationContract } from '../schemas/operations/operation.ts';
import type { AnyRoute } from './route.ts';

/** Every permission that routes and operations ask for, by name, with what it opens. */
export function knownPermissions(routes: readonly AnyRoute[], contracts: Iterable<OperationContract>): ReadonlyMap<string, readonly string[]> {
  const known = new Map<string, Set<string>>();
  const note = (permission: string, opens: string): void => {
    // `public` and `signed-in` are no permissions anybody has.
    if (permission.includes(':')) known.set(permission, (known.get(permission) ?? new Set()).add(opens));
  };
  for (const { permission, method, path } of routes) note(permission, `\`${method.toUpperCase()} ${path}\``);
  for (const contract of contracts) {
    if (contract.exposure === 'public') note(contract.permission, `start of \`${contract.name}\``);
    for (const [name, { permission }] of [...Object.entries(contract.signals), ...Object.entries(contract.updates), ...Object.entries(contract.queries)]) {
      if (permission !== undefined) note(permission, `\`${name}\` of \`${contract.name}\``);
    }
  }
  return new Map([...known].sort(([left], [right]) => (left < right ? -1 : 1)).map(([permission, opens]) => [permission, [...opens].sort()]));
}

/** The reference page of permissions and predefined roles. */
export function permissionReferencePage(routes: readonly AnyRoute[], contracts: Iterable<OperationContract>): string {
  const none = new Map<string, never>();
  const lines = [
    '# Permissions and roles',
    '',
    'Made from the routes and operations by `npm run generate`. A permission is `<resource>:<verb>`; a scope grants one or several, either part may',
    'be `*`, and `:key=value` narrows it. How to give roles to people: [Roles and teams](../how-to/roles-and-teams.md).',
    '',
    '## Roles that every organisation has',
    '',
    '| role | what for | scopes of its own | with those of | reaches down |',
    '| --- | --- | --- | --- | --- |',
    ...PREDEFINED_ROLES.map((role) => `| \`${role.name}\` | ${role.description} | ${role.scopes.map((scope) => `\`${scope}\``).join(' ')} | ${role.inherits.map((name) => `\`${name}\``).join(' ')} | ${role.reachesDescendants ? 'yes' : 'no'} |`),
    '',
    'A role that reaches down also counts in the organisations below.',
    '',
    '## Permissions',
    '',
    `| permission | ${PREDEFINED_ROLES.map(({ name }) => name).join(' | ')} | opens |`,
    `| --- | ${PREDEFINED_ROLES.map(() => '---').join(' | ')} | --- |`,
  ];
  for (const [permission, opens] of knownPermissions(routes, contracts)) {
    const held = PREDEFINED_ROLES.map(({ name }) => (can({ scopes: scopesOf(name, none) }, permission) ? 'yes' : ''));
    lines.push(`| \`${permission}\` | ${held.join(' | ')} | ${opens.join('<br>')} |`);
  }
  return `${lines.join('\n')}\n`;
}

/** Scopes of predefined roles that open nothing here: misspelt, or of a resource that is no more. */
export function idleScopes(known: Iterable<string>): string[] {
  const permissions = [...known];
  const own = PREDEFINED_ROLES.flatMap(({ scopes }) => scopes);
  return [...new Set(own)].filter((scope) => !permissions.some((permission) => covers([scope], permission)));
}
