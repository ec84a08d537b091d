import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { recordAct, type Act } from '../../database/audit-acts.ts';
import { AuditCheckpointStore } from '../../database/audit-checkpoints.ts';
import { AuditLogStore } from '../../database/audit-log.ts';
import { AuditSequencerStore } from '../../database/audit-sequencer.ts';
import type { Database } from '../../database/database.ts';
import { Checkpoints } from '../../platform/audit/checkpoints.ts';
import { FileWitness } from '../../platform/audit/file-witness.ts';
import { NoteSigner } from '../../platform/audit/signer.ts';

export function act(orgId: string, change: Partial<Act> = {}): Act {
  return {
    orgId,
    action: 'thing.change',
    result: 'succeeded',
    actor: { kind: 'user', id: randomUUID() },
    resource: { kind: 'thing', id: randomUUID() },
    requestId: randomUUID(),
    risk: 0,
    details: { amount: 1.5, 'é\u2028': ['b', 'a'] },
    personal: { address: '192.0.2.7', userAgent: 'curl/8' },
    ...change,
  };
}

/** The audit log of a database with a key and a witness of its own. */
export async function auditHouse(database: Database) {
  const folder = await mkdtemp(join(tmpdir(), 'hal9-audit-'));
  const witnessFolder = join(folder, 'witness');
  const signer = await NoteSigner.fromFile(join(folder, 'keys', 'audit'));
  const witness = await FileWitness.open(witnessFolder);
  const sequencer = new AuditSequencerStore(database);
  const checkpoints = new Checkpoints(new AuditCheckpointStore(database), signer, witness);
  return {
    log: new AuditLogStore(database),
    sequencer,
    signer,
    witness,
    checkpoints,
    folder,
    witnessFile: (orgId: string) => join(witnessFolder, `${orgId}.log`),
    reopenWitness: () => FileWitness.open(witnessFolder),
    /** Writes acts, each in a transaction of its own. */
    async record(...acts: readonly Act[]) {
      for (const each of acts) await database.withOrg(each.orgId, (tx) => recordAct(tx, each));
    },
    async sequence(orgId: string) {
      let total = 0;
      for (;;) {
        const { sequenced, more } = await sequencer.sequenceAcrossOrganisations(orgId);
        total += sequenced;
        if (!more) return total;
      }
    },
    close: () => rm(folder, { recursive: true, force: true }),
  };
}

export type AuditHouse = Awaited<ReturnType<typeof auditHouse>>;
