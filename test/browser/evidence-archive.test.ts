import { unzipSync } from 'fflate';
import { describe, expect, it } from 'vitest';
import type { BrowserSession, StoredBrowserStep } from '../../database/browser-sessions.ts';
import { evidenceArchive } from '../../platform/browser/evidence-archive.ts';

const AT = new Date('2031-05-04T10:00:00.000Z');
const SESSION: BrowserSession = { id: 's', runId: 'browser~1', flow: 'a <b> shop', fence: 3, worker: null, state: 'done', checkpoint: null, checkpointedAt: null, workedMs: 1200, createdAt: AT, closedAt: AT };
const step = (seq: number, more: Partial<StoredBrowserStep> = {}): StoredBrowserStep => ({ seq, key: String(seq), path: `steps/${String(seq)}`, verb: 'click', name: null, outcome: 'done', target: 'button "Save"', way: 0, failure: null, url: 'https://shop.example/', startedAt: AT, endedAt: new Date(AT.getTime() + 250), picture: `blob:${String(seq)}`, snapshot: null, comparison: null, actual: null, baseline: null, difference: null, files: [], troubles: [], ...more });

async function filesOf(steps: readonly StoredBrowserStep[], blobs: Readonly<Record<string, Uint8Array>>): Promise<Record<string, Uint8Array>> {
  const parts: Uint8Array[] = [];
  const all = async function* (): AsyncGenerator<StoredBrowserStep> {
    yield* steps;
  };
  for await (const part of evidenceArchive(SESSION, { steps: all, blob: async (reference) => blobs[reference ?? ''] })) parts.push(part);
  return unzipSync(new Uint8Array(Buffer.concat(parts)));
}

const text = (bytes: Uint8Array | undefined): string => Buffer.from(bytes ?? []).toString('utf8');

describe('an archive of evidence', () => {
  it('has the session, its steps and their pictures, and a page that shows them', async () => {
    const jpeg = new Uint8Array([0xff, 0xd8, 0xff, 0xe0]);
    const files = await filesOf([step(7), step(9, { outcome: 'failed', failure: 'there is no <button>', troubles: [{ kind: 'console', text: 'oops & more' }], snapshot: 'blob:words' })], { 'blob:7': jpeg, 'blob:words': Buffer.from('- button "Go"\n') });
    expect(Object.keys(files).sort()).toEqual(['index.html', 'pictures/00000007.jpg', 'session.json', 'snapshots/00000009.yaml', 'steps.ndjson']);
    expect(files['pictures/00000007.jpg']).toEqual(jpeg);
    expect(text(files['snapshots/00000009.yaml'])).toBe('- button "Go"\n');
    expect(JSON.parse(text(files['session.json']))).toEqual({ runId: 'browser~1', flow: 'a <b> shop', state: 'done', takeUps: 2, workedMs: 1200, createdAt: AT.toISOString(), closedAt: AT.toISOString() });
    expect(text(files['steps.ndjson']).trim().split('\n').map((line) => JSON.parse(line) as unknown)).toMatchObject([{ seq: 7, picture: 'pictures/00000007.jpg', snapshot: null, startedAt: AT.toISOString() }, { seq: 9, outcome: 'failed', picture: null, snapshot: 'snapshots/00000009.yaml' }]);
    const page = text(files['index.html']);
    expect(page).toContain('src="pictures/00000007.jpg"');
    expect(page).toContain('href="snapshots/00000009.yaml"');
    expect(page).toContain('there is no &#60;button&#62;');
    expect(page).toContain('oops &#38; more');
    expect(page).not.toContain('<b>');
    expect(page).not.toContain('00000009.jpg');
  });

  it('shows what was compared side by side, with the numbers', async () => {
    const comparison = { name: 'cart', viewport: '1280x800@1', outcome: 'differs', size: { width: 2, height: 1 }, baselineSize: { width: 2, height: 1 }, different: 1, most: 0, threshold: 0.1 } as const;
    const png = (mark: number): Uint8Array => new Uint8Array([0x89, mark]);
    const files = await filesOf([step(3, { verb: 'compare', comparison, actual: 'blob:a', baseline: 'blob:b', difference: 'blob:gone' })], { 'blob:a': png(1), 'blob:b': png(2) });
    expect([files['compared/00000003-actual.png'], files['compared/00000003-baseline.png'], files['compared/00000003-difference.png']]).toEqual([png(1), png(2), undefined]);
    expect(JSON.parse(text(files['steps.ndjson']))).toMatchObject({ comparison, actual: 'compared/00000003-actual.png', difference: null });
    expect(text(files['index.html'])).toContain('src="compared/00000003-baseline.png"');
    expect(text(files['index.html'])).toContain('Compared with cart (1280x800@1): differs, 1 pixels differ, 0 may.');
  });

  it('has the files that were handed over and taken, under names of its own', async () => {
    const file = { name: '../<evil>.html', bytes: 2, sha256: 'aa', mediaType: 'text/html' };
    const files = await filesOf([step(3, { files: [{ ...file, direction: 'up', blob: 'blob:up' }, { ...file, direction: 'down', blob: 'blob:down' }, { ...file, direction: 'up', blob: null }] })], { 'blob:up': Buffer.from('session\nup'), 'blob:down': Buffer.from('do\nwn') });
    expect([text(files['files/00000003-1.bin']), text(files['files/00000003-2.bin'])]).toEqual(['up', 'do\nwn']);
    expect(JSON.parse(text(files['steps.ndjson']))).toMatchObject({ files: [{ path: 'files/00000003-1.bin', name: file.name }, { path: 'files/00000003-2.bin' }, { path: null }] });
    expect(text(files['index.html'])).toContain('Uploaded: <a href="files/00000003-1.bin" download="../&#60;evil&#62;.html">');
  });

  it('is as long as the session was', async () => {
    const files = await filesOf(Array.from({ length: 3000 }, (_, index) => step(index + 1)), {});
    expect(text(files['steps.ndjson']).split('\n')).toHaveLength(3001);
    expect(text(files['index.html']).split('<li>')).toHaveLength(3001);
  });

  it('may be of a session that did nothing', async () => {
    const files = await filesOf([], {});
    expect(text(files['steps.ndjson'])).toBe('');
    expect(text(files['index.html'])).toContain('</html>');
  });
});
