import { Zip, ZipDeflate, ZipPassThrough } from 'fflate';
import type { BrowserFile, BrowserSession, StoredBrowserStep } from '../../database/browser-sessions.ts';
import { contentOf } from './handed-file.ts';

/** What an archive is made of. Steps are read more than once, so that no session is too long for the memory. */
export interface EvidenceParts {
  /** In their order. */
  readonly steps: () => AsyncIterable<StoredBrowserStep>;
  /** What a reference of a step stands for; undefined for none, and for what is gone. */
  readonly blob: (reference: string | null) => Promise<Uint8Array | undefined>;
}

/** A step as the archive says it. */
interface ArchivedStep extends Omit<StoredBrowserStep, Shown | 'files' | 'startedAt' | 'endedAt'>, Readonly<Record<Shown, string | null>> {
  readonly startedAt: string;
  readonly endedAt: string;
  /** With their paths within the archive. */
  readonly files: readonly (Omit<BrowserFile, 'blob'> & { readonly path: string | null })[];
}

/** What of a step is a file, by its field, which has the path within the archive. */
const FILES = { picture: ['pictures/', '.jpg'], snapshot: ['snapshots/', '.yaml'], actual: ['compared/', '-actual.png'], baseline: ['compared/', '-baseline.png'], difference: ['compared/', '-difference.png'] } as const;
type Shown = keyof typeof FILES;
const SHOWN: readonly Shown[] = ['picture', 'snapshot', 'actual', 'baseline', 'difference'];

/** Bytes of text that are compressed at a time. */
const TEXT_BYTES = 64 * 1024;

/**
 * What a browser session did, as one file that needs nothing else: `pictures/` with a JPEG a step, `snapshots/` with pages in words, `compared/` with
 * pages, their baselines and how they differ, `files/` that were uploaded and downloaded, `steps.ndjson`, `session.json`, and `index.html`, which shows them.
 * @returns the parts of a ZIP archive, as they are made.
 */
export async function* evidenceArchive(session: BrowserSession, { steps, blob }: EvidenceParts): AsyncGenerator<Uint8Array, void, undefined> {
  const made: Uint8Array[] = [];
  let failure: Error | undefined;
  const zip = new Zip((error, bytes) => {
    if (error === null) made.push(bytes);
    else failure = error;
  });
  const taken = function* (): Generator<Uint8Array, void, undefined> {
    if (failure !== undefined) throw failure;
    yield* made.splice(0);
  };
  const added = new Set<string>();
  for await (const step of steps()) {
    const parts = [...SHOWN.map((shown) => [nameOf(shown, step.seq), step[shown]] as const), ...step.files.map((file, index) => [fileName(step.seq, index), file.blob] as const)];
    for (const [index, [name, reference]] of parts.entries()) {
      const kept = await blob(reference);
      const bytes = kept !== undefined && step.files[index - SHOWN.length]?.direction === 'up' ? contentOf(kept) : kept;
      if (bytes === undefined) continue;
      added.add(name);
      // Pictures are compressed already.
      const file = name.endsWith('.yaml') ? new ZipDeflate(name, { level: 6 }) : new ZipPassThrough(name);
      file.mtime = step.endedAt;
      zip.add(file);
      file.push(bytes, true);
      yield* taken();
    }
  }
  const path = (shown: Shown, seq: number): string | null => (added.has(nameOf(shown, seq)) ? nameOf(shown, seq) : null);
  const archived = async function* (): AsyncGenerator<ArchivedStep, void, undefined> {
    for await (const { startedAt, endedAt, ...step } of steps()) {
      const { seq } = step;
      const files = step.files.map(({ direction, name, bytes, sha256, mediaType }, index) => ({ direction, name, bytes, sha256, mediaType, path: added.has(fileName(seq, index)) ? fileName(seq, index) : null }));
      yield { ...step, files, startedAt: startedAt.toISOString(), endedAt: endedAt.toISOString(), picture: path('picture', seq), snapshot: path('snapshot', seq), actual: path('actual', seq), baseline: path('baseline', seq), difference: path('difference', seq) };
    }
  };
  for (const [name, text] of [['steps.ndjson', lines(archived())], ['session.json', once(described(session))], ['index.html', page(session, archived())]] as const) {
    const file = new ZipDeflate(name, { level: 6 });
    file.mtime = session.closedAt ?? session.createdAt;
    zip.add(file);
    let waiting = '';
    for await (const part of text) {
      waiting += part;
      if (waiting.length < TEXT_BYTES) continue;
      file.push(Buffer.from(waiting));
      waiting = '';
      yield* taken();
    }
    file.push(Buffer.from(waiting), true);
    yield* taken();
  }
  zip.end();
  yield* taken();
}

/** Files keep their bytes, not their names: a page chose those. */
function fileName(seq: number, index: number): string {
  return `files/${String(seq).padStart(8, '0')}-${String(index + 1)}.bin`;
}

function nameOf(shown: Shown, seq: number): string {
  const [folder, ending] = FILES[shown];
  return `${folder}${String(seq).padStart(8, '0')}${ending}`;
}

function described({ runId, flow, state, fence, createdAt, closedAt, workedMs }: BrowserSession): string {
  return `${JSON.stringify({ runId, flow, state, takeUps: fence - (closedAt === null ? 0 : 1), workedMs, createdAt: createdAt.toISOString(), closedAt: closedAt?.toISOString() ?? null }, undefined, 2)}\n`;
}

async function* once(text: string): AsyncGenerator<string, void, undefined> {
  yield text;
}

async function* lines(steps: AsyncIterable<ArchivedStep>): AsyncGenerator<string, void, undefined> {
  for await (const step of steps) yield `${JSON.stringify(step)}\n`;
}

async function* page({ runId, flow, state }: BrowserSession, steps: AsyncIterable<ArchivedStep>): AsyncGenerator<string, void, undefined> {
  const title = flow ?? 'Browser session';
  yield `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src 'self' file:; style-src 'unsafe-inline'"><title>${html(title)}</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a}li{margin:0 0 2rem}img{max-width:100%;border:1px solid #ccc}.failed{color:#a4161a}.fact{color:#555}.compared{display:flex;gap:.5rem}figure{margin:0;flex:1}</style></head>
<body><h1>${html(title)}</h1><p class="fact">${html(runId)}, ${html(state)}</p><ol>
`;
  for await (const { verb, name, target, outcome, failure, url, startedAt, endedAt, troubles, picture, snapshot, comparison, actual, baseline, difference, files } of steps) {
    const compared = ([['The page', actual], ['Its baseline', baseline], ['How they differ', difference]] as const).map(([what, path]) => (path === null ? '' : `<figure><figcaption class="fact">${what}</figcaption><img src="${html(path)}" alt="${what}" loading="lazy"></figure>`)).join('');
    yield `<li><strong>${html(name ?? verb)}</strong> ${html(target ?? '')} <span class="${outcome === 'failed' ? 'failed' : 'fact'}">${html(outcome)}</span>
<div class="fact">${html(url)}; ${html(startedAt)}, ${Date.parse(endedAt) - Date.parse(startedAt)} ms</div>
${failure === null ? '' : `<p class="failed">${html(failure)}</p>`}${troubles.map(({ kind, text }) => `<div class="fact">${html(kind)}: ${html(text)}</div>`).join('')}${comparison === null ? '' : `<p>Compared with ${html(comparison.name)} (${html(comparison.viewport)}): ${html(comparison.outcome)}, ${comparison.different} pixels differ, ${comparison.most} may.</p>`}${compared === '' ? '' : `<div class="compared">${compared}</div>`}${picture === null ? '' : `<img src="${html(picture)}" alt="The page afterwards" loading="lazy">`}${files.map((file) => `<div class="fact">${file.direction === 'up' ? 'Uploaded' : 'Downloaded'}: ${file.path === null ? html(file.name) : `<a href="${html(file.path)}" download="${html(file.name)}">${html(file.name)}</a>`}, ${file.bytes} bytes, ${html(file.mediaType)}, SHA-256 ${file.sha256}</div>`).join('')}${snapshot === null ? '' : `<div><a href="${html(snapshot)}">The page in words</a></div>`}</li>
`;
  }
  yield '</ol></body></html>\n';
}

function html(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
