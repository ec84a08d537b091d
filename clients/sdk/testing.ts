import { randomUUID } from 'node:crypto';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { activityInfo } from '@temporalio/activity';
import { TestWorkflowEnvironment } from '@temporalio/testing';
import { bundleWorkflowCode, Worker } from '@temporalio/worker';
import type { ApprovalActivities } from '../../activities/approvals/activity-contract.ts';
import { APPROVAL_UPDATE } from '../../schemas/names/messages.ts';
import { TASK_QUEUES } from '../../schemas/names/task-queues.ts';
import type { ApprovalTally } from '../../schemas/operations/approval.ts';
import { workflowName, type OperationContract } from '../../schemas/operations/operation.ts';

type Activities = Readonly<Record<string, (...args: never[]) => Promise<unknown>>>;

export interface TestRun {
  signal(name: string, payload: unknown): Promise<void>;
  query(name: string, payload?: unknown): Promise<unknown>;
  update(name: string, payload: unknown): Promise<unknown>;
  /** The question that `awaitApproval` asks, once it is asked. */
  asked(): Promise<ApprovalQuestion>;
  /** Answers it as somebody who may. @throws when the run does not take the answer, such as a second one of the same approver. */
  answer(approver: string, approved: boolean): Promise<ApprovalTally>;
  /** Parsed with the contract's result. @throws what the run failed with. */
  result(): Promise<unknown>;
}

/** What people are asked. */
export interface ApprovalQuestion {
  readonly approvalId: string;
  readonly summary: string;
  readonly reason: string;
  /** What an approver needs. */
  readonly permission: string;
  /** Distinct approvers. */
  readonly required: number;
  readonly deadlineMs: number;
}

export interface TestEnvironment {
  /** Starts a run, its input parsed with the contract as the API would. */
  start(contract: OperationContract, input: unknown): Promise<TestRun>;
  stop(): Promise<void>;
}

const QUEUE = 'test';
const QUIET = { log() {}, trace() {}, debug() {}, info() {}, warn() {}, error() {} };

/**
 * A Temporal server of its own and a worker for the project's workflows. `hal9 check` says where the server is (HAL9_TEMPORAL_CLI).
 * @param project folder with `workflows/`.
 * @param activities those the workflows call: the project's own, or others that are easier to look at.
 */
export async function startTestEnvironment(project: string, activities: Activities): Promise<TestEnvironment> {
  const executable = process.env['HAL9_TEMPORAL_CLI'];
  if (executable === undefined) throw new Error('run the tests with `npm test` (`hal9 check`), or set HAL9_TEMPORAL_CLI to the Temporal CLI');
  const environment = await TestWorkflowEnvironment.createLocal({ server: { executable: { type: 'existing-path', path: executable }, extraArgs: ['--log-level', 'error'] } });
  try {
    const workflowBundle = await bundleWorkflowCode({ workflowsPath: await entryOf(project), logger: QUIET });
    const worker = await Worker.create({ connection: environment.nativeConnection, taskQueue: QUEUE, workflowBundle, activities });
    const questions = new Questions();
    const asking = await Worker.create({ connection: environment.nativeConnection, taskQueue: TASK_QUEUES.core, activities: questions.activities });
    const running = Promise.all([worker.run(), asking.run()]);
    return {
      async start(contract, input) {
        const handle = await environment.client.workflow.start(workflowName(contract.name), { taskQueue: QUEUE, workflowId: `${contract.name}-${randomUUID()}`, args: [contract.input.parse(input)] });
        return {
          signal: (name, payload) => handle.signal(name, payload),
          query: (name, payload) => handle.query(name, payload),
          update: (name, payload) => handle.executeUpdate(name, { args: [payload] }),
          asked: () => questions.of(handle.workflowId),
          async answer(approver, approved) {
            const { approvalId, permission } = await questions.of(handle.workflowId);
            return handle.executeUpdate<ApprovalTally, [object]>(APPROVAL_UPDATE, { args: [{ approvalId, approved, approver: { kind: 'user', id: approver }, permission, proof: 'test' }] });
          },
          result: async () => contract.result.parse(await handle.result()),
        };
      },
      async stop() {
        worker.shutdown();
        asking.shutdown();
        await running;
        await environment.teardown();
      },
    };
  } catch (error) {
    await environment.teardown();
    throw error;
  }
}

/** What HAL9 does for approvals, without its database: it remembers what is asked, and takes every answer. */
class Questions {
  readonly #open = new Map<string, ApprovalQuestion>();
  readonly #waiting = new Map<string, ((question: ApprovalQuestion) => void)[]>();

  readonly activities = {
    openApproval: async (question: ApprovalQuestion): Promise<void> => {
      const workflowId = activityInfo().workflowExecution?.workflowId ?? '';
      this.#open.set(workflowId, question);
      for (const tell of this.#waiting.get(workflowId) ?? []) tell(question);
      this.#waiting.delete(workflowId);
    },
    announceApproval: async (): Promise<void> => undefined,
    escalateApproval: async (): Promise<void> => undefined,
    recordAnswer: async (): Promise<void> => undefined,
    closeApproval: async (): Promise<void> => void this.#open.delete(activityInfo().workflowExecution?.workflowId ?? ''),
  } satisfies Omit<ApprovalActivities, 'releaseEffect'>;

  of(workflowId: string): Promise<ApprovalQuestion> {
    const open = this.#open.get(workflowId);
    if (open !== undefined) return Promise.resolve(open);
    return new Promise((resolve) => this.#waiting.set(workflowId, [...(this.#waiting.get(workflowId) ?? []), resolve]));
  }
}

/** One module that exports every workflow of the project; beside them, so that their imports are found. */
async function entryOf(project: string): Promise<string> {
  const folder = join(project, 'workflows');
  const names = (await readdir(folder, { withFileTypes: true })).filter((entry) => entry.isDirectory()).map(({ name }) => name);
  const cache = join(project, 'node_modules', '.cache', 'hal9');
  await mkdir(cache, { recursive: true });
  const file = join(cache, 'workflows.ts');
  await writeFile(file, names.map((name) => `export * from ${JSON.stringify(join(folder, name, 'index.ts'))};\n`).join(''));
  return file;
}
