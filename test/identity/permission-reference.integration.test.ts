import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { idleScopes } from '../../api/permission-reference.ts';
import { documentPermissions, PERMISSION_REFERENCE } from '../../deploy/local/generate-api-reference.ts';
import { PREDEFINED_ROLES } from '../../platform/identity/roles.ts';

/** Permissions that no role below `owner` has, each on purpose. */
const OWNERS_ONLY = ['audit:erase', 'billing:read', 'billing:write', 'organisations:write', 'plans:read', 'plans:write', 'privacy:change', 'privacy:erase', 'privacy:export'];

describe('the reference of permissions', () => {
  it('is what routes, operations and roles say; run `npm run generate`', async () => {
    expect(await readFile(join(import.meta.dirname, '../..', PERMISSION_REFERENCE), 'utf8')).toBe(await documentPermissions());
  });

  it('shows a role below owner for every permission that is not an owner\'s on purpose', async () => {
    const rows = await permissions();
    expect(rows.length).toBeGreaterThan(30);
    expect(rows.filter(({ roles }) => !roles.slice(0, -1).includes('yes')).map(({ name }) => name)).toEqual(OWNERS_ONLY);
    expect(rows.every(({ roles }) => roles.at(-1) === 'yes')).toBe(true);
  });

  it('has no scope in a role that opens nothing', async () => {
    expect(idleScopes((await permissions()).map(({ name }) => name))).toEqual([]);
  });
});

/** The table of permissions: each with what the roles from viewer to owner say. */
async function permissions(): Promise<{ name: string; roles: string[] }[]> {
  return (await documentPermissions()).split('\n').flatMap((line) => {
    const [first = '', ...cells] = line.split(' |').map((cell) => cell.trim());
    const name = /^\| `([a-z-]+:[a-z-]+)`$/.exec(first)?.[1];
    return name === undefined ? [] : [{ name, roles: cells.slice(0, PREDEFINED_ROLES.length) }];
  });
}
