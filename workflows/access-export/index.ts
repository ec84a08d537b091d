import { condition, defineQuery, defineSignal, proxyActivities, setHandler, sleep } from '@temporalio/workflow';
import type { AccessExportActivities } from '../../activities/access-export/activity-contract.ts';
import { ACCESS_EXPORT_RECHECK_SIGNAL, RESERVED_QUERIES, type Progress } from '../../schemas/names/messages.ts';
import type { AccessExportInput, AccessExportResult } from '../../schemas/operations/access-export.ts';

const SOON = '10 minutes';
const LATER = '1 day';

const { noteAccessExport, expireAccessExport } = proxyActivities<AccessExportActivities>({ startToCloseTimeout: '1 minute', retry: { maximumInterval: '1 minute' } });
const { collectAccessExport } = proxyActivities<AccessExportActivities>({ startToCloseTimeout: '6 hours', heartbeatTimeout: '2 minutes', retry: { maximumInterval: '1 minute' } });

/** Collects until every source has answered, then keeps the copy until it expires. */
export async function accessExport({ exportId }: AccessExportInput): Promise<AccessExportResult> {
  let asked = 0;
  let progress: Progress = { step: 'collecting', done: 0, total: null, message: '' };
  setHandler(defineSignal(ACCESS_EXPORT_RECHECK_SIGNAL), () => {
    asked += 1;
  });
  setHandler(defineQuery<Progress>(RESERVED_QUERIES.progress), () => progress);
  for (;;) {
    const seen = asked;
    const { reasons, expiresAtMs, records, passing } = await collectAccessExport(exportId);
    if (reasons.length === 0) {
      progress = { step: 'ready', done: records, total: records, message: '' };
      await sleep(Math.max(1, expiresAtMs - Date.now()));
      await expireAccessExport(exportId);
      return { exportId, records };
    }
    progress = { step: 'blocked', done: 0, total: null, message: reasons.join('; ') };
    await noteAccessExport(exportId, reasons);
    await condition(() => asked > seen, passing ? SOON : LATER);
  }
}
