import pino, { type DestinationStream, type Logger } from 'pino';
import type { Config } from '../config/config.ts';

/** Members that never reach a log line, wherever they stand in it. */
const SECRET_MEMBERS = ['authorization', 'cookie', 'password', 'secret', 'token', 'apiKey', 'api_key', 'connectionString'];

/**
 * JSON lines on stdout.
 * @param name the process, e.g. `core`.
 * @param destination default: each line is written to stdout before the call returns.
 */
export function createLogger(config: Pick<Config, 'HAL9_LOG_LEVEL'>, name: string, destination: DestinationStream = pino.destination(1)): Logger {
  const options: pino.LoggerOptions = {
    level: config.HAL9_LOG_LEVEL,
    base: { process: name, pid: process.pid },
    timestamp: pino.stdTimeFunctions.isoTime,
    redact: { paths: SECRET_MEMBERS.flatMap((member) => [member, `*.${member}`, `*.*.${member}`]), censor: '[redacted]' },
    serializers: { err: describeError, error: describeError },
  };
  return pino(options, destination);
}

/**
 * Tells who supervises this process that it is ready. Written whatever the level says: a quiet process must not look
 * like one that never starts.
 */
export function announceReady(logger: Logger, details: Readonly<Record<string, unknown>>, message: string): void {
  logger.child({}, { level: 'info' }).info({ event: 'ready', ...details }, message);
}

/** An error without its further members: drivers hang whole requests on them. */
function describeError(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const { name, message, stack, cause } = error;
  return { name, message, stack, ...(cause === undefined ? {} : { cause: describeError(cause) }) };
}
