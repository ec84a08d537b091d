import type { Generated } from 'kysely';
import type { Act } from './audit-acts.ts';
import type { Timestamp } from './organisations.ts';

export interface AuditTables {
  audit_trees: { org_id: string; size: Generated<number>; roots: Generated<Buffer> };
  audit_entries: {
    org_id: string;
    seq: number;
    id: string;
    at: Timestamp;
    action: string;
    result: Act['result'];
    actor_kind: string;
    actor_id: string;
    impersonator_id: string | null;
    resource_kind: string;
    resource_id: string;
    request_id: string;
    risk: number;
    details: unknown;
    commitments: unknown;
    leaf_hash: Buffer;
  };
  audit_personal: { org_id: string; seq: number; at: Timestamp; fields: unknown };
  audit_nodes: { org_id: string; level: number; index: number; hash: Buffer };
  audit_checkpoints: { org_id: string; size: number; note: string; signer: string; witness: string; at: Timestamp };
  audit_rule_cursors: { org_id: string; seq: number };
}
