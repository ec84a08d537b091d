import { Zip, ZipDeflate, ZipPassThrough } from 'fflate';
import type { BrowserSession, StoredBrowserStep } from '../../database/browser-sessions.ts';

/** What an archive is made of. Steps are read more than once, so that no session is too long for the memory. */
export interface EvidenceParts {
  /** In their order. */
  readonly steps: () => AsyncIterable<StoredBrowserStep>;
  /** What a reference of a step stands for; undefined for none, and for what is gone. */
  readonly blob: (reference: string | null) => Promise<Uint8Array | undefined>;
}

/** A step as the archive says it. */
interface ArchivedStep extends Omit<StoredBrowserStep, 'picture' | 'snapshot' | 'startedAt' | 'endedAt'> {
  readonly startedAt: string;
  readonly endedAt: string;
  /** Path within the archive. */
  readonly picture: string | null;
  /** Path within the archive. */
  readonly snapshot: string | null;
}

/** Bytes of text that are compressed at a time. */
const TEXT_BYTES = 64 * 1024;

/**
 * What a browser session did, as one file that needs nothing else: `pictures/` with a JPEG a step, `snapshots/` with pages in words, `steps.ndjson`, `session.json`, and `index.html`, which shows them.
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
    for (const [name, reference] of [[pictureName(step.seq), step.picture], [snapshotName(step.seq), step.snapshot]] as const) {
      const bytes = await blob(reference);
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
  const path = (name: string): string | null => (added.has(name) ? name : null);
  const archived = async function* (): AsyncGenerator<ArchivedStep, void, undefined> {
    for await (const step of steps()) yield { ...step, startedAt: step.startedAt.toISOString(), endedAt: step.endedAt.toISOString(), picture: path(pictureName(step.seq)), snapshot: path(snapshotName(step.seq)) };
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

function pictureName(seq: number): string {
  return `pictures/${String(seq).padStart(8, '0')}.jpg`;
}

function snapshotName(seq: number): string {
  return `snapshots/${String(seq).padStart(8, '0')}.yaml`;
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
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a}li{margin:0 0 2rem}img{max-width:100%;border:1px solid #ccc}.failed{color:#a4161a}.fact{color:#555}</style></head>
<body><h1>${html(title)}</h1><p class="fact">${html(runId)}, ${html(state)}</p><ol>
`;
  for await (const { verb, name, target, outcome, failure, url, startedAt, endedAt, troubles, picture, snapshot } of steps) {
    yield `<li><strong>${html(name ?? verb)}</strong> ${html(target ?? '')} <span class="${outcome === 'failed' ? 'failed' : 'fact'}">${html(outcome)}</span>
<div class="fact">${html(url)}; ${html(startedAt)}, ${Date.parse(endedAt) - Date.parse(startedAt)} ms</div>
${failure === null ? '' : `<p class="failed">${html(failure)}</p>`}${troubles.map(({ kind, text }) => `<div class="fact">${html(kind)}: ${html(text)}</div>`).join('')}${picture === null ? '' : `<img src="${html(picture)}" alt="The page afterwards" loading="lazy">`}${snapshot === null ? '' : `<div><a href="${html(snapshot)}">The page in words</a></div>`}</li>
`;
  }
  yield '</ol></body></html>\n';
}

function html(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
