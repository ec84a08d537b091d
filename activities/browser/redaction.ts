/** Shorter secrets are words of any page: they are not looked for. */
const SHORTEST = 3;

/** Takes secrets out of a text of a page, in whatever form pages, addresses, JSON and snapshots write them. */
export function redacted(text: string, secrets: Iterable<string>): string {
  return without(text, [...secrets].filter(({ length }) => length >= SHORTEST));
}

/** As {@link redacted}, secrets of one letter too. */
export function without(text: string, secrets: readonly string[]): string {
  // The longest first: one may begin like another, and would leave its end.
  const forms = [...new Set(secrets.flatMap(formsOf))].sort((a, b) => b.length - a.length);
  return forms.reduce((clean, form) => clean.replaceAll(form, '[secret]'), text);
}

/** A text as it may be written. */
function formsOf(text: string): string[] {
  // Browsers make one space of many where they show a text.
  return [text, text.replaceAll(/\s+/g, ' ').trim()].flatMap((shown) => {
    const quoted = JSON.stringify(shown).slice(1, -1);
    // Keys of YAML stand between single quotes, and double those within.
    return [shown, encodeURIComponent(shown), quoted, shown.replaceAll("'", "''"), quoted.replaceAll("'", "''")];
  }).filter((form) => form !== '');
}
