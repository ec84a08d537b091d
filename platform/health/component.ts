/** Ordered: each is worse than the one before. */
export const HEALTH_STATES = ['healthy', 'degraded', 'unhealthy'] as const;
export type HealthState = (typeof HEALTH_STATES)[number];

/** What a component says of itself, or its supervisor of it. */
export interface ComponentReport {
  readonly name: string;
  /** `database`, `engine`, `api`, `worker`, `dispatcher`, `host`, `agent`, `connection`, `neuron`. */
  readonly kind: string;
  readonly state: HealthState;
  /** In plain words; holds no secrets, and of the platform's own components nothing about any organisation. */
  readonly detail: string;
  /** When this state began. */
  readonly since: Date;
  /** Names of the components it cannot work without. */
  readonly dependsOn: readonly string[];
}

/** A component as it is, its dependencies considered. */
export interface ComponentHealth extends ComponentReport {
  /** Names of the sick components its state comes from, farthest dependency last; empty when the cause is its own. */
  readonly causes: readonly string[];
}

/** The worse of two states. */
export function worse(a: HealthState, b: HealthState): HealthState {
  return HEALTH_STATES.indexOf(a) >= HEALTH_STATES.indexOf(b) ? a : b;
}
