import { readFile, readdir } from 'node:fs/promises';
import { join, relative, sep } from 'node:path';
import { z } from 'zod';
import { SetupError } from '../setup-error.ts';

export interface Row {
  /** Milliseconds since the epoch; the files have no zone and are read as UTC. */
  readonly timeMs: number;
  readonly value: number;
}

export interface Window {
  readonly fromMs: number;
  /** Inclusive. */
  readonly toMs: number;
}

export interface LabelledSeries {
  /** `<group>/<file>`, as the labels name it. */
  readonly name: string;
  readonly rows: readonly Row[];
  readonly windows: readonly Window[];
}

const labelsSchema = z.record(z.string(), z.array(z.tuple([z.string(), z.string()])));

/**
 * Reads labelled series: `<group>/<series>.csv` with a header `timestamp,value`, and a JSON file from these names to windows.
 * @param folder the folder of the groups, or the one that holds it as `data`.
 * @throws {SetupError} when there is nothing to read.
 */
export async function readSeries(folder: string, labels: string): Promise<LabelledSeries[]> {
  const windows = labelsSchema.safeParse(await json(labels));
  if (!windows.success) throw new SetupError(`${labels} is not a file of windows`, 'give --labels a JSON file {"<group>/<series>.csv": [["start", "end"], ...]}');
  const root = await dataFolder(folder);
  const files = (await readdir(root, { recursive: true })).filter((file) => file.endsWith('.csv')).sort();
  if (files.length === 0) throw new SetupError(`there are no series under ${folder}`, 'give --data the folder of the groups, with <group>/<series>.csv inside');
  return Promise.all(
    files.map(async (file) => {
      const name = relative(root, join(root, file)).split(sep).join('/');
      const rows = parseRows(await readFile(join(root, file), 'utf8'));
      return { name, rows, windows: (windows.data[name] ?? []).map(([from, to]) => ({ fromMs: utc(from), toMs: utc(to) })) };
    }),
  );
}

/** `YYYY-MM-DD HH:MM:SS[.ffffff]` as UTC. */
export function utc(text: string): number {
  const timeMs = Date.parse(`${text.trim().replace(' ', 'T').replace(/(\.\d{3})\d+$/, '$1')}Z`);
  if (Number.isNaN(timeMs)) throw new SetupError(`"${text}" is no time`, 'write times as YYYY-MM-DD HH:MM:SS');
  return timeMs;
}

function parseRows(text: string): Row[] {
  return text
    .trim()
    .split(/\r?\n/)
    .slice(1)
    .map((line) => {
      const [timestamp = '', value = ''] = line.split(',');
      return { timeMs: utc(timestamp), value: Number(value) };
    });
}

async function dataFolder(folder: string): Promise<string> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => {
    throw new SetupError(`there is no folder ${folder}`, 'give --data the folder of the groups of series');
  });
  return entries.some((entry) => entry.isDirectory() && entry.name === 'data') ? join(folder, 'data') : folder;
}

async function json(file: string): Promise<unknown> {
  const text = await readFile(file, 'utf8').catch(() => {
    throw new SetupError(`there is no file ${file}`, 'give --labels the JSON file of windows');
  });
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new SetupError(`${file} is not JSON: ${error instanceof Error ? error.message : String(error)}`, 'mend the file');
  }
}
