import { randomUUID } from 'node:crypto';
import { Registry } from 'prom-client';
import { SignalStore } from '../../database/signals.ts';
import { systemCaller, type Caller } from '../../platform/identity/caller.ts';
import { KeyRing } from '../../platform/keys/key-ring.ts';
import { SignalIngest, type IngestOptions } from '../../platform/signals/ingest.ts';
import { IngestMetrics } from '../../platform/signals/metrics.ts';
import { SignalReceiver } from '../../platform/signals/receive.ts';
import type { TestDatabase } from '../environment/database.ts';

export interface IngestUnderTest {
  readonly ingest: SignalIngest;
  readonly receiver: SignalReceiver;
  readonly store: SignalStore;
  readonly metrics: IngestMetrics;
  readonly registry: Registry;
}

export const TEST_LANES = 4;

/** The ingest over the test's database, wired as the API does. */
export function createIngest(test: Pick<TestDatabase, 'database'>, options: IngestOptions = {}): IngestUnderTest {
  const registry = new Registry();
  const metrics = new IngestMetrics(registry);
  const store = new SignalStore(test.database);
  const ingest = new SignalIngest(store, metrics, options);
  return { ingest, store, metrics, registry, receiver: new SignalReceiver({ ingest, metrics, lanes: TEST_LANES, keys: new KeyRing([{ id: 't', key: Buffer.alloc(32, 5) }]) }) };
}

export function callerOf(orgId: string): Caller {
  return systemCaller(orgId, 'test');
}

/** A signal as a sender writes it. */
export function signalOf(fields: Readonly<Record<string, unknown>> = {}): Record<string, unknown> {
  return { specversion: '1.0', id: randomUUID(), source: 'host/web-1', type: 'test.reading', time: '2026-01-02T03:04:05Z', data: { value: 1 }, ...fields };
}

/** NDJSON in chunks of a size that cuts lines apart. */
export async function* ndjson(lines: Iterable<string>, chunkBytes = 1000): AsyncIterable<Buffer> {
  let pending = '';
  for (const line of lines) {
    pending += `${line}\n`;
    if (pending.length < chunkBytes) continue;
    const bytes = Buffer.from(pending);
    pending = '';
    for (let start = 0; start < bytes.length; start += chunkBytes) yield bytes.subarray(start, start + chunkBytes);
  }
  if (pending !== '') yield Buffer.from(pending);
}
