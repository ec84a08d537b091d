/** What a run keeps about its start, so that the read model can be built from Temporal alone. */
export interface StartNote {
  readonly tags: readonly string[];
  /** `<kind>:<id>` of who started it; null when the note is missing. */
  readonly actor: string | null;
  readonly requestId: string | null;
}

/** One field, because each is encrypted by itself. */
const FIELD = 'start';

export function writeStartNote(note: StartNote): Record<string, unknown> {
  return { [FIELD]: note };
}

/** Runs that HAL9 did not start itself (children, tests) have none. */
export function readStartNote(memo: Readonly<Record<string, unknown>> | undefined): StartNote {
  const note = memo?.[FIELD];
  const member = (name: string): unknown => (typeof note === 'object' && note !== null ? Reflect.get(note, name) : undefined);
  const text = (value: unknown): string | null => (typeof value === 'string' ? value : null);
  const tags = member('tags');
  return { tags: Array.isArray(tags) ? tags.filter((tag) => typeof tag === 'string') : [], actor: text(member('actor')), requestId: text(member('requestId')) };
}
