import { describe, expect, it } from 'vitest';
import { evaluate, fill } from '../../activities/browser/expressions.ts';
import { explain } from '../../activities/browser/explanation.ts';
import { checkFlow } from '../../activities/browser/flow-check.ts';
import { FlowMachine, type FlowState } from '../../activities/browser/flow-machine.ts';
import { numberOf } from '../../activities/browser/reading.ts';
import { hostMatches, urlMatches } from '../../activities/browser/url-pattern.ts';
import { flowSchema, type Condition, type FlowDraft } from '../../schemas/browser/flow.ts';
import type { FlowScope } from '../../activities/browser/expressions.ts';

const look = async ({ that }: Condition, scope: FlowScope): Promise<boolean> => that === undefined || evaluate(that, scope) === true;
const set = (as: string, value: string): FlowDraft['steps'][number] => ({ do: 'set', as, value });

/** Runs the arrangement of a flow, taking `set` steps itself. @returns the keys in order, and the variables. */
async function taken(draft: FlowDraft, input: unknown = {}, interrupt?: number): Promise<{ keys: string[]; vars: Record<string, unknown> }> {
  const flow = flowSchema.parse(draft);
  let machine = new FlowMachine(flow, input, look);
  const keys: string[] = [];
  for (;;) {
    if (interrupt !== undefined && keys.length === interrupt) {
      const stored: FlowState = JSON.parse(JSON.stringify(machine.state));
      machine = new FlowMachine(flow, input, look, stored);
    }
    const due = await machine.next();
    if (due === undefined) return { keys, vars: machine.state.vars };
    keys.push(`${due.path} ${due.key}`);
    if (due.step.do === 'set') machine.state.vars[due.step.as] = evaluate(due.step.value, machine.scope);
  }
}

const EVERYTHING: FlowDraft = {
  vars: { sum: 0, turns: 0, names: [] },
  flows: { add: [set('sum', 'vars.sum + vars.by')] },
  steps: [
    { do: 'for-each', in: 'input.numbers', as: 'number', steps: [{ do: 'call', flow: 'add', with: { by: 'vars.number' } }, { do: 'if', when: { that: 'vars.number > 1' }, steps: [set('names', 'vars.names + ["big"]')], else: [set('names', 'vars.names + ["small"]')] }] },
    { do: 'while', when: { that: 'vars.turns < 3' }, most: 5, steps: [set('turns', 'vars.turns + 1')] },
    set('end', 'true'),
  ],
};

describe('the way through a flow', () => {
  it('branches, loops and calls', async () => {
    const { vars, keys } = await taken(EVERYTHING, { numbers: [1, 2] });
    expect(vars).toMatchObject({ sum: 3, turns: 3, names: ['small', 'big'], end: true });
    expect(new Set(keys).size).toBe(keys.length);
  });

  it('goes on from any stored state as if nothing had happened', async () => {
    const whole = await taken(EVERYTHING, { numbers: [1, 2, 5] });
    for (let cut = 0; cut < whole.keys.length; cut += 1) await expect(taken(EVERYTHING, { numbers: [1, 2, 5] }, cut), `cut at ${String(cut)}`).resolves.toEqual(whole);
  });

  it('stops loops and flows that do not end', async () => {
    await expect(taken({ steps: [{ do: 'while', when: { that: 'true' }, most: 4, steps: [set('a', '1')] }] })).rejects.toThrow('still not done after 4 turns');
    await expect(taken({ limits: { steps: 3 }, steps: [{ do: 'for-each', in: 'range(9)', as: 'i', steps: [set('a', '1')] }] })).rejects.toThrow('more than 3 steps');
    await expect(taken({ flows: { self: [{ do: 'call', flow: 'self' }] }, steps: [{ do: 'call', flow: 'self' }] })).rejects.toThrow('nested more than 50 deep');
  });
});

describe('expressions of a flow', () => {
  const scope = { input: { instruction: 'Select A, B and click Submit.' }, vars: { prices: [3.5, 1, 2], text: 'a-b-c' } };

  it.each([
    ["input.instruction.capture('Select (.*) and').split(', ')", ['A', 'B']],
    ["input.instruction.captures('Select (\\\\w), (\\\\w)')", ['A', 'B']],
    ["vars.text.captures('[a-z]')", ['a', 'b', 'c']],
    ['vars.prices.indexOf(vars.prices.lowest())', 1],
    ['vars.prices.highest()', 3.5],
    ['vars.prices.sorted()', [1, 2, 3.5]],
    ["vars.text.replace('-', '')", 'abc'],
    ['range(3)', [0, 1, 2]],
  ])('%s', (source, value) => {
    expect(evaluate(source, scope)).toEqual(value);
  });

  it('says what is wrong without saying what the data is', () => {
    expect(() => evaluate('vars.secret', { input: {}, vars: { other: 'Grace' } })).toThrow('no such key');
    expect(() => evaluate('vars.(', scope)).toThrow('does not compile');
    expect(() => evaluate("input.instruction.capture('(')", scope)).toThrow('does not compile');
    expect(fill('{{ vars.text }} and {{ vars.prices[0] }}', scope)).toBe('a-b-c and 3.5');
  });

  it('finds every mistake of a flow before anything is touched', () => {
    const flow = flowSchema.parse({ steps: [{ do: 'click', on: { role: 'knob', name: '{{ vars.( }}' } }, { do: 'call', flow: 'missing' }, { do: 'set', as: 'a', value: ')' }, { do: 'compare', baseline: 'cart' }] });
    expect(() => checkFlow(flow)).toThrow(expect.objectContaining({ errors: expect.arrayContaining([expect.objectContaining({ path: '/steps/0/on/role' }), expect.objectContaining({ path: '/steps/0/on/name' }), expect.objectContaining({ path: '/steps/1/flow' }), expect.objectContaining({ path: '/steps/2/value' }), expect.objectContaining({ path: '/steps/3/baseline' })]) }));
  });
});

describe('small readings', () => {
  it.each([['$1,234.50', 1234.5], ['1.234,50 €', 1234.5], ['-7', -7], ['1,234', 1234], ['12,5 %', 12.5], ["1'000'000", 1_000_000], ['3.14', 3.14], ['1.000.000', 1_000_000], ['none', undefined]])('the number in %s', (text, number) => {
    expect(numberOf(text)).toBe(number);
  });

  it('matches addresses and hosts', () => {
    expect(urlMatches('https://shop.example/orders/7', '**/orders/*')).toBe(true);
    expect(urlMatches('https://shop.example/orders/7/items', '**/orders/*')).toBe(false);
    expect(urlMatches('https://shop.example/?a=(b)', 'https://shop.example/?a=(b)')).toBe(true);
    expect(hostMatches('A.example', '*.example')).toBe(true);
    expect(hostMatches('example', '*.example')).toBe(false);
    expect(hostMatches('badexample', 'example')).toBe(false);
  });

  it('explains failures of the browser without quoting the page', () => {
    expect(explain(new Error('locator.click: Timeout\n  - <div id="consent">Grace</div> intercepts pointer events')).message).toBe('another element covers it: an overlay may have to be closed first (`overlays`)');
    expect(explain(new Error('page.goto: net::ERR_TUNNEL_CONNECTION_FAILED at https://x')).message).toBe('the address is not allowed, or does not answer (ERR_TUNNEL_CONNECTION_FAILED)');
    expect(explain(new Error('fill("my password") failed')).message).toBe('the browser refused it');
  });
});
