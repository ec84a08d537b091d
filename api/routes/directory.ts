import type { Directory } from '../../platform/identity/directory.ts';
import type { AnyRoute } from '../route.ts';
import { createInvitationRoutes } from './invitations.ts';
import { createOrganisationRoutes } from './organisations.ts';
import { createRoleRoutes } from './roles.ts';
import { createTeamRoutes } from './teams.ts';
import { createUserRoutes } from './users.ts';

/** Who there is and what they may. */
export function createDirectoryRoutes(directory: Directory): AnyRoute[] {
  return [...createUserRoutes(directory), ...createTeamRoutes(directory), ...createRoleRoutes(directory), ...createOrganisationRoutes(directory), ...createInvitationRoutes(directory)];
}
