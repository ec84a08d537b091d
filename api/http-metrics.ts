import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

/** Rate, errors and duration of requests by route. No label carries an organisation, a key, a path or an id. */
export class HttpMetrics {
  readonly #duration: Histogram<'method' | 'route' | 'status'>;
  readonly #failures: Counter<'route' | 'failure'>;
  readonly #inFlight: Gauge;

  constructor(registry: Registry) {
    this.#duration = new Histogram({
      name: 'hal9_http_request_duration_seconds',
      help: 'Time from the request line to the last byte handed to the socket.',
      labelNames: ['method', 'route', 'status'],
      buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
      registers: [registry],
    });
    this.#failures = new Counter({ name: 'hal9_http_failures_total', help: 'Failure answers by type.', labelNames: ['route', 'failure'], registers: [registry] });
    this.#inFlight = new Gauge({ name: 'hal9_http_requests_in_flight', help: 'Requests being answered.', registers: [registry] });
  }

  begin(): void {
    this.#inFlight.inc();
  }

  /** @param route id of the route, `unmatched` for none. */
  end(method: string, route: string, status: number, seconds: number): void {
    this.#inFlight.dec();
    this.#duration.observe({ method, route, status }, seconds);
  }

  failure(route: string, failure: string): void {
    this.#failures.inc({ route, failure });
  }
}
