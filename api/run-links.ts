import { formatWorkflowId, parseRunId } from '../schemas/names/workflow-id.ts';

export interface RunLinks {
  self: string;
  result: string;
  temporal?: string;
}

/** Where the Temporal UI is, and which namespace it shows. */
export interface TemporalUi {
  readonly url: string;
  readonly namespace: string;
}

export function runLinks(orgId: string, runId: string, ui: TemporalUi | undefined): RunLinks {
  const self = `/v1/runs/${encodeURIComponent(runId)}`;
  const parts = parseRunId(runId);
  const links = { self, result: `${self}/result` };
  if (ui === undefined || parts === undefined) return links;
  const workflowId = formatWorkflowId({ orgId, ...parts });
  return { ...links, temporal: `${ui.url.replace(/\/$/, '')}/namespaces/${encodeURIComponent(ui.namespace)}/workflows/${encodeURIComponent(workflowId)}` };
}
