import { z } from 'zod';
import type { Team, Teams } from '../../platform/identity/teams.ts';
import { pageOf } from '../../schemas/rest/page.ts';
import { featureList, memberChange, memberList, shareDraft, shareId, shareKind, shareList, teamChange, teamDraft, teamQuery, teamView } from '../../schemas/rest/teams.ts';
import { BY_TIME, pageOfList } from '../page.ts';
import { defineRoute, type AnyRoute } from '../route.ts';

const teamParams = z.object({ id: z.uuid() });
const shareParams = teamParams.extend({ kind: shareKind, resourceId: shareId });

/** Teams of the organisation, who is in them and what they were given. */
export function createTeamRoutes({ teams }: { teams: Teams }): AnyRoute[] {
  return [...collection(teams), ...members(teams), ...shares(teams), features(teams)];
}

function collection(teams: Teams): AnyRoute[] {
  return [
    defineRoute({
      method: 'get',
      path: '/v1/teams',
      id: 'listTeams',
      tag: 'Teams',
      summary: 'Lists teams, oldest first',
      permission: 'teams:read',
      query: teamQuery,
      responses: { 200: { description: 'A page of teams.', schema: pageOf(teamView) } },
      async handler({ caller, query: { limit: size, cursor, ...filter } }) {
        const { items, nextCursor } = await pageOfList({ limit: size, cursor }, BY_TIME, (limit, after) => teams.list(caller, filter, limit, after));
        return { status: 200, body: { items: items.map(view), nextCursor } };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/v1/teams',
      id: 'createTeam',
      tag: 'Teams',
      summary: 'Creates a team',
      permission: 'teams:write',
      audit: 'team.create',
      body: teamDraft,
      responses: { 201: { description: 'The team.', schema: teamView } },
      async handler({ caller, body }) {
        const team = await teams.create(caller, body);
        return { status: 201, body: view(team), headers: { Location: `/v1/teams/${team.id}` } };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/v1/teams/:id',
      id: 'getTeam',
      tag: 'Teams',
      summary: 'Reads a team',
      permission: 'teams:read',
      params: teamParams,
      responses: { 200: { description: 'The team.', schema: teamView } },
      handler: async ({ caller, params }) => ({ status: 200, body: view(await teams.get(caller, params.id)) }),
    }),
    defineRoute({
      method: 'patch',
      path: '/v1/teams/:id',
      id: 'changeTeam',
      tag: 'Teams',
      summary: 'Changes a team',
      description: 'Only what is given. Moving it changes what its members may.',
      permission: 'teams:write',
      audit: 'team.change',
      params: teamParams,
      body: teamChange,
      responses: { 200: { description: 'The team.', schema: teamView } },
      handler: async ({ caller, params, body }) => ({ status: 200, body: view(await teams.change(caller, params.id, body)) }),
    }),
    defineRoute({
      method: 'delete',
      path: '/v1/teams/:id',
      id: 'deleteTeam',
      tag: 'Teams',
      summary: 'Deletes a team',
      description: 'Its members stay, without what they had by it. Not while teams stand below it.',
      permission: 'teams:write',
      audit: 'team.delete',
      params: teamParams,
      responses: { 204: { description: 'Gone.' } },
      async handler({ caller, params }) {
        await teams.remove(caller, params.id);
        return { status: 204 };
      },
    }),
  ];
}

function members(teams: Teams): AnyRoute[] {
  return [
    defineRoute({
      method: 'get',
      path: '/v1/teams/:id/members',
      id: 'listTeamMembers',
      tag: 'Teams',
      summary: 'Lists the members of a team',
      permission: 'teams:read',
      params: teamParams,
      responses: { 200: { description: 'Ids of users.', schema: memberList } },
      handler: async ({ caller, params }) => ({ status: 200, body: { members: await teams.members(caller, params.id) } }),
    }),
    defineRoute({
      method: 'post',
      path: '/v1/teams/:id/members',
      id: 'changeTeamMembers',
      tag: 'Teams',
      summary: 'Adds and removes members of a team',
      description: 'In one step. Nobody adds to a team that has more than they.',
      permission: 'teams:write',
      audit: 'team.change-members',
      params: teamParams,
      body: memberChange,
      responses: { 200: { description: 'Ids of users.', schema: memberList } },
      async handler({ caller, params, body }) {
        await teams.changeMembers(caller, params.id, body);
        return { status: 200, body: { members: await teams.members(caller, params.id) } };
      },
    }),
  ];
}

function shares(teams: Teams): AnyRoute[] {
  return [
    defineRoute({
      method: 'get',
      path: '/v1/teams/:id/shares',
      id: 'listTeamShares',
      tag: 'Teams',
      summary: 'Lists what a team was given',
      permission: 'teams:read',
      params: teamParams,
      responses: { 200: { description: 'Resources of the team itself.', schema: shareList } },
      handler: async ({ caller, params }) => ({ status: 200, body: { shares: await teams.shares(caller, params.id) } }),
    }),
    defineRoute({
      method: 'put',
      path: '/v1/teams/:id/shares/:kind/:resourceId',
      id: 'shareWithTeam',
      tag: 'Teams',
      summary: 'Gives a team one resource',
      description: 'Its members and those of teams below it may read it, or also change it. You must have it yourself.',
      permission: 'teams:write',
      audit: 'team.share',
      params: shareParams,
      body: shareDraft,
      responses: { 200: { description: 'Resources of the team itself.', schema: shareList } },
      async handler({ caller, params, body }) {
        await teams.share(caller, params.id, { kind: params.kind, id: params.resourceId, access: body.access });
        return { status: 200, body: { shares: await teams.shares(caller, params.id) } };
      },
    }),
    defineRoute({
      method: 'delete',
      path: '/v1/teams/:id/shares/:kind/:resourceId',
      id: 'unshareWithTeam',
      tag: 'Teams',
      summary: 'Takes a resource from a team',
      permission: 'teams:write',
      audit: 'team.unshare',
      params: shareParams,
      responses: { 204: { description: 'Taken.' } },
      async handler({ caller, params }) {
        await teams.unshare(caller, params.id, { kind: params.kind, id: params.resourceId });
        return { status: 204 };
      },
    }),
  ];
}

function features(teams: Teams): AnyRoute {
  return defineRoute({
    method: 'get',
    path: '/v1/features',
    id: 'listFeatures',
    tag: 'Teams',
    summary: 'Says which features are on for the caller',
    description: 'A team has the toggles of the teams above where it says nothing itself; of several teams one that has it is enough. Empty for keys.',
    permission: 'features:read',
    responses: { 200: { description: 'Features by name.', schema: featureList } },
    handler: async ({ caller }) => ({ status: 200, body: { features: await teams.features(caller) } }),
  });
}

function view(team: Team) {
  const { id, name, parentId, externalId, features: toggles, createdAt, updatedAt } = team;
  return { id, name, parentId, externalId, features: toggles, createdAt, updatedAt };
}
