import { describe, expect, it } from 'vitest';
import { parsePrometheus } from '../../workers/host/prometheus-text.ts';

describe('the Prometheus text format', () => {
  it('reads names, labels with escapes, numbers and timestamps, and skips the rest', () => {
    const text = ['# HELP a_total Things.', '# TYPE a_total counter', 'a_total{path="C:\\\\x",say="\\"hi\\"\\n"} 3 1395066363000', 'b 1.5e3', 'c{le="+Inf"} +Inf', 'not a sample line', 'other 1', ''].join('\n');
    expect(parsePrometheus(text, (name) => name !== 'other')).toEqual([
      { name: 'a_total', labels: { path: 'C:\\x', say: '"hi"\n' }, value: 3 },
      { name: 'b', labels: {}, value: 1500 },
      { name: 'c', labels: { le: '+Inf' }, value: Infinity },
    ]);
  });
});
