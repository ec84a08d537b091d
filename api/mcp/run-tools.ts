import { z } from 'zod';
import type { Operations, RunSummary } from '../../platform/operations/contract.ts';
import { assertCan } from '../../platform/identity/permissions.ts';
import { runQuery } from '../../schemas/rest/runs.ts';
import { describeOperation } from '../catalogue.ts';
import { answered, defineTool, type Tool } from './tool.ts';

const runId = z.string().max(300).describe('Id of the run, `<operation>~<uuid>`.');
/** Below the time clients of the protocol wait by default, a minute. */
const waitSeconds = z.int().min(0).max(50).default(0).describe('How long to wait for its end.');

/** Starting and reading runs of any operation. */
export function createRunTools(operations: Operations): Tool[] {
  return [
    defineTool({
      name: 'list_operations',
      title: 'List operations',
      description: 'Lists the operations that can be started, each with what it does. Give a name for the JSON Schema of its input.',
      looks: true,
      input: z.object({ name: z.string().max(100).optional() }),
      async call(caller, { name }) {
        assertCan(caller, 'workflows:read');
        const shown = [...operations.contracts.values()].filter((contract) => contract.exposure === 'public' && (name === undefined || contract.name === name));
        return answered({ operations: shown.map((contract) => (name === undefined ? { name: contract.name, summary: contract.summary } : describeOperation(contract))) });
      },
    }),
    defineTool({
      name: 'start_run',
      title: 'Start a run',
      description: 'Starts a run of an operation; `list_operations` tells names and inputs. The run goes on by itself, whatever becomes of this conversation.',
      input: z.object({ operation: z.string().max(100), input: z.record(z.string(), z.unknown()).default({}), idempotencyKey: z.string().regex(/^[\x21-\x7e]{1,255}$/).optional().describe('Equal starts with the same key are one run.') }),
      async call(caller, { operation, input, idempotencyKey }) {
        const run = await operations.start(caller, { operation, input, origin: 'api', ...(idempotencyKey === undefined ? {} : { idempotencyKey }) });
        return answered({ runId: run.runId, created: run.created });
      },
    }),
    defineTool({
      name: 'describe_run',
      title: 'Describe a run',
      description: 'Tells how a run stands: status, progress, what it waits for, why it failed.',
      looks: true,
      input: z.object({ runId }),
      async call(caller, input) {
        const run = await operations.describe(caller, input.runId);
        return answered({ ...summary(run), progress: run.progress, pendingActivities: run.pendingActivities.map(({ nextAttemptAt, ...activity }) => ({ ...activity, nextAttemptAt: nextAttemptAt?.toISOString() ?? null })) });
      },
    }),
    defineTool({
      name: 'list_runs',
      title: 'List runs',
      description: 'Lists runs, newest first.',
      looks: true,
      input: z.object({ operation: runQuery.shape.type, status: runQuery.shape.status, limit: z.int().min(1).max(100).default(20), cursor: runQuery.shape.cursor }),
      async call(caller, { operation, status, limit, cursor }) {
        const page = await operations.list(caller, { limit, ...(operation === undefined ? {} : { operation }), ...(status === undefined ? {} : { status }), ...(cursor === undefined ? {} : { cursor }) });
        return answered({ runs: page.runs.map(summary), nextCursor: page.nextCursor });
      },
    }),
    defineTool({
      name: 'cancel_run',
      title: 'Cancel a run',
      description: 'Asks a run to stop; it cleans up first.',
      input: z.object({ runId }),
      async call(caller, input) {
        await operations.cancel(caller, input.runId);
        return answered({ accepted: true });
      },
    }),
    defineTool({
      name: 'run_result',
      title: 'Read the result of a run',
      description: 'Reads what a run answered, or why it failed; `running` when it has not ended.',
      looks: true,
      input: z.object({ runId, waitSeconds }),
      async call(caller, input) {
        return answered({ ...(await operations.result(caller, input.runId, input.waitSeconds * 1000)) });
      },
    }),
  ];
}

function summary(run: RunSummary): Record<string, unknown> {
  return { runId: run.runId, operation: run.operation, status: run.status, startedAt: run.startedAt.toISOString(), closedAt: run.closedAt?.toISOString() ?? null, failure: run.failure };
}
