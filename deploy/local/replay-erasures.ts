import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { openAllSources } from '../../activities/privacy/all-sources.ts';
import { replayErasures, type ReplayOutcome } from '../../activities/privacy/replay.ts';
import { verifyReceipt } from '../../clients/privacy/verify-receipt.ts';
import type { Database } from '../../database/database.ts';
import { ErasureReplayStore } from '../../database/erasure-replays.ts';
import { OrganisationStore } from '../../database/organisations.ts';
import { actOf } from '../../platform/audit/act.ts';
import { loadAuditSigner } from '../../platform/audit/signer.ts';
import { loadConfig } from '../../platform/config/config.ts';
import { connectDatabase } from '../../platform/database/connect.ts';
import { systemCaller } from '../../platform/identity/caller.ts';
import { loadKeyRing } from '../../platform/keys/load.ts';
import { SubjectKeys } from '../../platform/keys/subject-keys.ts';
import { auditOrigin } from '../../schemas/audit/note.ts';
import { runCommand } from './command.ts';
import { SetupError } from './setup-error.ts';

const USAGE = `Usage: hal9 privacy replay-erasures [--receipts DIR] [--json]

Does erasures again after a backup of a source, or of HAL9's own database, was restored. Run it before any worker starts; it reads the same
settings (DATABASE_URL, HAL9_MASTER_KEYS, HAL9_DATA, TEMPORAL_ADDRESS). DIR: receipts of erasures that a restored ledger may not know.
Exit code: 0 nobody of the ledger is found any more, 1 somebody is, or a source could not be looked at.
`;

await runCommand(async (signal) => {
  const options = parse(process.argv.slice(2));
  if (options === undefined) {
    process.stderr.write(USAGE);
    process.exitCode = 2;
    return;
  }
  const config = loadConfig(process.env);
  if (config.DATABASE_URL === undefined) throw new SetupError('DATABASE_URL is not set', 'set it to the database of HAL9, restored and not served by any worker yet');
  const keys = await loadKeyRing(config);
  const database = await connectDatabase(config, 'hal9-replay');
  const sources = await openAllSources({ config, database, keys });
  const say = (message: string): void => void process.stderr.write(`${message}\n`);
  try {
    const restored = options.receipts === undefined ? 0 : await restoreLedger(options.receipts, database, await loadAuditSigner(config), say);
    const outcomes: ReplayOutcome[] = [];
    for (const { orgId } of await new OrganisationStore(database).listAll()) {
      outcomes.push(
        await replayErasures({ database, keys, subjectKeys: new SubjectKeys({ database, keys }), sourcesOf: (of) => sources.of(of), signal, progress: (message) => say(`${orgId}: ${message}`) }, orgId),
      );
    }
    const sum = (of: (outcome: ReplayOutcome) => number): number => outcomes.reduce((total, outcome) => total + of(outcome), 0);
    const reasons = outcomes.flatMap((outcome) => outcome.reasons);
    const all = { restored, erasures: sum((one) => one.erasures), keysDestroyed: sum((one) => one.keysDestroyed), back: sum((one) => one.back), rows: sum((one) => one.rows), reasons };
    process.stdout.write(options.json ? `${JSON.stringify(all)}\n` : `${all.erasures} erasures in the ledger (${all.restored} of them from receipts); ${all.back} people were back, ${all.rows} records erased again\n${reasons.map((reason) => `LEFT ${reason}\n`).join('')}`);
    process.exitCode = reasons.length === 0 ? 0 : 1;
  } finally {
    await sources.close();
    await database.close();
  }
});

function parse(args: readonly string[]): { receipts: string | undefined; json: boolean } | undefined {
  try {
    const { values, positionals } = parseArgs({ args: [...args], allowPositionals: true, options: { receipts: { type: 'string' }, json: { type: 'boolean', default: false } } });
    return positionals.length === 1 && positionals[0] === 'replay-erasures' ? { receipts: values.receipts, json: values.json } : undefined;
  } catch {
    return undefined; // the usage says what is possible
  }
}

/** Writes down again what receipts prove. @returns erasures that the ledger did not know as complete. */
async function restoreLedger(folder: string, database: Database, signer: Awaited<ReturnType<typeof loadAuditSigner>>, say: (message: string) => void): Promise<number> {
  const store = new ErasureReplayStore(database);
  const organisations = await new OrganisationStore(database).listAll();
  let restored = 0;
  for (const name of (await readdir(folder)).toSorted()) {
    const text = await readFile(join(folder, name), 'utf8');
    const jws = /"receipt"\s*:\s*"([^"]+)"/.exec(text)?.[1] ?? text.trim();
    const verdicts = await Promise.all(organisations.map(({ orgId }) => verifyReceipt(jws, signer.logKey(auditOrigin(orgId)).toString())));
    const verdict = verdicts.find(({ ok }) => ok);
    if (verdict?.ok !== true) {
      say(`${name} is passed over: ${verdicts.map((one) => (one.ok ? '' : one.detail)).at(0) ?? 'there is no organisation'}`);
      continue;
    }
    const { orgId, erasureId } = verdict.statement;
    if (await store.restore(verdict.statement, jws, actOf(systemCaller(orgId, 'privacy'), 'erasure.restore', { kind: 'erasure', id: erasureId }))) restored += 1;
  }
  return restored;
}
