import { createHash } from 'node:crypto';
import { z } from 'zod';

/** A line of a witness's file: a cosigned checkpoint, chained to the line before so that no line can be taken out unseen. */
const witnessLine = z.strictObject({ previous: z.string(), note: z.string() });

/** What the first line names as its previous one. */
export const CHAIN_START = '';

/** Lower-case hex SHA-256 of a line without its newline: how the next one names it. */
export function lineHash(line: string): string {
  return createHash('sha256').update(line, 'utf8').digest('hex');
}

/** @returns the line without its newline. */
export function formatWitnessLine(previous: string, note: string): string {
  return JSON.stringify({ previous, note });
}

/** @throws {SyntaxError} when the line is none, or does not follow the one named. */
export function parseWitnessLine(line: string, previous: string): string {
  const parsed = witnessLine.safeParse(JSON.parse(line));
  if (!parsed.success) throw new SyntaxError('not a line of a witness');
  if (parsed.data.previous !== previous) throw new SyntaxError('the line does not follow the one before');
  return parsed.data.note;
}
