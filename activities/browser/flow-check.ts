import { HalError, type FieldError } from '../../schemas/errors.ts';
import type { Flow, FlowStep } from '../../schemas/browser/flow.ts';
import { assertCompiles, placeholdersOf } from './expressions.ts';
import { roleOf } from './locating.ts';

/** Fields that hold a CEL expression as a whole. */
const EXPRESSIONS: ReadonlySet<string> = new Set(['that', 'in', 'value', 'nth', 'times', 'result']);

/**
 * Finds, before anything is touched, what would fail half-way: expressions that do not compile, roles that are none, sub-flows that are missing, pictures to compare in a flow without a name.
 * @throws {HalError} InvalidInput with every mistake and its place.
 */
export function checkFlow(flow: Flow): void {
  const errors: FieldError[] = [];
  const attempt = (path: string, work: () => unknown): void => {
    try {
      work();
    } catch (error) {
      errors.push({ path, message: error instanceof Error ? error.message : String(error) });
    }
  };
  const visit = (value: unknown, path: string, field: string): void => {
    if (typeof value === 'string') {
      if (field === 'role') attempt(path, () => roleOf(value));
      else if (EXPRESSIONS.has(field) || path.includes('/with/')) attempt(path, () => assertCompiles(value));
      else for (const source of placeholdersOf(value)) attempt(path, () => assertCompiles(source));
    } else if (Array.isArray(value)) {
      for (const [index, item] of value.entries()) visit(item, `${path}/${String(index)}`, field);
    } else if (typeof value === 'object' && value !== null) {
      if ('do' in value && value.do === 'compare' && flow.name === undefined) errors.push({ path: `${path}/baseline`, message: 'baselines are found by the name of the flow: give it one' });
      for (const [name, item] of Object.entries(value)) if (name !== 'vars') visit(item, `${path}/${name}`, name);
    }
  };
  visit(flow, '', '');
  for (const [path, name] of callsOf(flow.steps, '/steps')) {
    if (!Object.hasOwn(flow.flows, name)) errors.push({ path, message: `there is no flow "${name}"` });
  }
  for (const [owner, steps] of Object.entries(flow.flows)) {
    for (const [path, name] of callsOf(steps, `/flows/${owner}`)) if (!Object.hasOwn(flow.flows, name)) errors.push({ path, message: `there is no flow "${name}"` });
  }
  if (errors.length > 0) throw new HalError('InvalidInput', `the flow cannot run: ${errors.slice(0, 5).map(({ path, message }) => `${path}: ${message}`).join('; ')}`, { errors });
}

function callsOf(steps: readonly FlowStep[], path: string): [string, string][] {
  return steps.flatMap((step, index): [string, string][] => {
    const at = `${path}/${String(index)}`;
    switch (step.do) {
      case 'call':
        return [[`${at}/flow`, step.flow]];
      case 'if':
        return [...callsOf(step.steps, `${at}/steps`), ...callsOf(step.else ?? [], `${at}/else`)];
      case 'for-each':
      case 'while':
        return callsOf(step.steps, `${at}/steps`);
      default:
        return [];
    }
  });
}
