/** One sample line of the Prometheus text format, https://prometheus.io/docs/instrumenting/exposition_formats/. */
export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

const LINE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)(?:\s+-?\d+)?$/;
const LABEL = /([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"/g;

/**
 * The samples whose name is wanted. Comments, types and lines that are no samples are skipped.
 * @param wanted asked with the name before the labels are read, because most lines are not.
 */
export function parsePrometheus(text: string, wanted: (name: string) => boolean): Sample[] {
  const samples: Sample[] = [];
  for (const line of text.split('\n')) {
    if (line === '' || line.startsWith('#')) continue;
    const name = line.slice(0, line.search(/[{\s]/));
    if (!wanted(name)) continue;
    const match = LINE.exec(line.trim());
    if (match === null) continue;
    const labels = Object.fromEntries([...(match[2] ?? '').matchAll(LABEL)].map(([, key = '', value = '']) => [key, value.replace(/\\(.)/g, (_, escaped: string) => (escaped === 'n' ? '\n' : escaped))]));
    samples.push({ name, labels, value: numberOf(match[3] ?? '') });
  }
  return samples;
}

function numberOf(text: string): number {
  if (text === '+Inf') return Infinity;
  if (text === '-Inf') return -Infinity;
  return Number(text);
}
