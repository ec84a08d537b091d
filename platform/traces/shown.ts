import type { TraceKind, TraceNode } from '../../schemas/rest/traces.ts';
import type { Caller } from '../identity/caller.ts';
import { can } from '../identity/permissions.ts';
import { parseRunId } from '../../schemas/names/workflow-id.ts';

/** What a caller needs to see a node of this kind by its name. Who called is part of the run. */
const PERMISSIONS: Readonly<Record<TraceKind, string>> = {
  caller: 'runs:read',
  schedule: 'schedules:read',
  webhook: 'webhooks:read',
  signal: 'signals:read',
  emission: 'signals:read',
  decision: 'decisions:read',
  automation: 'automations:read',
  run: 'runs:read',
  step: 'runs:read',
  approval: 'approvals:read',
  message: 'webhook-endpoints:read',
  notification: 'notifications:read',
};

/**
 * The tree as this caller may see it: what they may not read keeps its place, kind and times, so that the way stays whole.
 * @param granted permissions that the route has asked for, for these kinds.
 */
export function shownTo(caller: Pick<Caller, 'scopes'>, node: TraceNode, granted: readonly TraceKind[] = []): TraceNode {
  const children = node.children.map((child) => shownTo(caller, child, granted));
  const run = parseRunId(node.id.split('#')[0] ?? '');
  const seen = granted.includes(node.kind) || can(caller, PERMISSIONS[node.kind], run === undefined ? {} : { type: run.operation });
  return seen ? { ...node, children } : { ...node, id: '', title: `${node.kind}, not yours to see`, state: null, failure: null, children };
}
