import { z } from 'zod';
import { PLAN_NAMES } from '../usage/plans.ts';

const plan = z.enum(PLAN_NAMES);

export const subscriptionDraft = z.strictObject({ plan });

export const billingView = z
  .object({
    plans: z.array(plan).describe('What can be bought here; empty where nothing is sold.'),
    subscription: z
      .object({
        plan: plan.nullable(),
        status: z.string().describe('As the payment provider names it, e.g. `active`, `past_due`, `incomplete`, `canceled`.'),
        cancelsAt: z.iso.datetime().nullable(),
      })
      .nullable(),
    invoices: z.array(
      z.object({
        id: z.string(),
        number: z.string().nullable(),
        status: z.string(),
        currency: z.string(),
        amountDue: z.int().describe("In the currency's smallest unit."),
        amountPaid: z.int(),
        periodStart: z.iso.datetime(),
        periodEnd: z.iso.datetime(),
        url: z.string().nullable().describe("The payment provider's page of it."),
      }),
    ),
  })
  .meta({ id: 'Billing' });

export const webhookReceipt = z.object({ applied: z.boolean().describe('Whether it was news.') });
