import { HOST_ACTIONS, type HostAction } from '../../schemas/names/remedies.ts';
import type { Config } from '../../platform/config/config.ts';
import { HalError } from '../../schemas/errors.ts';

/** What the agent of this machine may do, and for whom. Read from the settings once, at start. */
export interface HostPolicy {
  readonly hostId: string;
  /** The one organisation whose runs the agent obeys; undefined: none. */
  readonly orgId: string | undefined;
  readonly actions: ReadonlySet<HostAction>;
  /** Actions a person has to agree to first. */
  readonly approval: ReadonlySet<HostAction>;
  /** A process may be ended only when its command line contains one of these. */
  readonly processes: readonly string[];
  /** A process may be resumed or restarted only when its command line contains one of these. */
  readonly supervised: readonly string[];
  /** A PostgreSQL session may be ended only when its application_name starts with one of these. */
  readonly backends: readonly string[];
  /** Real path of the folder whose files may be deleted; undefined: none. */
  readonly temporaryFolder: string | undefined;
  /** Files younger than this, seconds, stay, unless their name ends in the mark. */
  readonly temporaryMinAgeSeconds: number;
  /** Ending of the name of files that may go at any age; undefined: none. */
  readonly temporaryMark: string | undefined;
  readonly maxPerIncident: number;
  readonly maxPerHour: number;
}

/** @throws {HalError} InvalidInput when a setting names an action that does not exist. */
export function hostPolicy(config: Config, hostId: string): HostPolicy {
  return {
    hostId,
    orgId: config.HAL9_AGENT_ORG,
    actions: new Set([...actions(config.HAL9_AGENT_ACTIONS, 'HAL9_AGENT_ACTIONS'), 'gatherEvidence']),
    approval: actions(config.HAL9_AGENT_APPROVAL, 'HAL9_AGENT_APPROVAL'),
    processes: config.HAL9_AGENT_PROCESSES,
    supervised: config.HAL9_AGENT_SUPERVISED,
    backends: config.HAL9_AGENT_BACKENDS,
    temporaryFolder: config.HAL9_AGENT_TEMP,
    temporaryMinAgeSeconds: config.HAL9_AGENT_TEMP_MIN_AGE_SECONDS,
    temporaryMark: config.HAL9_AGENT_TEMP_MARK,
    maxPerIncident: config.HAL9_AGENT_MAX_PER_INCIDENT,
    maxPerHour: config.HAL9_AGENT_MAX_PER_HOUR,
  };
}

function actions(names: readonly string[], setting: string): Set<HostAction> {
  return new Set(
    // An empty setting means its default, so "none" says that there is none.
    names.filter((name) => name !== 'none').map((name) => {
      const action = HOST_ACTIONS.find((known) => known === name);
      if (action === undefined) throw new HalError('InvalidInput', `${setting}: there is no action "${name}"; the actions are ${HOST_ACTIONS.join(', ')}`);
      return action;
    }),
  );
}
