import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { verifyExport } from '../../clients/audit/verify.ts';
import { hashLeaf, verifyConsistency, verifyInclusion } from '../../schemas/audit/merkle.ts';
import { auditEntry, encodeEntry } from '../../schemas/audit/entry.ts';
import { parseCheckpoint, parseNote, VerifierKey } from '../../schemas/audit/note.ts';
import { auditEntryDetail, auditKeys, checkpointView, consistencyProof, erasureAnswer, inclusionProof } from '../../schemas/rest/audit.ts';
import { pageOf } from '../../schemas/rest/page.ts';
import { startTestApi, type TestApi, type TestKey } from '../api/running-api.ts';
import { act, auditHouse, type AuditHouse } from './acts.ts';

const page = pageOf(auditEntryDetail.omit({ inclusion: true }));

describe('audit routes', () => {
  let api: TestApi;
  let house: AuditHouse;
  let key: TestKey;
  const user = randomUUID();
  beforeAll(async () => {
    api = await startTestApi();
    house = await auditHouse(api.database.database);
    const orgId = await api.database.organisation();
    key = await api.key(orgId);
    await house.record(...Array.from({ length: 300 }, (_, index) => act(orgId, { risk: index === 42 ? 80 : 0, result: index === 7 ? 'refused' : 'succeeded', ...(index % 3 === 0 ? { actor: { kind: 'user', id: user } } : {}) })));
    await house.sequence(orgId);
    await house.checkpoints.make(orgId);
    await house.record(act(orgId, { action: 'late.change' }));
    await house.sequence(orgId);
  });
  afterAll(async () => {
    await house.close();
    await api.stop();
  });
  const get = (path: string, text = key.text) => fetch(`${api.url}/v1/audit${path}`, { headers: { Authorization: `Bearer ${text}` } });
  const json = async (path: string): Promise<unknown> => (await get(path)).json();

  it('list acts by what they are, in pages', async () => {
    const first = page.parse(await json('/entries?limit=200'));
    const second = page.parse(await json(`/entries?limit=200&cursor=${first.nextCursor ?? ''}`));
    expect([...first.items, ...second.items].map(({ entry }) => entry.seq)).toEqual(Array.from({ length: 301 }, (_, index) => 300 - index));
    expect(second.nextCursor).toBeNull();
    const seqs = async (query: string) => page.parse(await json(`/entries?${query}`)).items.map(({ entry }) => entry.seq);
    expect(await seqs('action=late.change')).toEqual([300]);
    expect(await seqs('result=refused')).toEqual([7]);
    expect(await seqs('minRisk=50')).toEqual([42]);
    expect(await seqs(`actor=${user}&limit=2`)).toEqual([297, 294]);
    expect(await seqs('to=2020-01-01T00:00:00Z')).toEqual([]);
    expect((await seqs('from=2020-01-01T00:00:00Z&limit=500')).length).toBe(301);
    expect(first.items[0]?.personal).toEqual({ address: '192.0.2.7', userAgent: 'curl/8' });
  });

  it('prove an entry by what they answer, under a checkpoint that checks', async () => {
    const answer = await get('/entries/42');
    const text = await answer.text();
    const { entry, inclusion } = auditEntryDetail.parse(JSON.parse(text));
    if (inclusion?.checkpoint == null) throw new Error('no proof');
    const keys = auditKeys.parse(await json('/public-key'));
    const note = parseNote(inclusion.checkpoint);
    expect(VerifierKey.parse(keys.log).hasSigned(note)).toBe(true);
    expect(VerifierKey.parse(keys.witness).hasSigned(note)).toBe(true);
    const { size, root } = parseCheckpoint(note.text);
    const claim = { leafIndex: 42n, treeSize: size, root, leafHash: hashLeaf(encodeEntry(entry)), proof: inclusion.proof.map((hash) => Buffer.from(hash, 'base64')) };
    expect(verifyInclusion(claim)).toBe(true);
    expect(verifyInclusion({ ...claim, leafHash: hashLeaf(encodeEntry(auditEntry.parse({ ...entry, risk: 0 }))) })).toBe(false);
    const alone = inclusionProof.parse(await json('/proofs/inclusion?seq=42'));
    expect(alone).toEqual(inclusion);
    expect(auditEntryDetail.parse(await json('/entries/300')).inclusion).toBeNull();
    const now = inclusionProof.parse(await json('/proofs/inclusion?seq=300&size=301'));
    expect(now).toMatchObject({ treeSize: 301, checkpoint: null });
    expect((await get('/proofs/inclusion?seq=300')).status).toBe(404);
    expect((await get('/proofs/inclusion?seq=1&size=9999')).status).toBe(404);
    expect((await get('/entries/9999')).status).toBe(404);
  });

  it('prove that the log only grew', async () => {
    const { from, to, fromRoot, toRoot, proof } = consistencyProof.parse(await json('/proofs/consistency?from=77&to=301'));
    const bytes = (text: string) => Buffer.from(text, 'base64');
    expect(verifyConsistency({ size1: BigInt(from), size2: BigInt(to), root1: bytes(fromRoot), root2: bytes(toRoot), proof: proof.map(bytes) })).toBe(true);
    expect(consistencyProof.parse(await json('/proofs/consistency?from=5')).to).toBe(300);
    expect((await get('/proofs/consistency?from=5&to=4')).status).toBe(422);
    expect((await get('/proofs/consistency?from=5&to=9999')).status).toBe(404);
    const checkpoints = pageOf(checkpointView).parse(await json('/checkpoints?limit=1'));
    expect(checkpoints.items.map(({ size }) => size)).toEqual([300]);
  });

  it('stream an export that verifies, and write down that they did', async () => {
    const keys = auditKeys.parse(await json('/public-key'));
    const response = await get('/export');
    expect(response.headers.get('content-type')).toBe('application/x-ndjson');
    const lines = (await response.text()).split('\n');
    expect(await verifyExport({ lines, logKey: keys.log })).toMatchObject({ from: 0, to: 301, proven: 300, checkpoints: 1, findings: [] });
    expect(await verifyExport({ lines: (await (await get('/export?after=99')).text()).split('\n'), logKey: keys.log })).toMatchObject({ from: 100, to: 301, proven: 300, findings: [] });
    await house.sequence(key.orgId);
    const acts = page.parse(await json('/entries?action=audit.export')).items.map(({ entry }) => [entry.actor.id, entry.details['format'], entry.details['from']]);
    expect(acts).toEqual([[key.id, 'verifiable', 100], [key.id, 'verifiable', 0]]);
  });

  it('stream lines for a SIEM from where it stopped', async () => {
    const lines = (await (await get('/export?format=jsonl&after=298')).text()).trim().split('\n');
    expect(lines.map((line): unknown => JSON.parse(line))).toMatchObject([{ seq: 299 }, { seq: 300, action: 'late.change' }, { action: 'audit.export' }, { action: 'audit.export' }]);
    const cef = await get('/export?format=cef&from=2020-01-01T00:00:00Z');
    expect(cef.headers.get('content-type')).toContain('text/plain');
    expect((await cef.text()).startsWith('CEF:0|HAL9|HAL9|0.0.0|thing.change|thing change succeeded|1|rt=')).toBe(true);
  });

  it('erase what is personal and keep the proof', async () => {
    const erase = await fetch(`${api.url}/v1/audit/personal-erasures`, { method: 'POST', headers: { Authorization: `Bearer ${key.text}`, 'Content-Type': 'application/json' }, body: JSON.stringify({ userId: user }) });
    expect(erasureAnswer.parse(await erase.json())).toEqual({ erased: 100 });
    expect(auditEntryDetail.parse(await json('/entries/42')).personal).toEqual({});
    const keys = auditKeys.parse(await json('/public-key'));
    expect((await verifyExport({ lines: (await (await get('/export')).text()).split('\n'), logKey: keys.log })).findings).toEqual([]);
  });

  it('are another organisation\'s own, and ask for their permission', async () => {
    const other = await api.key(await api.database.organisation());
    expect((await get('/entries/1', other.text)).status).toBe(404);
    expect(page.parse(await (await get('/entries', other.text)).json()).items).toEqual([]);
    expect((await get('/public-key', other.text)).status).toBe(404);
    const reader = await api.key(key.orgId, ['audit:read']);
    expect((await get('/entries', reader.text)).status).toBe(200);
    expect((await get('/export', reader.text)).status).toBe(403);
    expect((await get('/entries', (await api.key(key.orgId, ['runs:read'])).text)).status).toBe(403);
  });
});
