import { context, trace } from '@opentelemetry/api';
import { InMemorySpanExporter, type ReadableSpan, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base';
import { NodeTracerProvider } from '@opentelemetry/sdk-trace-node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CascadeHouse } from '../cascade/house.ts';
import { reading, THREE_LAYERS } from '../cascade/neurons.ts';

/** What evaluation threads did, as spans of the activity that asked them. */
describe('spans of evaluation threads', () => {
  const exporter = new InMemorySpanExporter();
  const provider = new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });
  let house: CascadeHouse;
  beforeAll(async () => {
    provider.register();
    house = await CascadeHouse.open();
  });
  afterAll(async () => {
    await house.close();
    await provider.shutdown();
    trace.disable();
    context.disable();
  });

  const detector = { name: 'watch', layer: 'L2', subscription: { types: ['test.reading'] }, behaviour: { kind: 'detector', value: 'double(signal.data.value)', emit: { type: 'test.odd' } } };

  async function evaluated(traced: boolean): Promise<{ activity: ReadableSpan | undefined; spans: readonly ReadableSpan[] }> {
    exporter.reset();
    const orgId = await house.test.organisation();
    await house.neurons(orgId, [...THREE_LAYERS, detector]);
    await house.ingest(orgId, Array.from({ length: 500 }, (_, n) => reading(`r${n}`, n)));
    const [batch] = await house.openBatches();
    if (batch === undefined) throw new Error('no batch');
    const job = { kind: 'all-layers' as const, orgId, batchId: batch.id };
    const run = () => house.pools.batch.run<'all-layers'>(job, { timeoutMs: 30_000 });
    if (!traced) {
      await run();
      return { activity: undefined, spans: exporter.getFinishedSpans() };
    }
    await trace.getTracer('test').startActiveSpan('activity', async (span) => {
      await run();
      span.end();
    });
    const spans = exporter.getFinishedSpans();
    return { activity: spans.find(({ name }) => name === 'activity'), spans };
  }

  it('are one for each layer and one for each kind of neuron in it, however many signals there were', async () => {
    const { activity, spans } = await evaluated(true);
    const byId = new Map(spans.map((span) => [span.spanContext().spanId, span]));
    const tree = spans.filter((span) => span !== activity).map((span) => `${byId.get(span.parentSpanContext?.spanId ?? '')?.name ?? 'nothing'} > ${span.name} ${String(span.attributes['hal9.signals'] ?? span.attributes['hal9.items'])}`);
    expect(tree.sort()).toEqual([
      'activity > evaluate L2 500', 'activity > evaluate L3 409', 'activity > evaluate L4 409',
      'evaluate L2 > L2 detector 500', 'evaluate L2 > L2 rules 500', 'evaluate L3 > L3 rules 409', 'evaluate L4 > L4 rules 409',
    ]);
    for (const span of spans) expect(span.spanContext().traceId).toBe(activity?.spanContext().traceId);
    const l2 = spans.find(({ name }) => name === 'evaluate L2');
    // The thread's clock and this one's are the same: its work lies within the activity.
    const ms = ([seconds, nanos]: readonly [number, number]): number => seconds * 1000 + nanos / 1e6;
    expect(ms(l2!.startTime)).toBeGreaterThan(ms(activity!.startTime) - 5);
    expect(ms(l2!.endTime)).toBeLessThan(ms(activity!.endTime) + 5);
  });

  it('are not made, nor measured, where nobody traces', async () => {
    expect((await evaluated(false)).spans).toEqual([]);
  });
});
