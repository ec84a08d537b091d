import { randomUUID } from 'node:crypto';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Tx } from '../../database/database.ts';
import { effectiveScopes, Grants } from '../../platform/identity/grants.ts';
import { createTestDatabase, type TestDatabase } from '../environment/database.ts';

const now = { at: new Date(), address: '127.0.0.1', risk: 0 };

describe('rights of a person', () => {
  let test: TestDatabase;
  let grants: Grants;
  beforeAll(async () => {
    test = await createTestDatabase();
    grants = new Grants(test.database);
  });
  afterAll(() => test.drop());

  const user = async (orgId: string, active = true): Promise<string> => {
    const id = randomUUID();
    await test.database.withOrg(orgId, (tx) => tx.insertInto('users').values({ org_id: orgId, id, user_name: id, active }).execute());
    return id;
  };
  const team = async (orgId: string, parent: string | null = null): Promise<string> => {
    const id = randomUUID();
    await test.database.withOrg(orgId, (tx) => tx.insertInto('teams').values({ org_id: orgId, id, name: id, parent_id: parent }).execute());
    return id;
  };
  const member = (orgId: string, team_id: string, user_id: string) => test.database.withOrg(orgId, (tx) => tx.insertInto('team_members').values({ org_id: orgId, team_id, user_id }).execute());
  const bind = async (orgId: string, to: { user_id: string } | { team_id: string }, role: string, conditions: unknown = {}): Promise<string> => {
    const id = randomUUID();
    await test.database.withOrg(orgId, (tx) => tx.insertInto('role_bindings').values({ org_id: orgId, id, ...to, role, conditions: JSON.stringify(conditions) }).execute());
    return id;
  };
  const below = async (parent: string): Promise<string> => {
    const orgId = await test.organisation();
    await test.database.system.updateTable('organisations').set({ parent_id: parent }).where('org_id', '=', orgId).execute();
    return orgId;
  };
  const scopes = async (orgId: string, userId: string, target?: string): Promise<string[] | undefined> => {
    const set = await grants.of(orgId, userId, target);
    return set === undefined ? undefined : effectiveScopes(set, now).sort();
  };

  it('come from their bindings, their teams, the teams above and what those were given', async () => {
    const orgId = await test.organisation();
    const person = await user(orgId);
    expect(await scopes(orgId, person)).toEqual([]);
    const [parent, sister] = [await team(orgId), await team(orgId)];
    const child = await team(orgId, parent);
    await test.database.withOrg(orgId, async (tx) => {
      await tx.insertInto('roles').values([{ org_id: orgId, name: 'lead', scopes: ['decisions:read'], inherits: ['helper'] }, { org_id: orgId, name: 'helper', scopes: ['runs:write:type=greet'] }]).execute();
      await tx.insertInto('team_shares').values([{ org_id: orgId, team_id: parent, resource_kind: 'connections', resource_id: 'c-1', access: 'write' }, { org_id: orgId, team_id: sister, resource_kind: 'connections', resource_id: 'c-2', access: 'read' }]).execute();
    });
    await bind(orgId, { team_id: parent }, 'lead');
    await bind(orgId, { team_id: sister }, 'admin');
    expect(await scopes(orgId, person)).toEqual([]);
    await member(orgId, child, person);
    expect(await scopes(orgId, person)).toEqual(['connections:read:id=c-1', 'connections:write:id=c-1', 'decisions:read', 'runs:write:type=greet']);
    await bind(orgId, { user_id: person }, 'gone');
    await bind(orgId, { user_id: person }, 'owner', { later: 'a condition of another build' });
    await bind(orgId, { user_id: person }, 'helper', { resource: { type: ['other'] } });
    expect(await scopes(orgId, person)).toHaveLength(4);
    const elsewhere = await test.organisation();
    await bind(elsewhere, { user_id: await user(elsewhere) }, 'owner');
    expect(await scopes(elsewhere, person)).toBeUndefined();
  });

  it('are those of the bindings on their way up and no others, whatever the teams', async () => {
    const size = 6;
    const houses = fc.record({
      // A team stands below an earlier one or at the top.
      parents: fc.tuple(...Array.from({ length: size }, (_, index) => fc.option(fc.nat({ max: Math.max(0, index - 1) }), { nil: null, freq: 3 }).map((parent) => (index === 0 ? null : parent)))),
      memberOf: fc.subarray([...Array(size).keys()]),
      bound: fc.array(fc.record({ to: fc.integer({ min: -2, max: size - 1 }), scope: fc.integer({ min: 0, max: 9 }) }), { maxLength: 8 }),
    });
    await fc.assert(
      fc.asyncProperty(houses, async ({ parents, memberOf, bound }) => {
        const orgId = await test.organisation();
        const [person, other] = [await user(orgId), await user(orgId)];
        const teams = parents.map(() => randomUUID());
        await test.database.withOrg(orgId, async (tx) => {
          for (const [index, parent] of parents.entries()) await tx.insertInto('teams').values({ org_id: orgId, id: teams[index]!, name: String(index), parent_id: parent === null ? null : teams[parent]! }).execute();
          for (const index of memberOf) await tx.insertInto('team_members').values({ org_id: orgId, team_id: teams[index]!, user_id: person }).execute();
          for (const { to, scope } of bound) {
            const role = `role-${scope}`;
            await tx.insertInto('roles').values({ org_id: orgId, name: role, scopes: [`r${scope}:read`] }).onConflict((conflict) => conflict.doNothing()).execute();
            await tx.insertInto('role_bindings').values({ org_id: orgId, id: randomUUID(), role, ...(to === -1 ? { user_id: person } : to === -2 ? { user_id: other } : { team_id: teams[to]! }) }).execute();
          }
        });
        const above = new Set<number>();
        for (const index of memberOf) for (let at: number | null = index; at !== null; at = parents[at] ?? null) above.add(at);
        const expected = new Set(bound.filter(({ to }) => to === -1 || above.has(to)).map(({ scope }) => `r${scope}:read`));
        expect(new Set(await scopes(orgId, person))).toEqual(expected);
      }),
      { numRuns: 40 },
    );
  });

  it('end with the person and with the organisation', async () => {
    const top = await test.organisation();
    const orgId = await below(top);
    const person = await user(orgId);
    await bind(orgId, { user_id: person }, 'viewer');
    expect(await scopes(orgId, person)).toContain('runs:read');
    expect(await scopes(orgId, randomUUID())).toBeUndefined();
    const suspend = (id: string, at: Date | null) => test.database.system.updateTable('organisations').set({ suspended_at: at }).where('org_id', '=', id).execute();
    await suspend(top, new Date());
    expect(await scopes(orgId, person)).toBeUndefined();
    await suspend(top, null);
    await test.database.withOrg(orgId, (tx) => tx.updateTable('users').set({ active: false }).where('id', '=', person).execute());
    expect(await scopes(orgId, person)).toBeUndefined();
  });

  it('reach down only by roles that say so, and neither up nor sideways', async () => {
    const top = await test.organisation();
    const [middle, sister] = [await below(top), await below(top)];
    const bottom = await below(middle);
    const person = await user(middle);
    await test.database.withOrg(middle, (tx) =>
      tx.insertInto('roles').values([{ org_id: middle, name: 'auditor', scopes: ['audit:read'], reaches_descendants: true }, { org_id: middle, name: 'local', scopes: ['users:read'], inherits: ['auditor'] }]).execute(),
    );
    for (const role of ['auditor', 'local', 'admin']) await bind(middle, { user_id: person }, role);
    expect(await scopes(middle, person, bottom)).toEqual(['audit:read']);
    expect((await grants.of(middle, person, bottom))?.line).toEqual([bottom, middle, top]);
    expect([await scopes(middle, person, top), await scopes(middle, person, sister), await scopes(middle, person, randomUUID())]).toEqual([undefined, undefined, undefined]);
    await test.database.withOrg(bottom, (tx) => tx.insertInto('roles').values({ org_id: bottom, name: 'local', scopes: ['*'], reaches_descendants: true }).execute());
    expect(await scopes(middle, person, bottom)).toEqual(['audit:read']);
  });

  describe('the last owner', () => {
    const refused = { constraint: 'last_owner' };
    const inOrg = (orgId: string, work: (tx: Tx) => Promise<unknown>) => test.database.withOrg(orgId, work);

    it('cannot go in any way, while there may be none from the start', async () => {
      const orgId = await test.organisation();
      const [person, other] = [await user(orgId), await user(orgId)];
      await inOrg(orgId, (tx) => tx.deleteFrom('users').where('id', '=', other).execute());
      const group = await team(orgId);
      await member(orgId, group, person);
      const binding = await bind(orgId, { team_id: group }, 'owner');
      const ways: ((tx: Tx) => Promise<unknown>)[] = [
        (tx) => tx.deleteFrom('role_bindings').where('id', '=', binding).execute(),
        (tx) => tx.updateTable('role_bindings').set({ role: 'admin' }).where('id', '=', binding).execute(),
        (tx) => tx.updateTable('role_bindings').set({ conditions: '{"maxRisk": 50}' }).where('id', '=', binding).execute(),
        (tx) => tx.updateTable('users').set({ active: false }).where('id', '=', person).execute(),
        (tx) => tx.deleteFrom('users').where('id', '=', person).execute(),
        (tx) => tx.deleteFrom('team_members').where('user_id', '=', person).execute(),
        (tx) => tx.deleteFrom('teams').where('id', '=', group).execute(),
      ];
      for (const [index, way] of ways.entries()) await expect(inOrg(orgId, way), `way ${index}`).rejects.toMatchObject(refused);
      expect(await scopes(orgId, person)).toEqual(expect.arrayContaining(['*']));
      const heir = await user(orgId);
      await inOrg(orgId, async (tx) => {
        await tx.deleteFrom('users').where('id', '=', person).execute();
        await tx.insertInto('role_bindings').values({ org_id: orgId, id: randomUUID(), user_id: heir, role: 'owner' }).execute();
      });
      await expect(inOrg(orgId, (tx) => tx.updateTable('users').set({ active: false }).where('id', '=', heir).execute())).rejects.toMatchObject(refused);
    });

    it('does not count when they are inactive, or owner under a condition', async () => {
      const orgId = await test.organisation();
      const [person, asleep, sometimes] = [await user(orgId), await user(orgId, false), await user(orgId)];
      await bind(orgId, { user_id: person }, 'owner');
      await bind(orgId, { user_id: asleep }, 'owner');
      await bind(orgId, { user_id: sometimes }, 'owner', { maxRisk: 10 });
      await expect(inOrg(orgId, (tx) => tx.deleteFrom('users').where('id', '=', person).execute())).rejects.toMatchObject(refused);
      await inOrg(orgId, (tx) => tx.deleteFrom('users').where('id', 'in', [asleep, sometimes]).execute());
    });

    it('stays when all owners are removed at the same time', async () => {
      for (let round = 0; round < 10; round += 1) {
        const orgId = await test.organisation();
        const owners = [];
        for (let count = 0; count < 6; count += 1) {
          const person = await user(orgId);
          owners.push({ person, binding: await bind(orgId, { user_id: person }, 'owner') });
        }
        const outcomes = await Promise.allSettled(
          owners.map(({ person, binding }, index) =>
            inOrg(orgId, (tx) => {
              if (index % 3 === 0) return tx.updateTable('users').set({ active: false }).where('id', '=', person).execute();
              return index % 3 === 1 ? tx.deleteFrom('role_bindings').where('id', '=', binding).execute() : tx.deleteFrom('users').where('id', '=', person).execute();
            }),
          ),
        );
        const failed = outcomes.filter((outcome) => outcome.status === 'rejected');
        expect(failed.map((outcome) => (outcome.reason as { constraint?: string }).constraint)).toEqual(['last_owner']);
      }
    });
  });
});
