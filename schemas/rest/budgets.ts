import { z } from 'zod';

const limits = z.strictObject({
  calls: z.int().min(0).optional().describe('Calls to models.'),
  tokens: z.int().min(0).optional().describe('Input and output tokens together.'),
  usd: z.number().min(0).max(999_999_999).optional().describe('US dollars, counted to the billionth.'),
});

export const budgetSettings = z.strictObject({
  day: limits.optional().describe('The organisation in one day (UTC).'),
  month: limits.optional().describe('The organisation in one calendar month (UTC).'),
  cascade: limits.optional().describe('Any one cascade. Neurons may set a lower limit of their own.'),
});

const amount = z.object({ calls: z.int(), tokens: z.int(), usd: z.string().describe('Decimal text, nine places.') });

export const budgetView = z
  .object({
    period: z.enum(['day', 'month', 'cascade']),
    limits: z.object({ calls: z.int().nullable(), tokens: z.int().nullable(), usd: z.string().nullable() }).describe('Null: no limit.'),
    used: z.object({ reserved: amount.describe('Worst case of calls under way.'), spent: amount }).nullable().describe('Of the running period; null for `cascade`.'),
  })
  .meta({ id: 'Budget' });

export const budgetList = z.object({ items: z.array(budgetView) });
