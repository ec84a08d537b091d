import { z } from 'zod';
import { HEALTH_STATES } from '../../platform/health/component.ts';
import type { HealthReader } from '../../platform/health/reader.ts';
import { defineRoute, type AnyRoute } from '../route.ts';

const componentView = z
  .object({
    name: z.string(),
    kind: z.string(),
    state: z.enum(HEALTH_STATES).describe('With sick dependencies considered: one that is well but rests on a sick one is degraded.'),
    detail: z.string(),
    since: z.iso.datetime().describe('When this state began.'),
    dependsOn: z.array(z.string()),
    causes: z.array(z.string()).describe('Sick components the state comes from, nearest first; empty when the cause is its own.'),
  })
  .meta({ id: 'ComponentHealth' });

const recoveryView = z
  .object({
    component: z.string(),
    action: z.string(),
    reason: z.string(),
    outcome: z.enum(['succeeded', 'failed']),
    startedAt: z.iso.datetime(),
    endedAt: z.iso.datetime(),
  })
  .meta({ id: 'HealthRecovery' });

const picture = z.object({ state: z.enum(HEALTH_STATES).describe('The worst state of all components.'), components: z.array(componentView), recoveries: z.array(recoveryView) }).meta({ id: 'HealthPicture' });

const query = z.object({ recoveries: z.coerce.number().int().min(0).max(200).default(20).describe('Most recoveries to return, newest first.') });

/** How every part of the platform is, and what was done to get parts back. */
export function createHealthComponentRoutes(health: Pick<HealthReader, 'read'>): AnyRoute[] {
  return [
    defineRoute({
      method: 'get',
      path: '/v1/health/components',
      id: 'listHealthComponents',
      tag: 'Health',
      summary: 'How each component is, what it rests on, and the latest recoveries',
      description: "Components of the platform, its background processes and host agents by their heartbeats, and the caller's own organisation's connections (their last test or use) and neurons that call out (their circuit breakers).",
      permission: 'health:read',
      query,
      responses: { 200: { description: 'The picture as of now; while PostgreSQL is away, the last one with PostgreSQL named.', schema: picture } },
      async handler({ caller, query: { recoveries } }) {
        const seen = await health.read(caller.orgId, recoveries);
        return {
          status: 200,
          body: {
            state: seen.state,
            components: seen.components.map((component) => ({ ...component, since: component.since.toISOString() })),
            recoveries: seen.recoveries.map(({ component, action, reason, outcome, startedAt, endedAt }) => ({ component, action, reason, outcome, startedAt: startedAt.toISOString(), endedAt: endedAt.toISOString() })),
          },
        };
      },
    }),
  ];
}
