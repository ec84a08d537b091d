import { join } from 'node:path';
import { expect, it } from 'vitest';
import { parseNeuron } from '../../neurons/validate-neuron.ts';
import { blocksOf } from '../docs/blocks.ts';

const PAGE = 'docs/how-to/neurons.md';
const blocks = (await blocksOf(join(import.meta.dirname, '../..'), PAGE)).filter(({ language }) => language === 'json');

it.each(blocks.map(({ line, code }) => [line, code] as const))(`the neuron at line %d of ${PAGE} may be stored`, (_, code) => {
  expect(parseNeuron(JSON.parse(code))).toMatchObject({ draft: { enabled: true } });
});

it('shows every kind that fits a page', () => {
  expect(new Set(blocks.map(({ code }): unknown => Reflect.get(Object(Reflect.get(Object(JSON.parse(code)), 'behaviour')), 'kind')))).toEqual(new Set(['rules', 'detector', 'correlator', 'http']));
});
