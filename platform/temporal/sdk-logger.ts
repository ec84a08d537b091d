import { ApplicationFailure, type LogLevel, type LogMetadata, type Logger as TemporalLogger } from '@temporalio/common';
import type { Logger } from 'pino';
import { HalError } from '../../schemas/errors.ts';

/** What the SDK may say about its work: ids and numbers, nothing a person wrote. */
const SAFE = new Set([
  'workflowId', 'workflowType', 'runId', 'activityId', 'activityType', 'attempt', 'taskQueue', 'namespace', 'isLocal', 'durationMs',
  'sdkComponent', 'subsystem', 'target', 'state', 'from', 'to', 'size', 'poller_type', 'num_pollers', 'buildId',
]);

/** What the SDK finds worth a warning, and is meant: a queue may have activities only. */
const EXPECTED = /^No (workflows|activities|Nexus services) registered/;

/** Components whose messages are written by operations' authors, with attributes of their choice. */
const AUTHORED = new Set(['workflow', 'activity']);

/**
 * The SDK's log in pino's. Failures are named by their type alone: "Workflow failed" lines of the SDK carry decrypted
 * messages, and what is encrypted in Temporal must not lie open in a log.
 */
export function sdkLogger(logger: Logger): TemporalLogger {
  const write = (level: LogLevel, message: string, meta?: LogMetadata): void => {
    const fields = meta === undefined ? {} : redact(meta);
    switch (EXPECTED.test(message) ? 'DEBUG' : level) {
      case 'TRACE':
        return logger.trace(fields, message);
      case 'DEBUG':
        return logger.debug(fields, message);
      case 'INFO':
        return logger.info(fields, message);
      case 'WARN':
        return logger.warn(fields, message);
      case 'ERROR':
        return logger.error(fields, message);
    }
  };
  return {
    log: write,
    trace: (message, meta) => write('TRACE', message, meta),
    debug: (message, meta) => write('DEBUG', message, meta),
    info: (message, meta) => write('INFO', message, meta),
    warn: (message, meta) => write('WARN', message, meta),
    error: (message, meta) => write('ERROR', message, meta),
  };
}

function redact(meta: LogMetadata): Record<string, unknown> {
  const authored = AUTHORED.has(String(meta['sdkComponent']));
  const fields: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(meta)) {
    if (value instanceof Error) fields['failure'] = failureType(value);
    else if (SAFE.has(key) || (authored && isPlain(value))) fields[key] = value;
  }
  return fields;
}

/** The innermost declared type: outer failures only say through which activity or child it came. What left the isolate has lost its type. */
function failureType(error: Error): string {
  let type = error.name;
  for (let at: unknown = error; at instanceof Error; at = at.cause) {
    if (at instanceof ApplicationFailure || at instanceof HalError) type = at.type ?? type;
  }
  return type;
}

function isPlain(value: unknown): boolean {
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean';
}
