import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { documentPermissions, PERMISSION_REFERENCE } from '../../deploy/local/generate-api-reference.ts';

/** Permissions that no role below `owner` has, each on purpose. */
const OWNERS_ONLY = ['organisations:write', 'plans:read', 'plans:write'];

describe('the reference of permissions', () => {
  it('is what routes, operations and roles say; run `npm run generate`', async () => {
    expect(await readFile(join(import.meta.dirname, '../..', PERMISSION_REFERENCE), 'utf8')).toBe(await documentPermissions());
  });

  it('shows a role below owner for every permission that is not an owner\'s on purpose', async () => {
    const rows = (await documentPermissions()).split('\n').flatMap((line) => /^\| `(.+:.+)` \| (.*) \| yes \| `?[^|]*\|$/.exec(line)?.slice(1, 3) ?? []);
    const lonely = rows.flatMap((text, index) => (index % 2 === 1 && !text.includes('yes') ? [rows[index - 1]] : []));
    expect(rows.length).toBeGreaterThan(60);
    expect(lonely).toEqual(OWNERS_ONLY);
  });
});
