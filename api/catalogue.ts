import type { z } from 'zod';
import type { MessageContract, OperationContract } from '../schemas/operations/operation.ts';
import type { workflowView } from '../schemas/rest/workflows.ts';
import { jsonSchemaOf } from './json-schema.ts';

export type WorkflowView = z.output<typeof workflowView>;

const known = new WeakMap<OperationContract, WorkflowView>();

/** An operation as the catalogue shows it; computed once for each contract. */
export function describeOperation(contract: OperationContract): WorkflowView {
  const before = known.get(contract);
  if (before !== undefined) return before;
  const view: WorkflowView = {
    type: contract.name,
    version: contract.version,
    summary: contract.summary,
    description: contract.description,
    input: jsonSchemaOf(contract.input, 'input'),
    result: jsonSchemaOf(contract.result, 'output'),
    signals: messages(contract.signals),
    queries: messages(contract.queries),
    updates: messages(contract.updates),
    errors: Object.fromEntries(Object.entries(contract.errors).map(([type, { title, remedy, retryable, status }]) => [type, { title, remedy, retryable, status }])),
    permission: contract.permission,
    effect: contract.effect,
    exposure: contract.exposure,
    executionTimeout: contract.timeouts.execution,
    ...(contract.rate === undefined ? {} : { rate: contract.rate }),
  };
  known.set(contract, view);
  return view;
}

function messages(contracts: Readonly<Record<string, MessageContract>>): WorkflowView['signals'] {
  return Object.fromEntries(
    Object.entries(contracts).map(([name, { description, payload, answer, permission }]) => [
      name,
      { description, payload: jsonSchemaOf(payload, 'input'), ...(answer === undefined ? {} : { answer: jsonSchemaOf(answer, 'output') }), ...(permission === undefined ? {} : { permission }) },
    ]),
  );
}
