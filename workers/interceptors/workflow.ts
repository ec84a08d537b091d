import { workflowInfo, type StartChildWorkflowExecutionInput, type Next, type WorkflowInterceptors, type WorkflowOutboundCallsInterceptor } from '@temporalio/workflow';
import { SEARCH_ATTRIBUTES } from '../../schemas/names/search-attributes.ts';
import { workflowOrganisation } from '../../schemas/names/workflow-id.ts';

/** Keeps children in the organisation of their parent: their id and search attributes say so, and with the id the key that encrypts them. */
class OrganisationOfChildren implements WorkflowOutboundCallsInterceptor {
  async startChildWorkflowExecution(input: StartChildWorkflowExecutionInput, next: Next<WorkflowOutboundCallsInterceptor, 'startChildWorkflowExecution'>): ReturnType<typeof next> {
    const orgId = workflowOrganisation(workflowInfo().workflowId);
    if (orgId === undefined) return next(input);
    const workflowId = workflowOrganisation(input.options.workflowId) === orgId ? input.options.workflowId : `${orgId}/${input.workflowType}/${input.options.workflowId}`;
    const searchAttributes = { ...input.options.searchAttributes, [SEARCH_ATTRIBUTES.orgId]: [orgId] };
    return next({ ...input, options: { ...input.options, workflowId, searchAttributes } });
  }
}

/** Loaded into the bundle by name. */
export const interceptors = (): WorkflowInterceptors => ({ outbound: [new OrganisationOfChildren()] });
