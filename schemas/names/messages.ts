/** Messages that every operation understands, added by the workflow interceptor or by the operation itself. */
export const RESERVED_QUERIES = {
  /** Answers {@link Progress}. */
  progress: 'progress',
} as const;

/** How far a run is. `done` and `total` count the operation's own units; `total` is null while unknown. */
export interface Progress {
  step: string;
  done: number;
  total: number | null;
  message: string;
}

/** The update that a waiting caller sends with the start of a cascade; it answers with the decisions of one signal. */
export const CASCADE_DECIDE_UPDATE = 'decide';
/** The update that answers an approval step. */
export const APPROVAL_UPDATE = 'approval';
/** The signal that tells an endpoint's delivery run of new messages. */
export const WEBHOOK_WAKE_SIGNAL = 'wake';
