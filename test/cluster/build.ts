import { kuboExecutable } from '../environment/kubo.ts';
import { clusterTools, CONTROL_PLANE } from './tools.ts';

/** Gets everything the suites need that come last into the cache: Kubernetes, and a node of IPFS. */
await clusterTools([...CONTROL_PLANE, 'kubectl', 'helm']);
await kuboExecutable();
