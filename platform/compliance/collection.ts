import type { Logger } from 'pino';
import { isConnectionFailure } from '../../database/failures.ts';
import type { EvidenceRecord, EvidenceStore, Finding } from '../../database/evidence.ts';
import { HalError } from '../../schemas/errors.ts';
import { CONTROLS, type Control } from './controls.ts';

/** Controls that queries show; of `wanted` where given. @throws {HalError} InvalidInput for one that is not there or that no query shows. */
export function shownByQuery(wanted?: readonly string[]): Control[] {
  const shown = CONTROLS.filter(({ queries }) => queries.length > 0);
  if (wanted === undefined) return shown;
  const unknown = wanted.filter((id) => !shown.some((control) => control.id === id));
  if (unknown.length > 0) throw new HalError('InvalidInput', `no query shows ${unknown.join(', ')}`, { errors: [{ path: '/controls', message: 'ids of controls that a query shows; GET /v1/compliance lists them' }] });
  return shown.filter(({ id }) => wanted.includes(id));
}

/** Asks the queries of one control and keeps what they answer. A query that fails is evidence too: of an error. */
export async function collect(
  { evidence, logger }: { evidence: EvidenceStore; logger: Pick<Logger, 'warn'> },
  { orgId, collection, control: id, at }: { orgId: string; collection: string; control: string; at: Date },
): Promise<EvidenceRecord> {
  const [control] = shownByQuery([id]);
  if (control === undefined) throw new HalError('InvalidInput', `no query shows ${id}`);
  const findings: Finding[] = [];
  let failed = false;
  for (const query of control.queries) {
    try {
      findings.push(await evidence.ask(orgId, query));
    } catch (error) {
      if (isConnectionFailure(error)) throw error;
      logger.warn({ control: id, query, reason: error instanceof Error ? error.message : String(error) }, 'evidence could not be read');
      failed = true;
    }
  }
  const numbers = Object.assign({}, ...findings.map((finding) => finding.numbers));
  return evidence.keep(orgId, collection, { control: id, at, result: failed ? 'error' : findings.every(({ passed }) => passed) ? 'passed' : 'failed', numbers });
}
