import { createHash } from 'node:crypto';
import { hostname } from 'node:os';
import { activityInfo, ApplicationFailure, heartbeat, sleep } from '@temporalio/activity';
import { hostTaskQueue } from '../../schemas/names/task-queues.ts';
import { remediateInputSchema, type RemediateInput } from '../../schemas/operations/remediate.ts';
import { RemediationActionStore, type RemediationAction } from '../../database/remediation-actions.ts';
import { activityOrganisation } from '../activity-run.ts';
import { beating } from '../beating.ts';
import type { ActivityDependencies, RegisteredActivities } from '../dependencies.ts';
import type { Config } from '../../platform/config/config.ts';
import { act, reconcile, refusal } from './actions.ts';
import { targetText, type ActionAnswer, type ActionRequest } from './action.ts';
import { gatherEvidence, type Evidence } from './evidence.ts';
import { hostPolicy, type HostPolicy } from './policy.ts';
import { Sessions } from './sessions.ts';
import { measureSymptom, type Symptom, type SymptomReading } from './symptom.ts';

/** Readings in a row that must be normal before an action counts as having helped. */
const STEADY_READINGS = 2;
const READING_INTERVAL_MS = 750;

export interface HostActivities {
  /** Parses the input again and looks at the machine. */
  readonly gatherEvidence: (input: unknown) => Promise<{ input: RemediateInput; evidence: Evidence }>;
  /**
   * Carries out one action within the policy, exactly once for each (run, step).
   * @throws {ApplicationFailure} ActionRefused with the reason, not retryable; it is on record.
   */
  readonly takeAction: (request: ActionRequest) => Promise<ActionAnswer>;
  /** Measures until the symptom is gone or the time is up. */
  readonly awaitRecovery: (symptom: Symptom, withinSeconds: number) => Promise<{ helped: boolean; reading: SymptomReading }>;
}

/** The name of this machine on its queue and in its metrics: letters, digits, dots, dashes, underscores. */
export function hostIdOf(config: Pick<Config, 'HAL9_HOST_ID'>): string {
  return (config.HAL9_HOST_ID ?? hostname()).replace(/[^A-Za-z0-9._-]/g, '-').replace(/^[^A-Za-z0-9]+/, '').slice(0, 128) || 'host';
}

/** The record of what the agent did. */
type ActionRecord = Pick<RemediationActionStore, 'find' | 'reserve' | 'refuse' | 'finish'>;

/** What an agent needs besides its policy. */
export interface HostAgentParts {
  readonly policy: HostPolicy;
  readonly sessions: Sessions | undefined;
  readonly actions: ActionRecord;
}

/** The activities of one machine's agent. */
export function createHostActivities({ policy, sessions, actions }: HostAgentParts): HostActivities {
  return {
    async gatherEvidence(input) {
      obeyed(policy);
      const parsed = remediateInputSchema.safeParse(input);
      if (!parsed.success) throw ApplicationFailure.nonRetryable(parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`).join('; '), 'InvalidInput');
      if (parsed.data.hostId !== policy.hostId) throw ApplicationFailure.nonRetryable(`this agent serves ${policy.hostId}`, 'ActionRefused');
      return { input: parsed.data, evidence: await gatherEvidence(policy, sessions) };
    },

    async takeAction(request) {
      const run = obeyed(policy);
      const record = recordOf(policy, run.workflowId, request);
      return beating(async (signal) => {
        const reach = { policy, sessions, signal };
        const known = await actions.find(run.orgId, record.id);
        if (known?.state === 'done' || known?.state === 'failed') return { state: known.state, detail: known.detail };
        if (known?.state === 'refused') throw ApplicationFailure.nonRetryable(known.detail, 'ActionRefused');
        if (known?.state === 'started') return await finish(actions, run.orgId, record.id, await reconcile(request, reach));
        if (policy.approval.has(request.action) && !request.approved) return await refuse(actions, run.orgId, record, `${request.action} needs a person's approval`);
        const reason = await refusal(request, reach);
        if (reason !== undefined) return await refuse(actions, run.orgId, record, reason);
        const reservation = await actions.reserve(run.orgId, record, policy);
        if (reservation.kind === 'limit') return await refuse(actions, run.orgId, record, reservation.reason);
        const answer = reservation.kind === 'known' ? await reconcile(request, reach) : await act(request, reach);
        return await finish(actions, run.orgId, record.id, answer);
      });
    },

    async awaitRecovery(symptom, withinSeconds) {
      obeyed(policy);
      const deadline = Date.now() + withinSeconds * 1000;
      let steady = 0;
      for (;;) {
        const reading = await measureSymptom(symptom, policy, sessions);
        steady = reading.value <= reading.limit ? steady + 1 : 0;
        if (steady >= STEADY_READINGS) return { helped: true, reading };
        if (Date.now() >= deadline) return { helped: false, reading };
        heartbeat(reading);
        await sleep(READING_INTERVAL_MS);
      }
    },
  };
}

/** Discovered: the agent of this machine on its own queue. */
export default function register({ config, database }: ActivityDependencies): RegisteredActivities {
  const policy = hostPolicy(config, hostIdOf(config));
  const url = config.HAL9_AGENT_POSTGRES_URL ?? config.DATABASE_URL;
  const sessions = url === undefined ? undefined : new Sessions(url);
  const activities = createHostActivities({ policy, sessions, actions: new RemediationActionStore(database) });
  return {
    queues: { [hostTaskQueue(policy.hostId)]: { ...activities } },
    async shutdown() {
      await sessions?.close();
    },
  };
}

/** The run that asks, if it is of the organisation the agent obeys: the first part of every workflow id. */
function obeyed(policy: HostPolicy): { orgId: string; workflowId: string } {
  const workflowId = activityInfo().workflowExecution?.workflowId ?? '';
  const orgId = activityOrganisation();
  if (policy.orgId === undefined || orgId !== policy.orgId) throw ApplicationFailure.nonRetryable('this agent does not obey the organisation of the run', 'ActionRefused');
  return { orgId, workflowId };
}

function recordOf(policy: HostPolicy, workflowId: string, request: ActionRequest): RemediationAction {
  const hash = createHash('sha256').update(`${workflowId}\n${activityInfo().workflowExecution?.runId ?? ''}\n${request.step}`).digest('hex');
  const id = `${hash.slice(0, 8)}-${hash.slice(8, 12)}-8${hash.slice(13, 16)}-a${hash.slice(17, 20)}-${hash.slice(20, 32)}`;
  const { incidentId, step, cause, action, target } = request;
  return { id, hostId: policy.hostId, incidentId, workflowId, step, cause, action, target: targetText(target) };
}

async function refuse(actions: ActionRecord, orgId: string, record: RemediationAction, reason: string): Promise<never> {
  await actions.refuse(orgId, record, reason);
  throw ApplicationFailure.nonRetryable(reason, 'ActionRefused');
}

async function finish(actions: ActionRecord, orgId: string, id: string, answer: ActionAnswer): Promise<ActionAnswer> {
  await actions.finish(orgId, id, answer.state, answer.detail);
  return answer;
}
