import { clusterTools, CONTROL_PLANE } from './tools.ts';

/** Gets everything the Kubernetes suites need into the cache. */
await clusterTools([...CONTROL_PLANE, 'kubectl', 'helm']);
