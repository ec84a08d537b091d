/** What every start of a run takes besides its body, for OpenAPI. */
export const START_HEADERS: Readonly<Record<string, string>> = {
  'Idempotency-Key': 'Equal keys with equal bodies start one run; 1 to 255 printable ASCII characters without spaces.',
  'HAL9-Subject': 'The person the run is about, as `kind:value`, e.g. `email:ada@example.net`: a key of theirs encrypts it, and an erasure destroys that key. Only a keyed hash is kept.',
  Prefer: '`wait=<seconds>` waits for the end, 60 at most.',
};
