import { resolve } from 'node:path';
import { resolveTool, type Tool } from '../../deploy/local/tools.ts';

const KUBERNETES = '1.36.3';

/**
 * The parts of a control plane, of one Go module: what they share is compiled once, whoever is built first.
 * `minutes` are those of two cores with nothing built yet, in this order.
 */
const PARTS = {
  'kube-apiserver': { version: KUBERNETES, package: 'k8s.io/kubernetes/cmd/kube-apiserver', minutes: 7 },
  'kube-controller-manager': { version: KUBERNETES, package: 'k8s.io/kubernetes/cmd/kube-controller-manager', minutes: 2 },
  'kube-scheduler': { version: KUBERNETES, package: 'k8s.io/kubernetes/cmd/kube-scheduler', minutes: 1 },
  etcd: { version: '3.7.3', package: 'go.etcd.io/etcd/server/v3', minutes: 1 },
  kwok: { version: '0.8.0', package: 'sigs.k8s.io/kwok/cmd/kwok', minutes: 1 },
  kubectl: { version: KUBERNETES, package: 'k8s.io/kubernetes/cmd/kubectl', minutes: 1 },
  helm: { version: '3.22.0', package: 'helm.sh/helm/v3/cmd/helm', minutes: 1 },
} as const;

export type ClusterPart = keyof typeof PARTS;

/** What a running control plane consists of; kubectl and helm are clients. */
export const CONTROL_PLANE = ['etcd', 'kube-apiserver', 'kube-controller-manager', 'kube-scheduler', 'kwok'] as const satisfies readonly ClusterPart[];

/** Without these every part of Kubernetes says it is v0.0.0, and clients refuse what they think too old. */
const VERSION_FLAGS = [`gitVersion=v${KUBERNETES}`, 'gitMajor=1', 'gitMinor=36'].map((setting) => `-X k8s.io/component-base/version.${setting}`).join(' ');

function clusterTool(name: ClusterPart): Tool {
  const part = PARTS[name];
  return {
    name,
    version: part.version,
    setting: `HAL9_${name.replaceAll('-', '_').toUpperCase()}`,
    module: {
      folder: resolve(import.meta.dirname, '../../deploy/tools/cluster'),
      package: part.package,
      flags: ['-trimpath', '-ldflags', `-s -w ${VERSION_FLAGS}`],
      minutes: part.minutes,
    },
  };
}

/**
 * Executables of the parts: the user's own by setting or PATH, else built once from the pinned module into the cache.
 * @throws {SetupError} with the remedy when one cannot be had.
 */
export async function clusterTools<Part extends ClusterPart>(parts: readonly Part[]): Promise<Record<Part, string>> {
  const found: Partial<Record<Part, string>> = {};
  // One after the other: each takes every processor, and the first compiles what the others share.
  for (const part of parts) found[part] = await resolveTool(clusterTool(part), { env: process.env, progress: (message) => process.stderr.write(`${message}\n`) });
  return found as Record<Part, string>;
}
