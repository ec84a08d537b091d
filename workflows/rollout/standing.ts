import type { RolloutInput, RolloutStanding, RolloutUnit, Strategy, Verdict } from '../../schemas/operations/rollout.ts';
import type { Target } from '../../activities/kubernetes/activity-contract.ts';

/** Verdicts kept for people. */
const KEPT_VERDICTS = 100;

/** One service in one cluster. */
export interface Unit {
  readonly target: Target;
  readonly view: RolloutUnit;
}

/** Where a rollout stands: what the query answers. */
export class Standing {
  step = 'reading';
  waitingFor: string | null = null;
  readonly units: Unit[] = [];
  #verdicts: Verdict[] = [];

  add(target: Target, wave: string): Unit {
    const { service, cluster, namespace, name, from, to } = target;
    const unit = { target, view: { service, cluster, wave, namespace, workload: `${target.kind}/${name}`, strategy: target.strategy.kind, state: 'waiting' as const, from: { ...from }, to: { ...to } } };
    this.units.push(unit);
    return unit;
  }

  judged(verdicts: readonly Verdict[]): void {
    this.#verdicts = [...this.#verdicts, ...verdicts].slice(-KEPT_VERDICTS);
  }

  get view(): RolloutStanding {
    return { step: this.step, waitingFor: this.waitingFor, units: this.units.map(({ view }) => view), verdicts: this.#verdicts };
  }
}

/** What the run was started with, defaults filled in: of the services in the order they go out. */
export function inOrder(services: RolloutInput['services']): RolloutInput['services'] {
  const out: RolloutInput['services'] = [];
  while (out.length < services.length) {
    const next = services.find((service) => !out.includes(service) && service.after.every((name) => out.some((done) => done.name === name)));
    // The contract refuses circles.
    if (next === undefined) return services;
    out.push(next);
  }
  return out;
}

/**
 * Replicas of both versions that share the traffic in the ratio of a weight. The old version keeps all it has up to one half, so that going back
 * needs nobody to start; beyond, the new one has as many as the workload is meant to have.
 */
export function replicasAt(weight: number, replicas: number): { next: number; stable: number } {
  if (weight >= 100) return { next: replicas, stable: replicas };
  if (weight <= 50) return { next: Math.max(1, Math.round((replicas * weight) / (100 - weight))), stable: replicas };
  return { next: replicas, stable: Math.max(1, Math.round((replicas * (100 - weight)) / weight)) };
}

/** What a rollout of a unit would do, in words. */
export function planOf({ target }: Unit): string[] {
  const { strategy, kind, name, cluster, namespace, replicas } = target;
  const place = `${kind} ${namespace}/${name} in ${cluster}`;
  const images = Object.entries(target.to).map(([container, image]) => `${container} ${target.from[container] ?? ''} -> ${image}`).join(', ');
  if (target.isReturn) return [`${place}: back to what the last rollout replaced, without steps: ${images}`];
  return [...stepsOf(strategy, replicas).map((step) => `${place}: ${step}`), `${place}: ${images}`];
}

function stepsOf(strategy: Strategy, replicas: number): string[] {
  switch (strategy.kind) {
    case 'rolling':
      return [];
    case 'canary':
      return strategy.steps.map(({ weight, soakSeconds, approval }) => {
        const split = strategy.traffic === undefined ? `${replicasAt(weight, replicas).next} new beside ${replicasAt(weight, replicas).stable} old pods` : `by ${strategy.traffic.kind}`;
        return `${approval === undefined ? '' : `after ${approval.required} approvals `}${weight} % of the traffic (${split}) for ${soakSeconds} s`;
      });
    case 'blue-green':
      return [`${replicas} new pods beside the old${strategy.approval === undefined ? '' : `, after ${strategy.approval.required} approvals`}, all traffic to them for ${strategy.soakSeconds} s`];
  }
}
