/** Three layers of rules: a hot reading escalates, L3 passes it on, L4 decides to start an operation. */
export const THREE_LAYERS = [
  {
    name: 'hot', layer: 'L2', subscription: { types: ['test.reading'] },
    behaviour: { kind: 'rules', rules: [{ when: 'signal.data.value > 90.0', emit: { type: 'test.hot', severity: 'warning', data: '{"value": signal.data.value}' } }] },
  },
  {
    name: 'confirm', layer: 'L3', subscription: { types: ['test.hot'] },
    behaviour: { kind: 'rules', rules: [{ when: 'true', emit: { type: 'test.confirmed', severity: 'critical' } }] },
  },
  {
    name: 'cool', layer: 'L4', subscription: { types: ['test.confirmed'] },
    behaviour: {
      kind: 'rules',
      rules: [{ when: 'true', decide: { summary: '"cool " + signal.subject', reason: '"value " + string(signal.data.value)', severity: 'critical', operation: { type: 'remediate', input: '{"subject": signal.subject}' } } }],
    },
  },
] as const;

/** A reading of one machine. */
export function reading(id: string, value: number, more: Readonly<Record<string, unknown>> = {}): Record<string, unknown> {
  return { id, source: 'host/a', type: 'test.reading', subject: 'host-a', time: '2026-01-01T00:00:00Z', data: { value }, ...more };
}
