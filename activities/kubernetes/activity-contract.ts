import type { RolloutCause } from '../../schemas/names/rollouts.ts';
import type { Freeze, RolloutMetric, RolloutService, Strategy, Traffic, Verdict } from '../../schemas/operations/rollout.ts';

/** One workload in one cluster, as it was when the rollout began. All a rollout needs to go on and to go back. */
export interface Target {
  /** The connection. */
  readonly cluster: string;
  readonly service: string;
  readonly namespace: string;
  readonly kind: 'Deployment' | 'StatefulSet';
  readonly name: string;
  readonly uid: string;
  /** Replicas it is meant to have. */
  readonly replicas: number;
  readonly from: Readonly<Record<string, string>>;
  readonly to: Readonly<Record<string, string>>;
  /** Digest of the pod template without the images that change: a change of it is somebody else's. */
  readonly shape: string;
  /** The Service in front, and whom it selects. */
  readonly front?: { readonly name: string; readonly selector: Readonly<Record<string, string>> };
  readonly strategy: Strategy;
  /** Goes back to what the last rollout replaced, within the window: steps and analysis are skipped. */
  readonly isReturn: boolean;
}

/** Something that will not get better by trying again: the detail of an ApplicationFailure of type ROLLOUT_PROBLEM. */
export interface Problem {
  readonly code: RolloutCause;
  readonly message: string;
}

/** Which pods are waited for. */
export type Version = 'stable' | 'next';

export interface Look {
  readonly target: Target;
  readonly metrics: readonly RolloutMetric[];
  readonly step: string;
  readonly intervalSeconds: number;
  /** Looks to take, an interval apart; ends early with the first that does not pass. */
  readonly looks: number;
  /** When the new version began to get what it has now; milliseconds since the epoch. Samples are of the time since. */
  readonly sinceMs: number;
}

/** Metrics that neurons judge, and what the others found in the same look. */
export interface NeuronLook extends Omit<Look, 'looks'> {
  readonly measured: readonly Verdict[];
}

/** Served by `neurons-external`. */
export interface RolloutNeuronActivities {
  /** Asks each neuron once. Never fails for what a neuron does: one that does not answer, or only by its fallback rules, decides nothing. */
  lookByNeurons(look: NeuronLook): Promise<Verdict[]>;
}

/** Served by `core`. Whatever changes something says what is to be, and does nothing where it is so. */
export interface KubernetesActivities {
  /**
   * Reads the workload and checks all that can be checked before anything changes: names, permissions, the Service's selector, the change itself (tried
   * without keeping it). Puts what is to be done on record.
   * @param wave for the record; default none, as of rollouts that were begun without.
   * @throws {ApplicationFailure} ROLLOUT_PROBLEM.
   */
  inspect(cluster: string, service: RolloutService, strategy: Strategy, rollbackWindowSeconds: number, wave?: string): Promise<Target>;
  /** Marks the workload as this run's. @throws {ApplicationFailure} ROLLOUT_PROBLEM `busy` when it is another's. */
  claim(target: Target): Promise<void>;
  /** Takes the mark away; notes what was replaced where it was promoted. */
  release(target: Target, promoted: boolean): Promise<void>;
  /** Runs the new version beside the old one with so many replicas, and leaves the old one so many. */
  scale(target: Target, next: number, stable: number): Promise<void>;
  /** Waits until all pods of a version are ready. @throws {ApplicationFailure} ROLLOUT_PROBLEM that says why they do not get so. */
  awaitReady(target: Target, version: Version, deadlineSeconds: number): Promise<void>;
  /** Splits the traffic. */
  setWeight(target: Target, traffic: Traffic, weight: number): Promise<void>;
  /** Points the Service to a version. */
  switchTo(target: Target, version: Version): Promise<void>;
  /** Gives the workload the images of a version, and all its replicas. @throws {ApplicationFailure} ROLLOUT_PROBLEM `edited-elsewhere`. */
  setImages(target: Target, version: Version): Promise<void>;
  /** Removes all that ran beside. */
  removeNext(target: Target): Promise<void>;
  /** Which images the workload has now. */
  standing(target: Target): Promise<'new' | 'old' | 'edited'>;
  /** Looks at every metric, and answers the last look. Never fails for what it looks at: what cannot be had decides nothing. */
  look(look: Look): Promise<Verdict[]>;
  /** Whether neurons that metrics name can be asked at all. @throws {ApplicationFailure} ROLLOUT_PROBLEM `neuron-unusable`. */
  requireNeurons(names: readonly string[]): Promise<void>;
  /** When the freeze that holds now ends, and why it is there; null without one. */
  frozen(calendar: readonly Freeze[]): Promise<{ readonly until: string; readonly reason: string } | null>;
}
