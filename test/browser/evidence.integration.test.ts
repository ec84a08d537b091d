import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { unzipSync } from 'fflate';
import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createBlobStore } from '../../platform/blobs/create.ts';
import { loadConfig } from '../../platform/config/config.ts';
import { KeyRing } from '../../platform/keys/key-ring.ts';
import { startTestApi, type TestApi } from '../api/running-api.ts';

const PATIENT = { timeout: 90_000 };
const JPEG = Buffer.from([0xff, 0xd8, 0xff, 0xe0]);

/** Evidence of sessions that the rows tell of: no browser is needed to hand it out, nor to watch a run. */
describe('evidence of browser sessions', { timeout: 180_000 }, () => {
  let folder = '';
  let test: TestApi;
  let orgId = '';
  let key = '';
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'hal9-evidence-'));
    test = await startTestApi({ HAL9_DATA: folder });
    orgId = await test.database.organisation();
    key = (await test.key(orgId)).text;
  });
  afterAll(async () => {
    await test.stop();
    await rm(folder, { recursive: true, force: true });
  });

  const ask = (path: string, as = key, init: RequestInit = {}): Promise<Response> => fetch(`${test.url}${path}`, { ...init, headers: { Authorization: `Bearer ${as}`, 'Content-Type': 'application/json' } });
  const step = (runSession: string, target: string, picture: string | null): Promise<unknown> =>
    test.database.database.withOrg(orgId, (tx) => sql`insert into browser_steps (org_id, session_id, key, path, verb, outcome, target, url, started_at, ended_at, picture) values (${orgId}, ${runSession}, ${randomUUID()}, 'steps/0', 'click', 'done', ${target}, 'https://shop.example/', now(), now(), ${picture})`.execute(tx));
  const session = async (runId: string): Promise<string> => {
    const id = randomUUID();
    await test.database.database.withOrg(orgId, (tx) => sql`insert into browser_sessions (org_id, id, run_id, flow) values (${orgId}, ${id}, ${runId}, 'shop')`.execute(tx));
    return id;
  };

  it('are one archive, for who may decrypt, and on record', async () => {
    const keys = new KeyRing([{ id: 'test', key: Buffer.alloc(32, 7) }]);
    const blobs = createBlobStore(loadConfig({ HAL9_DATA: folder, DATABASE_URL: test.database.url }), keys);
    const runId = `browser~${randomUUID()}`;
    const id = await session(runId);
    // More than is read at a time, and one whose picture is gone.
    for (let count = 0; count < 205; count += 1) await step(id, `button "${String(count)}"`, count === 0 ? await blobs.put(orgId, JPEG) : count === 1 ? `blob:${'0'.repeat(64)}` : null);
    const response = await ask(`/v1/runs/${runId}/browser-evidence`);
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toBe('application/zip');
    expect(response.headers.get('content-disposition')).toBe(`attachment; filename="${runId.replace('~', '-')}.zip"`);
    const files = unzipSync(new Uint8Array(await response.arrayBuffer()));
    const pictures = Object.keys(files).filter((name) => name.startsWith('pictures/'));
    expect(pictures).toHaveLength(1);
    expect(Buffer.from(files[pictures[0] ?? ''] ?? [])).toEqual(JPEG);
    const steps = Buffer.from(files['steps.ndjson'] ?? []).toString('utf8').trim().split('\n').map((line) => JSON.parse(line) as { target: string; picture: string | null });
    expect(steps.map(({ target }) => target)).toEqual(Array.from({ length: 205 }, (_, count) => `button "${String(count)}"`));
    expect(steps.slice(0, 3).map(({ picture }) => picture)).toEqual([pictures[0], null, null]);
    expect(JSON.parse(Buffer.from(files['session.json'] ?? []).toString('utf8'))).toMatchObject({ runId, flow: 'shop', state: 'open' });

    const reader = (await test.key(orgId, ['runs:read'])).text;
    expect((await ask(`/v1/runs/${runId}/browser-evidence`, reader)).status).toBe(403);
    const stranger = (await test.key(await test.database.organisation())).text;
    expect((await ask(`/v1/runs/${runId}/browser-evidence`, stranger)).status).toBe(404);
    const { rows } = await sql<{ result: string }>`select result from audit_acts where org_id = ${orgId} and action = 'browser.evidence'`.execute(test.database.database.system);
    expect(rows.map(({ result }) => result).sort()).toEqual(['refused', 'succeeded']);
  });

  it('are told step by step to who started a flow from the command line', async () => {
    const file = join(folder, 'flow.yaml');
    await writeFile(file, 'steps:\n  - do: pause\n    seconds: 1\n');
    const child = spawn(process.execPath, [join(import.meta.dirname, '../../cli/main.ts'), 'browser', 'run', file, '--watch', '--tag', 'watched'], { env: { ...process.env, HOME: folder, HAL9_URL: test.url, HAL9_API_KEY: key }, stdio: ['ignore', 'pipe', 'pipe'] });
    let said = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (said += chunk.toString('utf8')));
    const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
    try {
      await expect.poll(() => said, PATIENT).toContain('/console/browser.html?id=');
      const runId = /browser~[0-9a-f-]+/.exec(said)?.[0] ?? '';
      const id = await session(runId);
      await step(id, 'button "Save"', null);
      await expect.poll(() => said, PATIENT).toContain('done click button "Save"');
      await step(id, 'button "Send"', null);
      await expect.poll(() => said, PATIENT).toContain('done click button "Send"');
      expect(said.split('button "Save"')).toHaveLength(2);
      // Nobody serves the queue of this test: the run ends from outside.
      expect((await ask(`/v1/runs/${runId}/terminate`, key, { method: 'POST', body: JSON.stringify({ reason: 'seen enough' }) })).ok).toBe(true);
      await expect(ended).resolves.toBe(1);
      expect(said).toContain('terminated');
    } finally {
      child.kill('SIGKILL');
    }
  });
});
