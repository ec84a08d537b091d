/**
 * Seconds from one attempt to the next: immediately, 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h, 24 h, as Standard Webhooks advise
 * (https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md#deliverability-and-reliability).
 */
export const RETRY_SECONDS: readonly number[] = [0, 5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400];
/** Failures in a row that open an endpoint's circuit. */
const CIRCUIT_FAILURES = 5;
const CIRCUIT_FIRST_SECONDS = 30;
const CIRCUIT_LAST_SECONDS = 1800;

/**
 * Seconds to wait after `attempts` failed ones; undefined when the schedule is used up.
 * @param retryAfterSeconds what the endpoint asked for; it may lengthen a wait, never shorten one.
 */
export function nextWait(attempts: number, retryAfterSeconds = 0): number | undefined {
  const wait = RETRY_SECONDS[attempts];
  return wait === undefined ? undefined : Math.max(wait, retryAfterSeconds);
}

/** Seconds for which nothing is sent after so many failures in a row; 0 while the circuit stays closed. */
export function circuitPause(failures: number): number {
  return failures < CIRCUIT_FAILURES ? 0 : Math.min(CIRCUIT_LAST_SECONDS, CIRCUIT_FIRST_SECONDS * 2 ** Math.min(20, failures - CIRCUIT_FAILURES));
}
