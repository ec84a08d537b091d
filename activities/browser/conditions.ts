import type { Page } from 'playwright-core';
import type { Condition } from '../../schemas/browser/flow.ts';
import { evaluate, fill, type FlowScope } from './expressions.ts';
import { locate, untilNextLook } from './locating.ts';
import { urlMatches } from './url-pattern.ts';

/** Whether a condition holds at this moment. */
export async function holds(page: Page, condition: Condition, scope: FlowScope): Promise<boolean> {
  if (condition.that !== undefined && evaluate(condition.that, scope) !== true) return false;
  if (condition.url !== undefined && !urlMatches(page.url(), fill(condition.url, scope))) return false;
  if (condition.on !== undefined) {
    const found = locate(page, condition.on, scope);
    if (!(await inState(found, condition.state))) return false;
    if (condition.text === undefined) return true;
    return (await found.first().innerText()).includes(fill(condition.text, scope));
  }
  return condition.text === undefined || (await page.getByText(fill(condition.text, scope)).filter({ visible: true }).count()) > 0;
}

async function inState(found: ReturnType<typeof locate>, state: Condition['state']): Promise<boolean> {
  const count = await found.count();
  switch (state) {
    case 'attached':
      return count > 0;
    case 'detached':
      return count === 0;
    case 'visible':
      return (await found.filter({ visible: true }).count()) > 0;
    case 'hidden':
      return (await found.filter({ visible: true }).count()) === 0;
    case 'enabled':
      return count > 0 && found.first().isEnabled();
    case 'checked':
      return count > 0 && found.first().isChecked();
  }
}

/** Waits until a condition holds. @returns whether it did within the time. */
export async function waitFor(page: () => Page, condition: Condition, scope: FlowScope, withinMs: number, signal: AbortSignal): Promise<boolean> {
  const deadline = Date.now() + withinMs;
  if (condition.networkIdle === true) {
    await page().waitForLoadState('networkidle', { timeout: withinMs }).catch((error: unknown) => {
      if (!(error instanceof Error) || error.name !== 'TimeoutError') throw error;
    });
  }
  for (let look = 0; ; look += 1) {
    // A page that navigates away under the look is looked at again.
    const found = await holds(page(), condition, scope).catch((error: unknown) => {
      if (isNavigating(error)) return false;
      throw error;
    });
    if (found) return true;
    if (Date.now() >= deadline) return false;
    signal.throwIfAborted();
    await untilNextLook(look);
  }
}

function isNavigating(error: unknown): boolean {
  return error instanceof Error && /Execution context was destroyed|frame was detached|navigat/i.test(error.message);
}
