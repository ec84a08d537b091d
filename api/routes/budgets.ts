import type { Budgets } from '../../platform/budgets/budgets.ts';
import { budgetList, budgetSettings } from '../../schemas/rest/budgets.ts';
import { defineRoute, type AnyRoute } from '../route.ts';

const tag = 'Budgets';

/** Spending limits of the caller's organisation. */
export function createBudgetRoutes({ budgets }: { budgets: Budgets }): AnyRoute[] {
  return [
    defineRoute({
      method: 'get',
      path: '/v1/budgets',
      id: 'listBudgets',
      tag,
      summary: 'Reads the spending limits and what is spent of them',
      permission: 'budgets:read',
      responses: { 200: { description: 'Day, month and cascade.', schema: budgetList } },
      handler: async ({ caller }) => ({ status: 200, body: { items: await budgets.view(caller) } }),
    }),
    defineRoute({
      method: 'put',
      path: '/v1/budgets',
      id: 'replaceBudgets',
      tag,
      summary: 'Sets the spending limits',
      description: 'Replaces all limits: what is left out has none. Calls of models reserve their worst case first, so that no number of concurrent signals exceeds a limit; a call without room uses the fallback rules of its neuron.',
      permission: 'budgets:write',
      audit: 'budget.replace',
      body: budgetSettings,
      responses: { 200: { description: 'The limits now.', schema: budgetList } },
      handler: async ({ caller, body }) => ({ status: 200, body: { items: await budgets.replace(caller, body) } }),
    }),
  ];
}
