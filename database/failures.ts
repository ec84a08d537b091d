/** SQLSTATE classes in which the server, not the statement, is the trouble: connection, resources, operator intervention, I/O. */
const SERVER_CLASSES = ['08', '53', '57', '58'];
/** Serialisation failure and deadlock: the same transaction may succeed at once. */
const RETRY_STATES = ['40001', '40P01'];
/** Data exceptions and violated constraints: a value is the trouble. */
const ROW_CLASSES = ['22', '23'];
const SOCKET_CODES = ['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'ENOTFOUND', 'EHOSTUNREACH', 'ERR_STREAM_DESTROYED', 'ERR_STREAM_PREMATURE_CLOSE'];
/** node-postgres raises these without a code. */
const DRIVER_MESSAGES = /connection terminated|connection error|timeout exceeded when trying to connect|client was closed|not queryable|query read timeout|connection ended/i;

/** Whether the database is away or asks to try again, so that nothing is wrong with the statement itself. */
export function isConnectionFailure(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const code = codeOf(error);
  if (code === undefined) return DRIVER_MESSAGES.test(error.message);
  return SOCKET_CODES.includes(code) || RETRY_STATES.includes(code) || (code.length === 5 && SERVER_CLASSES.includes(code.slice(0, 2)));
}

/** Whether PostgreSQL refused a value. */
export function isRowFailure(error: unknown): boolean {
  const code = error instanceof Error ? codeOf(error) : undefined;
  return code !== undefined && code.length === 5 && ROW_CLASSES.includes(code.slice(0, 2));
}

/** Whether a row with the same unique key is there. */
export function isDuplicateKey(error: unknown): boolean {
  return error instanceof Error && codeOf(error) === '23505';
}

function codeOf(error: Error): string | undefined {
  return 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}
