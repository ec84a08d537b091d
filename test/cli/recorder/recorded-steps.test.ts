import { describe, expect, it } from 'vitest';
import { checkFlow } from '../../../activities/browser/flow-check.ts';
import { fill } from '../../../activities/browser/expressions.ts';
import { inWords, pageEventSchema, RecordedSteps, type PageEvent, type RecordedPlace } from '../../../cli/recorder/recorded-steps.ts';
import { flowSchema } from '../../../schemas/browser/flow.ts';

const field = (label: string): RecordedPlace => ({ ways: [{ role: 'textbox', name: label, exact: true }, { label }, { css: `[name=${label}]` }] });
const button = (name: string): RecordedPlace => ({ ways: [{ role: 'button', name, exact: true }] });
const click = (on: RecordedPlace, more: Partial<Extract<PageEvent, { kind: 'click' }>> = {}): PageEvent => ({ kind: 'click', on, button: 'left', times: 1, modifiers: [], ...more });
const recorded = (...events: readonly Parameters<RecordedSteps['add']>[0][]): RecordedSteps => {
  const steps = new RecordedSteps('shop');
  for (const event of events) steps.add(event);
  return steps;
};

describe('recorded steps', () => {
  it('are a flow: the first way to an element, and the others behind it', () => {
    const { steps, ...flow } = recorded({ kind: 'navigate', url: 'https://shop.example/' }, { kind: 'type', into: field('Name'), text: 'Ada' }, click(button('Save'))).flow('shop.example');
    expect(flow).toEqual({ name: 'shop.example' });
    expect(steps).toEqual([
      { do: 'navigate', url: 'https://shop.example/' },
      { do: 'type', into: { role: 'textbox', name: 'Name', exact: true, or: [{ label: 'Name' }, { css: '[name=Name]' }] }, text: 'Ada' },
      { do: 'click', on: { role: 'button', name: 'Save', exact: true } },
    ]);
    expect(() => checkFlow(flowSchema.parse({ ...flow, steps }))).not.toThrow();
  });

  it('take letter after letter, and Enter at the end, as one step', () => {
    const typed = ['A', 'Ad', 'Ada'].map((text): PageEvent => ({ kind: 'type', into: field('Name'), text }));
    expect(recorded(...typed, { kind: 'press', key: 'Enter', on: field('Name') }).flow('x').steps).toEqual([expect.objectContaining({ do: 'type', text: 'Ada', submit: true })]);
    expect(recorded(...typed, { kind: 'press', key: 'Enter', on: field('Other') }).count).toBe(2);
    expect(recorded(...typed, { kind: 'press', key: 'Enter', on: field('Name') }, ...typed).count, 'what is typed after Enter is a step of its own').toBe(2);
  });

  it('take clicks that follow each other, and a choice that is changed, as one step', () => {
    expect(recorded(click(button('Add')), click(button('Add'), { times: 2 })).flow('x').steps).toEqual([expect.objectContaining({ do: 'click', times: 2 })]);
    expect(recorded(click(button('Add')), click(button('Add'))).count).toBe(2);
    expect(recorded({ kind: 'select', from: field('Room'), options: ['Single'] }, { kind: 'select', from: field('Room'), options: ['Double'] }).flow('x').steps).toEqual([expect.objectContaining({ options: ['Double'] })]);
    expect(recorded({ kind: 'check', on: field('Terms'), checked: true }, { kind: 'check', on: field('Terms'), checked: false }).flow('x').steps).toEqual([expect.objectContaining({ do: 'check', checked: false })]);
    expect(recorded({ kind: 'press', key: 'ArrowDown', on: field('Town') }, { kind: 'press', key: 'ArrowDown', on: field('Town') }).flow('x').steps).toEqual([expect.objectContaining({ key: 'ArrowDown', times: 2 })]);
  });

  it('refer to secrets, and ask for what a recording must not keep', () => {
    const steps = recorded({ kind: 'type', into: field('User'), secret: 'username' }, { kind: 'type', into: field('Password'), secret: 'password' }, { kind: 'type', into: field('Card'), asked: 'ccNumber' }, { kind: 'upload', into: field('File'), names: ['a.txt', 'b.txt'] });
    expect(steps.needsCredential).toBe(true);
    expect(steps.inputs).toEqual(['ccNumber', 'file', 'file2']);
    expect(steps.flow('x').steps).toMatchObject([{ secret: { credential: 'shop', field: 'username' } }, { secret: { credential: 'shop', field: 'password' } }, { text: '{{ input.ccNumber }}' }, { files: [{ name: 'a.txt', content: '{{ input.file }}' }, { name: 'b.txt', content: '{{ input.file2 }}' }] }]);
    expect(steps.flow('x').steps[0]).not.toHaveProperty('text');
  });

  it('mean braces as they were typed', () => {
    const [step] = recorded({ kind: 'type', into: field('Name'), text: 'a {{ b }} {{' }).flow('x').steps;
    expect(step?.do === 'type' && fill(step.text ?? '', { input: {}, vars: {} })).toBe('a {{ b }} {{');
  });

  it('turn to tabs, and say that questions were agreed to', () => {
    const steps = recorded({ kind: 'tab', to: 'newest' }, { kind: 'tab', to: 'first' }, { kind: 'history', go: 'back' });
    steps.accepted();
    expect(steps.flow('x')).toMatchObject({ dialogs: 'accept', steps: [{ do: 'tab', to: 'first' }, { do: 'history', go: 'back' }] });
  });

  it('are not more than a flow may have', () => {
    const steps = recorded(...Array.from({ length: 500 }, () => click(button('Add'))));
    expect(() => steps.add(click(button('Add')))).toThrow('500 steps at the most');
    expect(() => flowSchema.parse(steps.flow('x'))).not.toThrow();
  });

  it('are said in a line', () => {
    const said = recorded({ kind: 'navigate', url: 'https://shop.example/' }, click(button('Save')), { kind: 'type', into: { ways: [{ label: 'Password' }] }, secret: 'password' }, { kind: 'press', key: 'Escape' }).flow('x').steps.map(inWords);
    expect(said).toEqual(['navigate https://shop.example/', 'click button "Save"', 'type label "Password"', 'press Escape']);
  });

  it.each<[string, unknown]>([
    ['a step of another kind', { kind: 'navigate', url: 'https://evil.example/' }],
    ['a key that is no such key', { kind: 'press', key: 'F12' }],
    ['more than is asked', { ...click(button('Save')), force: true }],
    ['nowhere', { ...click(button('Save')), on: { ways: [] } }],
  ])('are not what a page makes up: %s', (_name, told) => {
    expect(pageEventSchema.safeParse(told).success).toBe(false);
  });
});
