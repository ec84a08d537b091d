import pino from 'pino';
import { Runtime } from '@temporalio/worker';
import { beforeAll, describe, expect, it } from 'vitest';
import { FAILURE_CONVERTER_PATH } from '../../platform/codec/data-converter.ts';
import { HAL9_ROOT, discoverProjects } from '../../platform/operations/discovery.ts';
import { loadBundle, type WorkflowBundle } from '../../workers/bundle.ts';
import { replayRuns } from '../../workers/replay.ts';
import { sdkLogger } from '../../platform/temporal/sdk-logger.ts';
import { PROJECT } from '../operations/project.ts';
import { loadRecords, toRun, type RecordedHistory } from './load.ts';
import { HISTORIES } from './recorder.ts';

/** Needs no server: what was recorded is decided again by today's code. */
describe('recorded histories', async () => {
  const records = await loadRecords(HISTORIES);
  const converter = { failureConverterPath: FAILURE_CONVERTER_PATH };
  let bundle: WorkflowBundle;
  beforeAll(async () => {
    Runtime.install({ logger: sdkLogger(pino({ level: 'silent' })), telemetryOptions: { logging: { filter: { core: 'ERROR' }, forward: {} } } });
    bundle = await loadBundle(await discoverProjects([HAL9_ROOT, PROJECT]));
  });

  it.each([...records])('%s is decided as it was', async (_name, record) => {
    expect(await replayRuns(bundle, converter, [toRun(record)])).toEqual([]);
  });

  it('has the cases that matter', () => {
    expect([...records.keys()]).toEqual(expect.arrayContaining(['approval-approved.json', 'approval-refused.json', 'cascade-given-up.json', 'cascade-quiet.json', 'cascade-three-layers.json', 'cascade-waiting.json', 'greet-done.json', 'greet-failed.json', 'greet-messages.json']));
  });

  it.each([...records])('%s is refused once it was changed', async (_name, record) => {
    expect(await replayRuns(bundle, converter, [toRun(mutated(record))])).toMatchObject([{ workflowId: record.workflowId }]);
  });

});

/** The first thing the code decided, decided differently. */
function mutated(record: RecordedHistory): RecordedHistory {
  const text = JSON.stringify(record);
  const changed = text
    .replace(/("activityTaskScheduledEventAttributes":\{"activityId":"[^"]*","activityType":\{"name":)"[^"]*"/, '$1"somethingElse"')
    .replace(/("markerRecordedEventAttributes":\{"markerName":)"[^"]*"/, '$1"somethingElse"')
    .replace(/"markerName":"core_local_activity"/, '"markerName":"something_else"')
    .replace(/("timerStartedEventAttributes":\{"timerId":)"[^"]*"/, '$1"99"');
  if (changed === text) throw new Error(`${record.workflowId} decides nothing that could be changed`);
  return JSON.parse(changed);
}
