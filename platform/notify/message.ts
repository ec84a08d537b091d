import type { Severity } from '../../schemas/neurons/definition.ts';

/** One message to people, whatever carries it. */
export interface Message {
  /** One line. */
  readonly title: string;
  /** Plain text. */
  readonly message: string;
  readonly severity: Severity;
  /** Where the reader can look or act. */
  readonly link?: string | undefined;
  /** `resolve` says that what `trigger` with the same key told of is over. */
  readonly action: 'trigger' | 'resolve';
  readonly dedupKey: string;
}
