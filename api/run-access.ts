import { parseRunId } from '../schemas/names/workflow-id.ts';

/** For routes of one run: scopes narrowed by `type` apply to the operation that the run id names. */
export function byRun({ params }: { params: Readonly<Record<string, string>> }): { attributes?: Record<string, string> } {
  const operation = parseRunId(params['id'] ?? '')?.operation;
  return operation === undefined ? {} : { attributes: { type: operation } };
}
