/** Where the benched API is. */
export interface Target {
  readonly url: string;
  readonly apiKey: string;
}

/** Three layers of rules: L2 escalates what is too hot, L3 confirms, L4 decides. */
const NEURONS = [
  {
    name: 'bench-hot', layer: 'L2', subscription: { types: ['bench.reading'] },
    behaviour: { kind: 'rules', rules: [{ when: 'signal.data.value > 90.0', emit: { type: 'bench.hot', severity: 'warning' } }] },
  },
  {
    name: 'bench-confirm', layer: 'L3', subscription: { types: ['bench.hot'] },
    behaviour: { kind: 'rules', rules: [{ when: 'signal.data.value > 80.0', emit: { type: 'bench.confirmed', severity: 'critical' } }] },
  },
  {
    name: 'bench-decide', layer: 'L4', subscription: { types: ['bench.confirmed'] },
    behaviour: { kind: 'rules', rules: [{ when: 'true', decide: { summary: '"cool " + signal.subject', reason: '"it reads " + string(signal.data.value)', severity: 'critical' } }] },
  },
];

/** @throws {Error} when the API refuses one. */
export async function createNeurons({ url, apiKey }: Target): Promise<void> {
  for (const neuron of NEURONS) {
    const response = await fetch(`${url}/v1/neurons`, { method: 'POST', headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' }, body: JSON.stringify(neuron) });
    if (response.status !== 201) throw new Error(`neuron refused: ${String(response.status)} ${await response.text()}`);
  }
}
