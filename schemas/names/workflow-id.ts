/** The parts of a workflow id: `<orgId>/<operation>/<uuid>[/k:<keyId>]`. */
export interface WorkflowIdParts {
  readonly orgId: string;
  readonly operation: string;
  readonly uuid: string;
  /** Id of the data subject's key that encrypts the run; missing: the organisation's key. */
  readonly keyId?: string;
}

const UUID = '[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}';
const WORKFLOW_ID = new RegExp(`^(${UUID})/([a-z][a-z0-9-]*)/(${UUID})(?:/k:([A-Za-z0-9_-]{1,64}))?$`);
const SUBJECT_KEY = /\/k:([0-9a-f]{32})$/;
const ORG_PREFIX = new RegExp(`^(${UUID})/`);
const RUN_ID = new RegExp(`^([a-z][a-z0-9-]*)~(${UUID})(?:~k:([A-Za-z0-9_-]{1,64}))?$`);

export function formatWorkflowId(parts: WorkflowIdParts): string {
  return `${parts.orgId}/${parts.operation}/${parts.uuid}${parts.keyId === undefined ? '' : `/k:${parts.keyId}`}`;
}

/** Undefined when the id is not one of HAL9's. */
export function parseWorkflowId(workflowId: string): WorkflowIdParts | undefined {
  const [, orgId, operation, uuid, keyId] = WORKFLOW_ID.exec(workflowId) ?? [];
  if (orgId === undefined || operation === undefined || uuid === undefined) return undefined;
  return { orgId, operation, uuid, ...(keyId === undefined ? {} : { keyId }) };
}

/** The organisation an id belongs to, by its first segment alone: children and tests may have a shape of their own after it. */
export function workflowOrganisation(workflowId: string): string | undefined {
  return ORG_PREFIX.exec(workflowId)?.[1];
}

/** The key of a person that encrypts what a workflow of this id writes; undefined: the organisation's. Of children too. */
export function workflowSubjectKey(workflowId: string): string | undefined {
  return SUBJECT_KEY.exec(workflowId)?.[1];
}

/** What people see of a workflow id: without the organisation, `~` for `/`. */
export function formatRunId(parts: Omit<WorkflowIdParts, 'orgId'>): string {
  return `${parts.operation}~${parts.uuid}${parts.keyId === undefined ? '' : `~k:${parts.keyId}`}`;
}

/** Undefined when the text is not a run id. */
export function parseRunId(runId: string): Omit<WorkflowIdParts, 'orgId'> | undefined {
  const [, operation, uuid, keyId] = RUN_ID.exec(runId) ?? [];
  if (operation === undefined || uuid === undefined) return undefined;
  return { operation, uuid, ...(keyId === undefined ? {} : { keyId }) };
}
