import { describe, expect, it } from 'vitest';
import { healed } from '../../platform/browser/healings.ts';

describe('healed locators', () => {
  const flow = {
    steps: [
      { do: 'navigate', url: 'https://shop.example' },
      { do: 'if', when: { url: '**' }, steps: [{ do: 'type', into: { css: '#q', or: [{ label: 'Search' }, { role: 'searchbox' }] }, text: 'shirt' }] },
    ],
    flows: { pay: [{ do: 'click', on: { testId: 'pay', exact: true, or: [{ role: 'button', name: 'Pay' }] } }] },
  };

  it('come first, wherever the step stands, and what was first comes next', () => {
    const changed = healed(flow, [{ path: 'steps/1/steps/0', way: 2 }, { path: 'flows/pay/0', way: 1 }]);
    expect(changed.steps[1]).toMatchObject({ steps: [{ into: { role: 'searchbox', or: [{ css: '#q' }, { label: 'Search' }] } }] });
    expect(changed.flows).toEqual({ pay: [{ do: 'click', on: { role: 'button', name: 'Pay', or: [{ testId: 'pay', exact: true }] } }] });
    expect(flow.steps[1]).toMatchObject({ steps: [{ into: { css: '#q' } }] });
  });

  it.each([['steps/0', 1], ['steps/9', 1], ['steps/1/steps/0', 3]])('are refused where the flow has no such way: %s, %i', (path, way) => {
    expect(() => healed(flow, [{ path, way }])).toThrow(`the flow has no other way at ${path}`);
  });
});
