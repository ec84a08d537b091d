/** Asks a running `rollout` where it stands. */
export const ROLLOUT_QUERY = 'rollout';
/** The update by which people abort a rollout, or decide when it waits for them. */
export const ROLLOUT_DECISION_UPDATE = 'decide';

/** Type of the failure of an activity that trying again will not mend; its detail names the cause. */
export const ROLLOUT_PROBLEM = 'RolloutProblem';

/** Annotations HAL9 keeps on a workload: the run that works on it, and what it replaced, when. */
export const ROLLOUT_ANNOTATIONS = {
  run: 'hal9.ai/rollout',
  previous: 'hal9.ai/previous-images',
  promotedAt: 'hal9.ai/promoted-at',
} as const;

/** Label of everything a rollout adds: the workload whose next version it is. */
export const NEXT_LABEL = 'hal9.ai/next-of';

/** Ends the name of what runs beside a workload: its Deployment, its Service, its Ingress. */
export const NEXT_SUFFIX = '-hal9-next';

/** Why a rollout stopped, and what to do. */
export const ROLLOUT_CAUSES = {
  'not-found': 'Check the name and the namespace; the rollout adopts workloads that are there.',
  'missing-permission': 'Give the service account of the connection the verb on the resource named in the reason, then start again.',
  'selector-mismatch': 'Name the Service that selects these pods, or mend its selector.',
  'unknown-container': 'Name containers that the pod template has.',
  'neuron-unusable': 'Name an enabled neuron of kind rules, llm or http; the reason says which is not.',
  busy: 'Wait for the run named in the reason, or abort it. If it is no more, remove the annotation hal9.ai/rollout.',
  invalid: 'The API server refuses the change; the reason says why.',
  unreachable: 'Check the address, certificate and token of the connection.',
  'edited-elsewhere': 'Somebody changed the workload meanwhile and their change was left as it is. Agree who changes it, then start again.',
  'image-never-starts': 'See the reason for the container and what the node says of its image.',
  'quota-exceeded': 'Raise the quota of the namespace or lower the replicas; a canary needs room beside the old version.',
  unschedulable: 'No node has room for the pods, or none that they may run on.',
  deadline: 'The pods did not get ready in time. Look at their logs; a longer progressDeadlineSeconds may be needed.',
  'analysis-failed': 'The verdicts say which metric failed, with its query, samples and threshold.',
  'gate-refused': 'The approval was refused or ran out.',
  aborted: 'Somebody aborted the rollout.',
} as const;
export type RolloutCause = keyof typeof ROLLOUT_CAUSES;
