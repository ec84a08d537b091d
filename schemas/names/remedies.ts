/** What an incident on a machine is put down to; the cause that L3 names and `remediate` acts on. */
export const CAUSES = {
  /** A process burns processor time. */
  cpuHog: 'cpu-hog',
  /** A process holds or keeps taking memory. */
  memoryHog: 'memory-hog',
  /** Temporary files fill the watched folder. */
  diskFilling: 'disk-filling',
  /** One PostgreSQL session holds locks that others wait for. */
  lockPileUp: 'lock-pile-up',
  /** A process of HAL9 is stopped (SIGSTOP) and does not work. */
  workerStopped: 'worker-stopped',
} as const;
export type Cause = (typeof CAUSES)[keyof typeof CAUSES];

/** Everything a host agent can be allowed to do. Reading is `gatherEvidence`; the rest changes the machine. */
export const HOST_ACTIONS = [
  'gatherEvidence',
  'terminateProcess',
  'killProcess',
  'resumeProcess',
  'restartProcess',
  'terminateBackend',
  'deleteTemporaryFiles',
] as const;
export type HostAction = (typeof HOST_ACTIONS)[number];

/** Asks a running `remediate` what it saw, chose and did so far. */
export const REMEDY_QUERY = 'remedy';
