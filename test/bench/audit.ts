import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { verifyExport } from '../../clients/audit/verify.ts';
import { recordAct, type Act } from '../../database/audit-acts.ts';
import { Database } from '../../database/database.ts';
import { startStack } from '../../deploy/local/stack.ts';
import { verifyInclusion } from '../../schemas/audit/merkle.ts';
import { parseCheckpoint, parseNote, VerifierKey } from '../../schemas/audit/note.ts';
import { auditKeys, inclusionProof } from '../../schemas/rest/audit.ts';
import type { Bench } from './arguments.ts';

const WRITERS = 64;
/** Proofs asked for, one after the other. */
const PROOFS = 200;
const POLL_MS = 20;
/** Acts one statement of the filling inserts. */
const FILL = 50_000;

/**
 * Acts a second from 64 writers, each act in a transaction of its own, until the shipped dispatcher has numbered, hashed and written
 * all of them; then proofs over HTTP out of a log of a million. Everything is verified: no fork, no gap, every proof. The limit is
 * what the same writers commit when they insert a bare row.
 * Options: `--events N` (default 40,000), `--log N` (entries of the log proofs come from, default 1,000,000).
 */
export const run: Bench = async (args) => {
  const events = args.number('events', 40_000);
  const logSize = args.number('log', 1_000_000);
  const data = join(args.folder, 'data');
  const stack = await startStack({ settings: { HAL9_DATA: data, HAL9_PORT: '0' }, processes: ['api', 'dispatcher'], progress: args.progress, signal: args.signal });
  const database = new Database({ url: stack.databaseUrl, poolSize: WRITERS, applicationName: 'hal9-bench' });
  const owner = new pg.Pool({ connectionString: stack.databaseUrl, max: WRITERS });
  try {
    const apiKey = stack.first?.apiKey;
    if (apiKey === undefined) throw new Error('the stack is not new');
    const get = (path: string) => fetch(`${stack.url}/v1/audit${path}`, { headers: { Authorization: `Bearer ${apiKey}` }, signal: args.signal });
    const { rows } = await owner.query<{ org_id: string }>('select org_id from organisations order by created_at limit 1');
    const orgId = rows[0]?.org_id ?? raise();
    const size = async (): Promise<number> => Number((await owner.query<{ size: string }>('select size from audit_trees where org_id = $1', [orgId])).rows[0]?.size ?? 0);
    const until = async (wanted: number): Promise<void> => {
      while ((await size()) < wanted) {
        args.signal.throwIfAborted();
        await sleep(POLL_MS);
      }
    };

    const bareRowsPerSecond = await bareRows(owner, Math.ceil(events / 4));
    args.progress(`bare rows: ${Math.round(bareRowsPerSecond)}/s`);
    await write(WRITERS * 20, () => database.withOrg(orgId, (tx) => recordAct(tx, actOf(orgId))));
    await sleep(500);
    const before = await settled(owner, size);
    const began = performance.now();
    await write(events, () => database.withOrg(orgId, (tx) => recordAct(tx, actOf(orgId))));
    const written = performance.now();
    await until(before + events);
    const done = performance.now();
    const eventsPerSecond = events / ((done - began) / 1000);
    args.progress(`${Math.round(eventsPerSecond)} acts/s, the last numbered ${Math.round(done - written)} ms after its commit`);

    for (let at = await size(); at < logSize; at += FILL) {
      await owner.query(
        `insert into audit_acts (org_id, id, action, result, actor_kind, actor_id, resource_kind, resource_id, request_id, personal)
         select $1, uuidv7(), 'bench.fill', 'succeeded', 'system', 'bench', 'bench', n::text, 'bench', '{"address": "192.0.2.1"}' from generate_series(1, $2::int) as n`,
        [orgId, Math.min(FILL, logSize - at)],
      );
    }
    const filling = performance.now();
    const fillFrom = await size();
    await until(logSize);
    const bulkPerSecond = (logSize - fillFrom) / ((performance.now() - filling) / 1000);
    args.progress(`log of ${logSize} entries, numbered ${Math.round(bulkPerSecond)}/s in bulk`);
    const keys = auditKeys.parse(await (await get('/public-key')).json());
    await witnessed(get, logSize);

    const times: number[] = [];
    let proofBytes = 0;
    for (let index = 0; index < PROOFS; index++) {
      const seq = Math.floor(Math.random() * logSize);
      const start = performance.now();
      const text = await (await get(`/proofs/inclusion?seq=${seq}`)).text();
      times.push(performance.now() - start);
      proofBytes = Math.max(proofBytes, Buffer.byteLength(text));
      assertProof(inclusionProof.parse(JSON.parse(text)), keys.log, seq);
    }
    const sorted = times.toSorted((one, other) => one - other);

    const witness = (await readFile(join(data, 'audit-witness', `${orgId}.log`), 'utf8')).split('\n');
    const verdict = await verifyExport({ lines: linesOf(await get('/export')), logKey: keys.log, witness: { lines: witness, key: keys.witness } });
    const gaps = verdict.findings.filter(({ kind }) => kind === 'missing' || kind === 'misplaced').length;
    if (verdict.to < logSize) throw new Error(`the export ends at ${verdict.to}`);
    return {
      eventsPerSecond: Math.round(eventsPerSecond),
      forks: verdict.findings.length - gaps,
      gaps,
      proofMs: round(sorted[Math.floor(sorted.length * 0.95)] ?? 0),
      proofBytes,
      proofP50Ms: round(sorted[sorted.length >> 1] ?? 0),
      numberedAfterLastCommitMs: Math.round(done - written),
      bareRowsPerSecond: Math.round(bareRowsPerSecond),
      ratioToBareRows: round(eventsPerSecond / bareRowsPerSecond),
      bulkPerSecond: Math.round(bulkPerSecond),
      logSize: verdict.to,
      checkpoints: verdict.checkpoints,
    };
  } finally {
    await Promise.all([database.close(), owner.end()]);
    await stack.stop();
  }
};

/** Work from 64 writers at once, so often in all. */
async function write(count: number, work: () => Promise<unknown>): Promise<void> {
  let left = count;
  await Promise.all(
    Array.from({ length: WRITERS }, async () => {
      while (left-- > 0) await work();
    }),
  );
}

/** What the same number of connections commits of the least there is: one row of about an act's size. */
async function bareRows(owner: pg.Pool, count: number): Promise<number> {
  await owner.query('create table bench_rows (id uuid primary key, body jsonb not null)');
  const row = JSON.stringify(actOf('00000000-0000-4000-8000-000000000000'));
  const began = performance.now();
  await write(count, () => owner.query('insert into bench_rows values ($1, $2)', [randomUUID(), row]));
  const seconds = (performance.now() - began) / 1000;
  await owner.query('drop table bench_rows');
  return count / seconds;
}

/** The size once nothing waits any more. */
async function settled(owner: pg.Pool, size: () => Promise<number>): Promise<number> {
  for (;;) {
    const { rows } = await owner.query('select 1 from audit_acts limit 1');
    if (rows.length === 0) return size();
    await sleep(POLL_MS);
  }
}

async function witnessed(get: (path: string) => Promise<Response>, logSize: number): Promise<void> {
  for (;;) {
    const { items } = (await (await get('/checkpoints?limit=1')).json()) as { items: { size: number }[] };
    if ((items[0]?.size ?? 0) >= logSize) return;
    await sleep(POLL_MS);
  }
}

function assertProof({ leafIndex, leafHash, proof, checkpoint }: ReturnType<typeof inclusionProof.parse>, key: string, seq: number): void {
  const note = parseNote(checkpoint ?? raise());
  const { size, root } = parseCheckpoint(note.text);
  const isRight = leafIndex === seq && VerifierKey.parse(key).hasSigned(note);
  if (!isRight || !verifyInclusion({ leafIndex: BigInt(leafIndex), treeSize: size, root, leafHash: Buffer.from(leafHash, 'base64'), proof: proof.map((hash) => Buffer.from(hash, 'base64')) })) throw new Error(`the proof of entry ${seq} is wrong`);
}

async function* linesOf(response: Response): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const chunk of response.body ?? []) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n');
    rest = lines.pop() ?? '';
    yield* lines;
  }
  yield rest;
}

function actOf(orgId: string): Act {
  return {
    orgId,
    action: 'bench.act',
    result: 'succeeded',
    actor: { kind: 'user', id: randomUUID() },
    resource: { kind: 'bench', id: randomUUID() },
    requestId: randomUUID(),
    risk: 0,
    details: { amount: 3 },
    personal: { address: '192.0.2.7', userAgent: 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36' },
  };
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}

function raise(): never {
  throw new Error('not there');
}
