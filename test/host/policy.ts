import type { HostPolicy } from '../../activities/host/policy.ts';

/** A policy that allows everything for processes, sessions and files of the test's own mark. */
export function testPolicy(mark: string, changes: Partial<HostPolicy> = {}): HostPolicy {
  return {
    hostId: 'test-host',
    orgId: undefined,
    actions: new Set(['gatherEvidence', 'terminateProcess', 'killProcess', 'resumeProcess', 'restartProcess', 'terminateBackend', 'deleteTemporaryFiles']),
    approval: new Set(),
    processes: [mark],
    supervised: [mark],
    backends: [mark],
    temporaryFolder: undefined,
    temporaryMinAgeSeconds: 0,
    temporaryMark: undefined,
    maxPerIncident: 3,
    maxPerHour: 10,
    ...changes,
  };
}
