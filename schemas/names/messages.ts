/** Messages that every operation understands, added by the workflow interceptor or by the operation itself. */
export const RESERVED_QUERIES = {
  /** Answers {@link Progress}. */
  progress: 'progress',
} as const;
/** The signal that lets a run begin that waited for the lease of its concurrency key. */
export const BEGIN_SIGNAL = 'hal9-begin';
/** Field of the memo that says that the run waits for {@link BEGIN_SIGNAL}. */
export const QUEUED_MEMO = 'hal9-queued';
/** Updates that the workflow interceptor answers for every operation. */
export const RESERVED_UPDATES = {
  /** Stops the run before its next step; answers whether it was running. */
  pause: 'hal9-pause',
  /** Lets it go on; answers whether it was paused. */
  resume: 'hal9-resume',
} as const;

/** How far a run is. Kept in the open beside the run: no personal data in any of it. `done` and `total` count the operation's own units; `total` is null while unknown. */
export interface Progress {
  step: string;
  done: number;
  total: number | null;
  message: string;
}

/** The update that a waiting caller sends with the start of a cascade; it answers with the decisions of one signal. */
export const CASCADE_DECIDE_UPDATE = 'decide';
/** The update that gives one step to an interactive browser session; it answers what came of it. */
export const BROWSER_STEP_UPDATE = 'take-step';
/** The update that ends an interactive browser session once what was asked before is done. */
export const BROWSER_END_UPDATE = 'end';
/** The signal that asks for a browser while a session waits for a person, so that one can look. */
export const BROWSER_ATTEND_SIGNAL = 'attend';
/** The update by which a person takes a session over at any moment; the flow stops before its next step. */
export const BROWSER_TAKE_OVER_UPDATE = 'take-over';
/** The update by which they give it back. */
export const BROWSER_HAND_BACK_UPDATE = 'hand-back';
/** The update that answers an approval step. */
export const APPROVAL_UPDATE = 'approval';
/** The signal that tells an endpoint's delivery run of new messages. */
export const WEBHOOK_WAKE_SIGNAL = 'wake';
/** The signal that tells a signer's run of new transactions. */
export const TRANSACTION_WAKE_SIGNAL = 'wake';
/** The signal that asks an erasure to try again: what stood in the way may be gone. */
export const ERASURE_RECHECK_SIGNAL = 'recheck';
/** The same for an access export. */
export const ACCESS_EXPORT_RECHECK_SIGNAL = 'recheck';
/** The same for a change of a person's data. */
export const PRIVACY_CHANGE_RECHECK_SIGNAL = 'recheck';
/** The signal that tells a round of consensus to look at the chain now. */
export const CONSENSUS_WAKE_SIGNAL = 'wake';
/** The signal by which a person has the challenger of a round doubt its tally. */
export const CONSENSUS_CHALLENGE_SIGNAL = 'challenge';
