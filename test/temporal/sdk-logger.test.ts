import { ApplicationFailure } from '@temporalio/common';
import pino from 'pino';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { HalError } from '../../schemas/errors.ts';
import { sdkLogger } from '../../platform/temporal/sdk-logger.ts';

const lineSchema = z.looseObject({ level: z.int(), msg: z.string() });

function logged(write: (logger: ReturnType<typeof sdkLogger>) => void): z.output<typeof lineSchema>[] {
  const lines: string[] = [];
  write(sdkLogger(pino({ level: 'trace', base: null, timestamp: false }, { write: (line: string) => void lines.push(line) })));
  return lines.map((line) => lineSchema.parse(JSON.parse(line)));
}

describe('log of the SDK', () => {
  it('names failures by their innermost type, never by message', () => {
    const cause = ApplicationFailure.nonRetryable('Ada has the flu', 'Illness');
    const error = new Error('Activity task failed for Ada', { cause });
    expect(logged((log) => log.warn('Workflow failed', { error, workflowId: 'w', sdkComponent: 'worker' }))).toEqual([{ level: 40, msg: 'Workflow failed', failure: 'Illness', workflowId: 'w', sdkComponent: 'worker' }]);
    expect(logged((log) => log.error('x', { error: new HalError('ActionRefused', 'Ada') }))).toEqual([{ level: 50, msg: 'x', failure: 'ActionRefused' }]);
    expect(logged((log) => log.error('x', { error: new RangeError('Ada') }))).toEqual([{ level: 50, msg: 'x', failure: 'RangeError' }]);
  });

  it('keeps what authors log, and of the rest only what is known to be harmless', () => {
    expect(logged((log) => log.info('counting', { sdkComponent: 'workflow', guests: 3, list: ['Ada'] }))).toEqual([{ level: 30, msg: 'counting', sdkComponent: 'workflow', guests: 3 }]);
    expect(logged((log) => log.info('core', { sdkComponent: 'core', failure: 'Ada', taskQueue: 'core' }))).toEqual([{ level: 30, msg: 'core', sdkComponent: 'core', taskQueue: 'core' }]);
  });

  it('keeps levels, and does not warn of what is meant', () => {
    const levels = logged((log) => {
      log.trace('a');
      log.debug('b');
      log.info('c');
      log.log('ERROR', 'd');
      log.warn('No workflows registered, not polling for workflow tasks');
    }).map(({ level }) => level);
    expect(levels).toEqual([10, 20, 30, 50, 20]);
  });
});
