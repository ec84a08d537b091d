import { parsePrometheus, type Sample } from './prometheus-text.ts';
import { rounded, Rates, type Probe, type Reading } from './reading.ts';

/** Which series of an endpoint count requests, failures and time. */
interface Vocabulary {
  readonly group: string;
  readonly subject: string;
  readonly requests: (sample: Sample) => boolean;
  readonly errors: (sample: Sample) => boolean;
  readonly latencySum: string;
  readonly latencyCount: string;
  readonly names: ReadonlySet<string>;
}

const TEMPORAL: Vocabulary = {
  group: 'temporal',
  subject: 'frontend',
  requests: (sample) => sample.name === 'service_requests' && sample.labels['service_name'] === 'frontend',
  errors: (sample) => sample.name === 'service_errors' && sample.labels['service_name'] === 'frontend',
  latencySum: 'service_latency_nouserlatency_sum',
  latencyCount: 'service_latency_nouserlatency_count',
  names: new Set(['service_requests', 'service_errors', 'service_latency_nouserlatency_sum', 'service_latency_nouserlatency_count']),
};

const HTTP: Vocabulary = {
  group: 'api',
  subject: 'http',
  requests: (sample) => sample.name.endsWith('_duration_seconds_count'),
  errors: (sample) => sample.name.endsWith('_duration_seconds_count') && (sample.labels['status'] ?? '').startsWith('5'),
  latencySum: 'hal9_http_request_duration_seconds_sum',
  latencyCount: 'hal9_http_request_duration_seconds_count',
  names: new Set(['hal9_http_request_duration_seconds_sum', 'hal9_http_request_duration_seconds_count']),
};

/** Milliseconds an endpoint gets to answer. */
const ANSWER_MS = 2000;

/**
 * Reads a Prometheus endpoint of Temporal or of HAL9's API. One that does not answer is a reading too: `<group>.up` is 0.
 * @param name `temporal`, `api`, or the name of a worker, whose endpoint only says whether it answers and how long it has not.
 */
export function prometheusProbe(name: string, url: string, hostId: string): Probe {
  const vocabulary = name === 'temporal' ? TEMPORAL : name === 'api' ? HTTP : undefined;
  const source = vocabulary === undefined ? `worker/${name}` : `${name}/${hostId}`;
  const subject = vocabulary?.subject ?? name;
  const rates = new Rates();
  let answeredAt = performance.now();
  const one = (metric: string, value: number | undefined, unit: string): Reading[] => (value === undefined ? [] : [{ source, metric, subject, value: rounded(value), unit }]);

  return {
    name: `prometheus ${name}`,
    intervalMs: 2000,
    async read() {
      const text = await scrape(url);
      const up = one(`${vocabulary?.group ?? 'worker'}.up`, text === undefined ? 0 : 1, 'flag');
      if (vocabulary === undefined) {
        if (text !== undefined) answeredAt = performance.now();
        const silent = rounded((performance.now() - answeredAt) / 1000);
        return [...up, { source, metric: 'worker.heartbeat', subject, value: silent, unit: 'seconds', facts: { hostId } }];
      }
      if (text === undefined) return up;
      const samples = parsePrometheus(text, (series) => vocabulary.names.has(series));
      const at = performance.now();
      const rate = (key: string, belongs: (sample: Sample) => boolean): number | undefined => rates.perSecond(key, samples.filter(belongs).reduce((sum, sample) => sum + sample.value, 0), at);
      const seconds = rate('seconds', (sample) => sample.name === vocabulary.latencySum);
      const answers = rate('answers', (sample) => sample.name === vocabulary.latencyCount);
      return [
        ...up,
        ...one(`${vocabulary.group}.requests`, rate('requests', vocabulary.requests), '1/s'),
        ...one(`${vocabulary.group}.errors`, rate('errors', vocabulary.errors), '1/s'),
        ...one(`${vocabulary.group}.latency`, seconds === undefined || answers === undefined || answers === 0 ? undefined : seconds / answers, 'seconds'),
      ];
    },
  };
}

async function scrape(url: string): Promise<string | undefined> {
  try {
    const answer = await fetch(url, { signal: AbortSignal.timeout(ANSWER_MS) });
    return answer.ok ? await answer.text() : undefined;
  } catch {
    // Not there, or too slow: that is what `up` says.
    return undefined;
  }
}
