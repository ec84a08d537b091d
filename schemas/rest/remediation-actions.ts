import { z } from 'zod';
import { pageQuery } from './page.ts';

export const REMEDIATION_STATES = ['started', 'done', 'failed', 'refused'] as const;

/** What a host agent was asked to do and what came of it. */
export const remediationActionView = z
  .object({
    id: z.uuid(),
    hostId: z.string(),
    incidentId: z.string(),
    runId: z.string().describe('The run that asked.'),
    step: z.int(),
    cause: z.string(),
    action: z.string(),
    target: z.string().describe('In words: process and pid, session, folder.'),
    state: z.enum(REMEDIATION_STATES).describe('`started`: it may or may not have happened; the agent reads which after an interruption.'),
    detail: z.string(),
    createdAt: z.iso.datetime(),
    finishedAt: z.iso.datetime().nullable(),
  })
  .meta({ id: 'RemediationAction' });

export const remediationActionFilter = pageQuery.extend({
  incidentId: z.string().max(300).optional().describe('Those for one incident.'),
  hostId: z.string().max(200).optional().describe('Those on one machine.'),
  runId: z.string().max(300).optional().describe('Those one run asked for.'),
  state: z.enum(REMEDIATION_STATES).optional(),
});
