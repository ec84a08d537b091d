/** What is known about a sign-in when it is judged. */
export interface SignInFacts {
  /** Sign-ins of the person so far. */
  readonly earlier: number;
  /** How many of them came from this address, with this agent, in this hour of the day (UTC). */
  readonly sameAddress: number;
  readonly sameAgent: number;
  readonly sameHour: number;
  /** Failed tries for the account since its last success, within the throttle's window. */
  readonly failures: number;
  /** Whether the address has many failures for whichever accounts. */
  readonly suspectAddress: boolean;
  readonly secondFactor: boolean;
}

/** What is known about one request of a session. */
export interface SessionFacts {
  /** Of the sign-in. */
  readonly risk: number;
  readonly sameAddress: boolean;
  readonly sameAgent: boolean;
  /** Seconds since the session was last used from where it is known. */
  readonly idleSeconds: number;
}

/** A history shorter than this says little about what is usual. */
const ENOUGH_SIGN_INS = 3;

/**
 * How unusual a sign-in looks, 0 (as ever) to 100. The sum of
 *
 * | fact | points |
 * | --- | --- |
 * | address never seen for this person | 20 |
 * | agent never seen for this person | 15 |
 * | an hour of the day in which they never signed in (after {@link ENOUGH_SIGN_INS} sign-ins) | 10 |
 * | each failed try before, up to five | 6 |
 * | the address fails for many accounts | 25 |
 *
 * less 20 when a second factor was shown. The first sign-in of all has nothing to compare with: address, agent and hour count nothing.
 */
export function riskOfSignIn(facts: SignInFacts): number {
  let risk = 0;
  if (facts.earlier > 0) {
    if (facts.sameAddress === 0) risk += 20;
    if (facts.sameAgent === 0) risk += 15;
    if (facts.earlier >= ENOUGH_SIGN_INS && facts.sameHour === 0) risk += 10;
  }
  risk += 6 * Math.min(5, facts.failures);
  if (facts.suspectAddress) risk += 25;
  if (facts.secondFactor) risk -= 20;
  return bounded(risk);
}

/** A change of both address and agent sooner than this after the last use is not one person moving, seconds. */
const IMPOSSIBLE_SECONDS = 300;

/**
 * How unusual a request of a session looks, 0 to 100: the sign-in's risk, plus 20 for another address than the session's (people move),
 * plus 40 for another agent (browsers do not become others; they update), plus 30 more when both changed within five minutes of the last use.
 */
export function riskOfRequest(facts: SessionFacts): number {
  let risk = facts.risk;
  if (!facts.sameAddress) risk += 20;
  if (!facts.sameAgent) risk += 40;
  if (!facts.sameAddress && !facts.sameAgent && facts.idleSeconds < IMPOSSIBLE_SECONDS) risk += 30;
  return bounded(risk);
}

/** Risk of the acts by which a session is ended because a replaced token came back. */
export const REUSED_TOKEN_RISK = 90;

function bounded(risk: number): number {
  return Math.max(0, Math.min(100, risk));
}
