import type { Database } from '../../database/database.ts';
import type { Connections } from '../connections/connections.ts';
import type { Egress } from '../connections/egress.ts';
import { Authority } from './authority.ts';
import { Grants } from './grants.ts';
import { Invitations } from './invitations.ts';
import { Organisations } from './organisations.ts';
import { RoleBindings } from './role-bindings.ts';
import { RoleBook } from './role-book.ts';
import { Teams } from './teams.ts';
import { Users } from './users.ts';

export interface DirectoryParts {
  readonly database: Database;
  readonly connections: Connections;
  readonly egress: Egress;
  /** Address people reach the API at, without a slash at its end. */
  readonly publicUrl: string;
  readonly platformOrganisation: () => Promise<string | undefined>;
}

/** Who there is and what they may: one of each for a process. */
export interface Directory {
  readonly grants: Grants;
  readonly authority: Authority;
  readonly users: Users;
  readonly teams: Teams;
  readonly book: RoleBook;
  readonly bindings: RoleBindings;
  readonly organisations: Organisations;
  readonly invitations: Invitations;
}

export function openDirectory({ database, connections, egress, publicUrl, platformOrganisation }: DirectoryParts): Directory {
  const grants = new Grants(database);
  const authority = new Authority(grants);
  const book = new RoleBook(database, authority);
  return {
    grants,
    authority,
    book,
    users: new Users(database, authority),
    teams: new Teams(database, authority),
    bindings: new RoleBindings(database, book, authority),
    organisations: new Organisations(database, platformOrganisation),
    invitations: new Invitations({ database, authority, book, connections, egress, publicUrl }),
  };
}
