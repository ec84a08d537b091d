import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { SingleBar } from 'cli-progress';
import { Command, InvalidArgumentError } from 'commander';
import type { Upload } from '../clients/typescript/index.ts';
import { EXIT, UsageError } from './exit-code.ts';
import { openSession } from './session.ts';

/** `hal9 signals send`: lines of NDJSON from files or stdin. */
export function addSignalCommands(program: Command): void {
  const command = new Command('send')
    .description('Send signals, one JSON object a line, from files or stdin; committed when it ends. Sending them again changes nothing')
    .argument('[files...]', 'NDJSON; - or none is stdin')
    .option('--lines <number>', 'lines of one request', positive, 5000);
  command.action(async (files: readonly string[]) => {
    const { client, terminal } = await openSession(command);
    const sources = files.length === 0 ? ['-'] : files;
    const size = await sizeOf(sources);
    const bar = process.stderr.isTTY ? new SingleBar({ stream: process.stderr, format: size === undefined ? '{value} B, {accepted} accepted, {rejected} refused' : '[{bar}] {percentage}% {eta_formatted}, {accepted} accepted, {rejected} refused', clearOnComplete: true }) : undefined;
    bar?.start(size ?? 0, 0, { accepted: 0, rejected: 0 });
    let upload: Upload;
    try {
      upload = await client.signals.upload(contentOf(sources), { lines: command.opts<{ lines: number }>().lines, onProgress: ({ bytes, accepted, rejected }) => bar?.update(bytes, { accepted, rejected }) });
    } finally {
      bar?.stop();
    }
    const { rejections, ...counts } = upload;
    terminal.show(terminal.json ? upload : counts);
    if (!terminal.json) for (const { line, errors } of rejections.slice(0, 20)) terminal.note(`line ${line}: ${errors.map(({ path, message }) => `${path} ${message}`.trim()).join('; ')}`);
    if (upload.rejected > 0) process.exitCode = EXIT.failed;
  });
  program.command('signals').description('Signals').addCommand(command);
}

async function* contentOf(sources: readonly string[]): AsyncGenerator<Uint8Array> {
  for (const source of sources) {
    const stream = source === '-' ? process.stdin : createReadStream(source);
    let last = 10;
    for await (const chunk of stream) {
      const bytes = Buffer.from(chunk);
      last = bytes.at(-1) ?? last;
      yield bytes;
    }
    // The last line of one file and the first of the next are two.
    if (last !== 10) yield Buffer.from('\n');
  }
}

/** Bytes of all files; undefined when one is a pipe. */
async function sizeOf(sources: readonly string[]): Promise<number | undefined> {
  let size = 0;
  for (const source of sources) {
    if (source === '-') return undefined;
    const found = await stat(source).catch((error: unknown) => {
      throw new UsageError(`${source} cannot be read: ${error instanceof Error ? error.message : String(error)}`);
    });
    if (!found.isFile()) return undefined;
    size += found.size;
  }
  return size;
}

function positive(text: string): number {
  const number = Number(text);
  if (!Number.isInteger(number) || number < 1) throw new InvalidArgumentError('a whole number from 1 is needed');
  return number;
}
