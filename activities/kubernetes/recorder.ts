import { activityInfo } from '@temporalio/activity';
import type { Logger } from 'pino';
import type { RolloutStore, RolloutUnitKey, RolloutUnitState } from '../../database/rollouts.ts';
import type { Strategy, Verdict } from '../../schemas/operations/rollout.ts';
import { activityRun } from '../activity-run.ts';
import type { Target } from './activity-contract.ts';

/** Puts on record what a rollout was to do, does and judges. Called within its activities. */
export class RolloutRecorder {
  readonly #store: RolloutStore;
  readonly #logger: Logger;

  constructor(store: RolloutStore, logger: Logger) {
    this.#store = store;
    this.#logger = logger;
  }

  async begin(): Promise<void> {
    const { orgId, runId } = activityRun();
    await this.#store.begin(orgId, runId);
  }

  async plan(target: Target, wave: string): Promise<void> {
    const { namespace, kind, name, replicas, strategy, from, to, isReturn } = target;
    await this.#store.plan(unitOf(target), { wave, namespace, workload: `${kind}/${name}`, replicas, strategy: isReturn ? 'rolling' : strategy.kind, steps: isReturn ? null : stepsOf(strategy), from, to });
  }

  /**
   * Notes a step that was taken. Going back must not wait for a database: what cannot be put on record is told to the log and left out.
   * @param share per cent of the traffic that the new version gets from now on; without, as before. May have to be asked for: that is part of the record.
   */
  async did(target: Target, step: string, { share, state }: { readonly share?: number | (() => Promise<number>); readonly state?: RolloutUnitState }): Promise<void> {
    const { activityId, workflowExecution } = activityInfo();
    try {
      const percent = typeof share === 'function' ? await share() : share;
      await this.#store.record(unitOf(target), { key: `${workflowExecution?.runId ?? ''}/${activityId}`, step, ...(percent === undefined ? {} : { share: percent }), ...(state === undefined ? {} : { state }) });
    } catch (error) {
      this.#logger.warn({ err: error, run: activityRun().runId, step }, 'a step of a rollout is not on record');
    }
  }

  /** @param key the same in every attempt of the look. */
  async judged(target: Target, key: string, verdicts: readonly Verdict[]): Promise<void> {
    await this.#store.judge(unitOf(target), key, verdicts.map((verdict) => ({ ...verdict, at: new Date(verdict.at) })));
  }
}

function unitOf({ service, cluster }: Target): RolloutUnitKey {
  const { orgId, runId } = activityRun();
  return { orgId, runId, service, cluster };
}

function stepsOf(strategy: Strategy): { weight: number; soakSeconds: number; approvals: number }[] | null {
  return strategy.kind === 'canary' ? strategy.steps.map(({ weight, soakSeconds, approval }) => ({ weight, soakSeconds, approvals: approval?.required ?? 0 })) : null;
}
