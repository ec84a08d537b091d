import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

/** What the ingest counts. No label names an organisation, a source or a type: their number has no bound. */
export class IngestMetrics {
  readonly accepted: Counter;
  readonly duplicates: Counter;
  readonly rejected: Counter;
  readonly retries: Counter;
  readonly queued: Gauge;
  readonly groupSize: Histogram;
  readonly commitSeconds: Histogram;

  constructor(registry: Registry) {
    const registers = [registry];
    this.accepted = new Counter({ name: 'hal9_signals_accepted_total', help: 'Signals committed.', registers });
    this.duplicates = new Counter({ name: 'hal9_signals_duplicate_total', help: 'Signals that were there already.', registers });
    this.rejected = new Counter({ name: 'hal9_signals_rejected_total', help: 'Signals refused as malformed.', registers });
    this.retries = new Counter({ name: 'hal9_ingest_retries_total', help: 'Commits tried again after the database went away.', registers });
    this.queued = new Gauge({ name: 'hal9_ingest_queued_signals', help: 'Signals accepted from the wire and not committed yet.', registers });
    this.groupSize = new Histogram({ name: 'hal9_ingest_group_signals', help: 'Signals a commit.', buckets: [1, 10, 100, 1000, 2500, 5000], registers });
    this.commitSeconds = new Histogram({ name: 'hal9_ingest_commit_seconds', help: 'Duration of a commit, seconds.', buckets: [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5], registers });
  }
}
