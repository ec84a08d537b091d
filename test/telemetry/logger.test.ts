import { describe, expect, it } from 'vitest';
import { announceReady, createLogger } from '../../platform/telemetry/logger.ts';

function recorded(level: 'info' | 'warn'): { lines: Record<string, unknown>[]; logger: ReturnType<typeof createLogger> } {
  const lines: Record<string, unknown>[] = [];
  return { lines, logger: createLogger({ HAL9_LOG_LEVEL: level }, 'core', { write: (line: string) => void lines.push(JSON.parse(line) as Record<string, unknown>) }) };
}

describe('the log', () => {
  it('says that a process is ready even when it is told to be quiet', () => {
    const { lines, logger } = recorded('warn');
    logger.info('chatter');
    announceReady(logger, { metricsPort: 9 }, 'core ready');
    expect(lines).toEqual([expect.objectContaining({ event: 'ready', metricsPort: 9, process: 'core' })]);
  });

  it('never writes a secret, wherever it stands', () => {
    const { lines, logger } = recorded('info');
    logger.info({ password: 'canary', connection: { apiKey: 'canary', deeper: { token: 'canary' } } }, 'hello');
    expect(JSON.stringify(lines)).not.toContain('canary');
  });

  it('describes an error without what a driver hangs on it', () => {
    const { lines, logger } = recorded('info');
    const error = Object.assign(new Error('broken', { cause: new Error('socket') }), { request: { headers: 'canary' } });
    logger.error({ err: error }, 'failed');
    expect(JSON.stringify(lines)).not.toContain('canary');
    expect(lines[0]).toMatchObject({ err: { message: 'broken', cause: { message: 'socket' } } });
  });
});
