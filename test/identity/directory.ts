import { randomBytes, randomUUID } from 'node:crypto';
import { Connections } from '../../platform/connections/connections.ts';
import { Egress } from '../../platform/connections/egress.ts';
import type { Caller } from '../../platform/identity/caller.ts';
import { openDirectory, type Directory } from '../../platform/identity/directory.ts';
import { effectiveScopes } from '../../platform/identity/grants.ts';
import { platformOrganisation } from '../../platform/identity/platform-organisation.ts';
import { KeyRing } from '../../platform/keys/key-ring.ts';
import { createTestDatabase, type TestDatabase } from '../environment/database.ts';

export interface TestDirectory extends Directory {
  readonly test: TestDatabase;
  readonly connections: Connections;
  /** A key of the organisation. */
  admin(orgId: string, scopes?: readonly string[]): Caller;
  /** A person with these roles, as they ask right now. */
  person(orgId: string, roles: readonly string[]): Promise<Caller>;
  /** The same person, in an organisation below their own. */
  in(person: Caller, orgId: string): Promise<Caller>;
  acts(orgId: string): Promise<{ action: string; actor: string; resource: string }[]>;
  stop(): Promise<void>;
}

export const PUBLIC_URL = 'https://hal9.test';

/** Everything about people on a database of one's own. */
export async function startDirectory(): Promise<TestDirectory> {
  const test = await createTestDatabase();
  const egress = new Egress({ allowPrivate: true });
  const connections = new Connections({ database: test.database, keys: new KeyRing([{ id: 'a', key: randomBytes(32) }]), egress });
  const directory = openDirectory({ database: test.database, connections, egress, publicUrl: PUBLIC_URL, platformOrganisation: platformOrganisation(test.database) });
  const admin = (orgId: string, scopes: readonly string[] = ['*']): Caller => ({ orgId, actor: { kind: 'api-key', id: randomUUID() }, scopes, requestId: 'test', traceparent: undefined });
  const here = () => ({ at: new Date(), address: '127.0.0.1', risk: 0 });
  return {
    ...directory,
    test,
    connections,
    admin,
    async person(orgId, roles) {
      const root = admin(orgId);
      const user = await directory.users.create(root, { userName: randomUUID() });
      for (const role of roles) await directory.bindings.create(root, { userId: user.id, role, conditions: {} });
      const set = await directory.grants.of(orgId, user.id);
      return { ...root, actor: { kind: 'user', id: user.id }, scopes: set === undefined ? [] : effectiveScopes(set, here()) };
    },
    async in(person, orgId) {
      const set = await directory.grants.of(person.orgId, person.actor.id, orgId);
      return { ...person, orgId, homeOrgId: person.orgId, scopes: set === undefined ? [] : effectiveScopes(set, here()) };
    },
    async acts(orgId) {
      const rows = await test.database.system.selectFrom('audit_acts').selectAll().where('org_id', '=', orgId).orderBy('at').execute();
      return rows.map((row) => ({ action: row.action, actor: `${row.actor_kind}:${row.actor_id}`, resource: `${row.resource_kind}:${row.resource_id}` }));
    },
    async stop() {
      await egress.close();
      await test.drop();
    },
  };
}
