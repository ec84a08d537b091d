import { z } from 'zod';
import { METERS } from '../usage/meters.ts';
import { PLAN_LIMITS, PLAN_NAMES, planOverridesSchema } from '../usage/plans.ts';

const meter = z.enum(METERS);
const plan = z.enum(PLAN_NAMES);
const month = z.string().regex(/^(19|20)\d\d-(0[1-9]|1[0-2])$/).describe('`YYYY-MM`, UTC.');
const quota = z.int().nullable().describe('Of one calendar month (UTC). Null: none.');

export const usageQuery = z.object({
  meter: meter.optional().describe('One meter; default all.'),
  by: z.enum(['hour', 'day', 'month']).default('day').describe('Length of a step, UTC.'),
  from: z.iso.datetime({ offset: true }).optional().describe('Inclusive. Default: 30 days before `to`.'),
  to: z.iso.datetime({ offset: true }).optional().describe('Exclusive. Default: now.'),
});

export const usageSeries = z.object({
  by: z.enum(['hour', 'day', 'month']),
  from: z.iso.datetime(),
  to: z.iso.datetime(),
  items: z.array(z.object({ meter, start: z.iso.datetime(), quantity: z.int() })).describe('Oldest first; steps without use are left out.'),
});

export const usageSummary = z
  .object({
    plan,
    month,
    from: z.iso.datetime(),
    to: z.iso.datetime(),
    meters: z.array(
      z.object({
        meter,
        unit: z.string(),
        used: z.int().describe('In the month so far, up to this moment.'),
        projected: z.int().describe('At the end of the month if use goes on as on average so far.'),
        soft: quota,
        hard: quota,
        state: z.enum(['within', 'over-soft', 'over-hard']),
      }),
    ),
    limits: z.array(z.object({ name: z.enum(PLAN_LIMITS), used: z.int().nullable().describe('Null for what is no count.'), limit: z.int().nullable().describe('Null: none.') })),
  })
  .meta({ id: 'UsageSummary' });

const entitlements = z.object({
  plan,
  quotas: z.record(meter, z.object({ soft: quota, hard: quota })),
  limits: z.record(z.enum(PLAN_LIMITS), z.int().nullable()),
});

export const planList = z.object({ items: z.array(entitlements) });

export const planDraft = z.strictObject({ plan, overrides: planOverridesSchema.default({}) });

export const planView = z
  .object({ organisation: z.uuid(), plan, overrides: planOverridesSchema, entitlements, updatedAt: z.iso.datetime(), updatedBy: z.string().describe('Kind and id, or `default`.') })
  .meta({ id: 'OrganisationPlan' });

export const planParams = z.object({ organisation: z.uuid() });

export const statementParams = z.object({ month });

export const statementFormat = z.object({ format: z.enum(['json', 'csv']).optional().describe('Instead of the Accept header.') });

export const statementsQuery = z.object({ limit: z.coerce.number().int().min(1).max(120).default(12), before: month.optional().describe('Only months before this one.'), format: statementFormat.shape.format });

export const statementView = z
  .object({
    month,
    state: z.enum(['open', 'closed']).describe('A closed month never changes.'),
    plan,
    lines: z.array(z.object({ meter, unit: z.string(), quantity: z.int(), soft: quota, hard: quota })),
    closedAt: z.iso.datetime().nullable(),
    hash: z.string().nullable().describe('SHA-256 over month, plan, lines and the hash before; null while the month is open.'),
    previousHash: z.string().nullable().describe('Hash of the statement before; null for the first.'),
  })
  .meta({ id: 'Statement' });

export const statementList = z.object({ items: z.array(statementView) });

export const platformUsageQuery = z.object({ month: month.optional().describe('Default: the running month.') });

export const platformUsage = z.object({
  month,
  items: z.array(z.object({ organisation: z.uuid(), plan, quantities: z.record(meter, z.int()) })),
});
