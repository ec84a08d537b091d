/** Different words of a text that are found again. */
const MOST_WORDS = 500;
/** Longer words are cut, characters. */
const LONGEST = 64;

/** The different words in text, or in all texts and numbers within a value: letters and digits in a row, in lower case (NFKC). The first {@link MOST_WORDS} of them. */
export function wordsOf(value: unknown): string[] {
  const found = new Set<string>();
  const waiting = [value];
  while (waiting.length > 0 && found.size < MOST_WORDS) {
    const next = waiting.shift();
    if (typeof next === 'string' || typeof next === 'number') {
      for (const [word] of String(next).normalize('NFKC').toLowerCase().matchAll(/[\p{L}\p{M}\p{N}]+/gu)) if (found.size < MOST_WORDS) found.add(word.slice(0, LONGEST));
    } else if (typeof next === 'object' && next !== null) waiting.push(...Object.values(next));
  }
  return [...found];
}
