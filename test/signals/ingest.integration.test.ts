import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sql } from 'kysely';
import { createTestDatabase, type TestDatabase } from '../environment/database.ts';
import { callerOf, createIngest, ndjson, signalOf, TEST_LANES, type IngestUnderTest } from './ingest-setup.ts';

describe('ingest', () => {
  let test: TestDatabase;
  let under: IngestUnderTest;
  beforeAll(async () => {
    test = await createTestDatabase();
    under = createIngest(test);
  });
  afterAll(async () => {
    await under.ingest.close();
    await test.drop();
  });

  const counts = async (orgId: string): Promise<{ signals: number; keys: number; chunked: number }> => {
    const { rows } = await sql<{ signals: number; keys: number; chunked: number }>`
      select (select count(*)::int from signals where org_id = ${orgId}) as signals, (select count(*)::int from signal_keys where org_id = ${orgId}) as keys,
        (select coalesce(sum(signals), 0)::int from chunks where org_id = ${orgId}) as chunked`.execute(test.database.system);
    return rows[0] ?? { signals: -1, keys: -1, chunked: -1 };
  };

  it('commits one signal with its chunk, and fills in the time of receipt', async () => {
    const orgId = await test.organisation();
    const before = Date.now();
    const receipt = await under.receiver.one(callerOf(orgId), { id: 'a', source: 's', type: 't' }, { defaultSpecversion: true });
    expect(receipt).toMatchObject({ accepted: 1, duplicates: 0, rejectedCount: 0 });
    const [row] = await test.database.withOrg(orgId, (tx) => tx.selectFrom('signals').selectAll().execute());
    expect(row?.key).toBe(receipt.ids[0]);
    const envelope: unknown = JSON.parse(row?.envelope ?? '');
    expect(envelope).toMatchObject({ specversion: '1.0', id: 'a', source: 's', type: 't' });
    expect(row?.time.getTime()).toBeGreaterThanOrEqual(before);
    expect(envelope).toHaveProperty('time', row?.time.toISOString());
    expect(await counts(orgId)).toEqual({ signals: 1, keys: 1, chunked: 1 });
  });

  it('takes a signal once: within a request, across requests, and across senders at once', async () => {
    const orgId = await test.organisation();
    const signals = Array.from({ length: 300 }, (_, n) => signalOf({ id: `s${n}`, source: `host/${n % 7}` }));
    const twice = await under.receiver.batch(callerOf(orgId), [...signals, ...signals], { defaultSpecversion: false });
    expect(twice).toMatchObject({ accepted: 300, duplicates: 300 });
    const again = await Promise.all(Array.from({ length: 4 }, () => under.receiver.batch(callerOf(orgId), [...signals, signalOf({ id: 'new' })], { defaultSpecversion: false })));
    expect(again.map((receipt) => receipt.accepted).reduce((a, b) => a + b)).toBe(1);
    expect(await counts(orgId)).toEqual({ signals: 301, keys: 301, chunked: 301 });
    const other = await test.organisation();
    expect(await under.receiver.batch(callerOf(other), signals, { defaultSpecversion: false })).toMatchObject({ accepted: 300, duplicates: 0 });
  });

  it('has on the disk whatever a receipt says is in, a signal that another waits for included', async () => {
    const orgId = await test.organisation();
    const row = under.receiver.prepareOne(callerOf(orgId), signalOf(), { defaultSpecversion: false });
    const written = async (): Promise<string> => (await sql<{ at: string }>`select pg_current_wal_insert_lsn()::text as at`.execute(test.database.system)).rows[0]?.at ?? '';
    const flushed = async (at: string): Promise<boolean> => (await sql<{ flushed: boolean }>`select pg_current_wal_flush_lsn() >= ${at}::pg_lsn as flushed`.execute(test.database.system)).rows[0]?.flushed ?? false;
    await expect(under.store.commitWaiting({ orgId, row, traceparent: undefined, batchId: randomUUID() })).resolves.toMatchObject({ lane: row.lane, signals: 1 });
    const first = await written();
    await expect(under.store.commit({ orgId, rows: [row], traceparent: undefined })).resolves.toMatchObject({ accepted: 0, duplicates: new Set([0]) });
    expect(await flushed(first)).toBe(true);
    const other = under.receiver.prepareOne(callerOf(orgId), signalOf(), { defaultSpecversion: false });
    await under.store.commitWaiting({ orgId, row: other, traceparent: undefined, batchId: randomUUID() });
    const second = await written();
    await under.store.keep(orgId);
    expect(await flushed(second)).toBe(true);
    await expect(under.store.commitWaiting({ orgId, row, traceparent: undefined, batchId: randomUUID() })).resolves.toBeUndefined();
  });

  it('takes a large group with a few duplicates, then many, then none, each signal once', async () => {
    const orgId = await test.organisation();
    const range = (from: number, to: number): Record<string, unknown>[] => Array.from({ length: to - from }, (_, n) => signalOf({ id: `r${from + n}` }));
    const outcomes: [number, number][] = [];
    for (const [from, to] of [[0, 500], [499, 900], [0, 900], [900, 1400], [1400, 1401], [1350, 2000]] as const) {
      const { accepted, duplicates } = await under.receiver.batch(callerOf(orgId), range(from, to), { defaultSpecversion: false });
      outcomes.push([accepted, duplicates]);
    }
    expect(outcomes).toEqual([[500, 0], [400, 1], [0, 900], [500, 0], [1, 0], [599, 51]]);
    expect(await counts(orgId)).toEqual({ signals: 2000, keys: 2000, chunked: 2000 });
    const fresh = createIngest(test);
    const [one, two] = await Promise.all([
      under.receiver.batch(callerOf(orgId), range(1990, 3000), { defaultSpecversion: false }),
      fresh.receiver.batch(callerOf(orgId), range(1990, 3000), { defaultSpecversion: false }),
    ]);
    expect(one.accepted + two.accepted).toBe(1000);
    await fresh.ingest.close();
    expect(await counts(orgId)).toEqual({ signals: 3000, keys: 3000, chunked: 3000 });
  });

  it('keeps the order of a partition key over chunks and commits', async () => {
    const orgId = await test.organisation();
    const slow = createIngest(test, { groupSignals: 500 });
    const lines = Array.from({ length: 6000 }, (_, n) => JSON.stringify(signalOf({ id: `s${n}`, source: `host/${n % 11}`, data: n })));
    expect(await slow.receiver.stream(callerOf(orgId), ndjson(lines))).toMatchObject({ accepted: 6000, rejectedCount: 0 });
    await slow.ingest.close();
    const rows = await test.database.withOrg(orgId, (tx) =>
      tx.selectFrom('signals as s').innerJoin('chunks as c', 'c.id', 's.chunk_id').select(['s.source', 's.envelope', 'c.lane']).orderBy('s.chunk_id').orderBy('s.ordinal').execute(),
    );
    const seen = new Map<string, number>();
    const lanes = new Map<string, number>();
    for (const row of rows) {
      const { data }: { data: number } = JSON.parse(row.envelope);
      expect(data).toBeGreaterThan(seen.get(row.source) ?? -1);
      seen.set(row.source, data);
      expect(lanes.get(row.source) ?? row.lane).toBe(row.lane);
      lanes.set(row.source, row.lane);
    }
    expect(rows).toHaveLength(6000);
    expect(new Set(lanes.values()).size).toBeGreaterThan(1);
    expect(Math.max(...lanes.values())).toBeLessThan(TEST_LANES);
  });

  it('names bad lines by number and takes the good ones', async () => {
    const orgId = await test.organisation();
    const good = (id: string): string => JSON.stringify(signalOf({ id }));
    const receipt = await under.receiver.stream(
      callerOf(orgId),
      ndjson([good('1'), '{"id": "2"', '', good('4'), '{"source":"s","type":"t"}', '[1]', JSON.stringify(signalOf({ id: 'nul\u0000' })), good('8')], 37),
    );
    expect(receipt.accepted).toBe(3);
    expect(receipt.rejected.map(({ line }) => line)).toEqual([2, 5, 6, 7]);
    expect(receipt.rejected[1]?.errors[0]?.path).toBe('/id');
    expect(receipt.rejected[3]?.errors).toEqual([{ path: '/id', message: expect.stringContaining('U+0000') }]);
    await expect(under.receiver.stream(callerOf(orgId), ndjson(['no', 'never']))).rejects.toMatchObject({ type: 'InvalidInput', errors: [{ path: '/1' }, { path: '/2' }] });
  });

  it('shares a commit between requests of one organisation', async () => {
    const orgId = await test.organisation();
    const receipts = await Promise.all(Array.from({ length: 200 }, (_, n) => under.receiver.one(callerOf(orgId), signalOf({ id: `g${n % 150}` }), { defaultSpecversion: false })));
    expect(receipts.filter((receipt) => receipt.accepted === 1)).toHaveLength(150);
    expect(receipts.filter((receipt) => receipt.duplicates === 1)).toHaveLength(50);
    const chunks = await test.database.withOrg(orgId, (tx) => tx.selectFrom('chunks').select('id').execute());
    expect(chunks.length).toBeLessThan(20);
  });

  it('stores texts that COPY has to escape exactly as sent, large and small', async () => {
    const orgId = await test.organisation();
    const nasty = ['tab\there', 'line\nbreak', 'return\r', 'back\\slash', '\\.', '\\N', 'ünï©ödé 🦉', '"quotes"', '', ' '];
    const signals = Array.from({ length: 240 }, (_, n) => signalOf({ id: `n${n}`, source: `s${nasty[n % nasty.length]}`, data: nasty[(n + 3) % nasty.length], subject: 'x' }));
    await under.receiver.batch(callerOf(orgId), signals.slice(0, 40), { defaultSpecversion: false });
    await under.receiver.batch(callerOf(orgId), signals.slice(40), { defaultSpecversion: false });
    const rows = await test.database.withOrg(orgId, (tx) => tx.selectFrom('signals').select(['source', 'envelope']).execute());
    const stored = rows.map((row) => JSON.parse(row.envelope) as unknown);
    expect(stored).toEqual(expect.arrayContaining(signals));
    expect(new Set(rows.map((row) => row.source))).toEqual(new Set(signals.map((signal) => signal['source'])));
  });
});
