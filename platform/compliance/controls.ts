import type { EvidenceQuery } from '../../database/evidence.ts';

/** What the clauses belong to: SOC 2 Trust Services Criteria (2017, points of focus 2022), ISO/IEC 27001:2022 Annex A, Regulation (EU) 2016/679. */
export const FRAMEWORKS = ['SOC 2', 'ISO 27001', 'GDPR'] as const;
export type Framework = (typeof FRAMEWORKS)[number];

/** What HAL9 does for a clause, and what shows that it does. */
export interface Control {
  /** Kebab-case; the id of its evidence. */
  readonly id: string;
  readonly title: string;
  readonly clauses: Readonly<Partial<Record<Framework, readonly string[]>>>;
  /** Tests of every build that would fail if it did not, paths in the repository. */
  readonly tests: readonly string[];
  /** Questions to the database of the installation, asked every day. */
  readonly queries: readonly EvidenceQuery[];
}

/** The control map. Clauses that no software can meet are in {@link LEFT_TO_YOU}. */
export const CONTROLS: readonly Control[] = [
  {
    id: 'tenant-isolation',
    title: 'An organisation sees its own rows only, enforced by the database on every table',
    clauses: { 'SOC 2': ['CC6.1', 'C1.1'], 'ISO 27001': ['A.5.15', 'A.8.3'], GDPR: ['Art. 25', 'Art. 32(1)(b)'] },
    tests: ['test/database/isolation.integration.test.ts', 'test/api/access.integration.test.ts', 'test/operations/operations.integration.test.ts'],
    queries: ['row-level-security'],
  },
  {
    id: 'least-privilege-database',
    title: 'The roles HAL9 runs as cannot step around row-level security',
    clauses: { 'SOC 2': ['CC6.1', 'CC6.3'], 'ISO 27001': ['A.8.2', 'A.8.18'], GDPR: ['Art. 32(1)(b)'] },
    tests: ['test/database/isolation.integration.test.ts'],
    queries: ['database-roles'],
  },
  {
    id: 'permission-on-every-route',
    title: 'Every route and operation declares the permission it needs; nothing passes without it',
    clauses: { 'SOC 2': ['CC6.1', 'CC6.3'], 'ISO 27001': ['A.5.15', 'A.8.3'], GDPR: ['Art. 32(4)'] },
    tests: ['test/api/access.integration.test.ts', 'test/api/openapi.integration.test.ts', 'test/identity/permissions.test.ts'],
    queries: [],
  },
  {
    id: 'credentials-as-hashes',
    title: 'Of API keys only hashes are kept; a key is shown once',
    clauses: { 'SOC 2': ['CC6.1'], 'ISO 27001': ['A.5.17', 'A.8.5', 'A.8.24'], GDPR: ['Art. 32(1)(a)'] },
    tests: ['test/identity/api-keys.integration.test.ts'],
    queries: ['keys-hashed'],
  },
  {
    id: 'access-ends-at-once',
    title: 'A revoked key and a person who left are out within a second, in every process',
    clauses: { 'SOC 2': ['CC6.2', 'CC6.3'], 'ISO 27001': ['A.5.18', 'A.6.5'], GDPR: ['Art. 32(1)(b)'] },
    tests: ['test/identity/api-keys.integration.test.ts', 'test/identity/users.integration.test.ts'],
    queries: ['leavers-locked-out'],
  },
  {
    id: 'access-is-reviewed',
    title: 'Keys that nobody used for 90 days are found',
    clauses: { 'SOC 2': ['CC6.2', 'CC6.3'], 'ISO 27001': ['A.5.18'] },
    tests: ['test/compliance/evidence.integration.test.ts'],
    queries: ['keys-in-use'],
  },
  {
    id: 'second-factors',
    title: 'People who sign in by password show a second factor',
    clauses: { 'SOC 2': ['CC6.1'], 'ISO 27001': ['A.8.5'], GDPR: ['Art. 32(1)(b)'] },
    tests: ['test/compliance/evidence.integration.test.ts'],
    queries: ['second-factors'],
  },
  {
    id: 'roles-and-duties',
    title: 'Roles grant by need; nobody grants more than they have; an effect can need several people',
    clauses: { 'SOC 2': ['CC5.1', 'CC6.3'], 'ISO 27001': ['A.5.3', 'A.5.15', 'A.8.2'], GDPR: ['Art. 32(4)'] },
    tests: ['test/identity/roles.integration.test.ts', 'test/identity/api-keys.integration.test.ts', 'test/approvals/approval.integration.test.ts'],
    queries: [],
  },
  {
    id: 'acts-are-recorded',
    title: 'Every act is written with its cause, numbered within a second and without gaps',
    clauses: { 'SOC 2': ['CC4.1', 'CC7.2', 'CC7.3'], 'ISO 27001': ['A.8.15', 'A.8.16', 'A.5.28'], GDPR: ['Art. 5(2)', 'Art. 30'] },
    tests: ['test/audit/log.integration.test.ts'],
    queries: ['acts-sequenced', 'audit-gapless'],
  },
  {
    id: 'tampering-is-found',
    title: 'A log changed by whoever owns the database is found: Merkle tree, signed checkpoints, witness',
    clauses: { 'SOC 2': ['CC7.2', 'CC7.3'], 'ISO 27001': ['A.5.28', 'A.5.33', 'A.8.15'], GDPR: ['Art. 5(2)'] },
    tests: ['test/audit/merkle.test.ts', 'test/audit/tampering.integration.test.ts'],
    queries: [],
  },
  {
    id: 'evidence-is-intact',
    title: 'Collected evidence is chained by hash and never changed',
    clauses: { 'SOC 2': ['CC4.1', 'CC4.2'], 'ISO 27001': ['A.5.28', 'A.5.33', 'A.5.36'], GDPR: ['Art. 5(2)'] },
    tests: ['test/compliance/evidence.integration.test.ts'],
    queries: ['evidence-intact'],
  },
  {
    id: 'encryption-in-workflows',
    title: 'Payloads and failures are encrypted before they reach the workflow server',
    clauses: { 'SOC 2': ['CC6.1', 'CC6.7', 'C1.1'], 'ISO 27001': ['A.8.24'], GDPR: ['Art. 32(1)(a)'] },
    tests: ['test/codec/payload-codec.test.ts', 'test/keys/key-ring.test.ts'],
    queries: [],
  },
  {
    id: 'encryption-at-rest',
    title: 'Blobs and secrets of connections are sealed with keys of the organisation',
    clauses: { 'SOC 2': ['CC6.1', 'C1.1'], 'ISO 27001': ['A.8.24'], GDPR: ['Art. 32(1)(a)'] },
    tests: ['test/blobs/file-blob-store.test.ts', 'test/connections/connections.integration.test.ts'],
    queries: [],
  },
  {
    id: 'encryption-in-transit',
    title: 'TLS with verification towards PostgreSQL and Temporal',
    clauses: { 'SOC 2': ['CC6.7'], 'ISO 27001': ['A.5.14', 'A.8.20', 'A.8.24'], GDPR: ['Art. 32(1)(a)'] },
    tests: ['test/database/tls.integration.test.ts', 'test/temporal/tls.integration.test.ts'],
    queries: [],
  },
  {
    id: 'no-secrets-in-logs',
    title: 'Logs hold no credentials and no personal data',
    clauses: { 'SOC 2': ['CC6.1', 'C1.1'], 'ISO 27001': ['A.8.11', 'A.8.12', 'A.8.15'], GDPR: ['Art. 5(1)(c)', 'Art. 25'] },
    tests: ['test/telemetry/logger.test.ts', 'test/temporal/sdk-logger.test.ts'],
    queries: [],
  },
  {
    id: 'egress-is-guarded',
    title: 'Calls on behalf of organisations cannot reach private addresses',
    clauses: { 'SOC 2': ['CC6.6'], 'ISO 27001': ['A.8.20', 'A.8.22', 'A.8.23'], GDPR: ['Art. 32(1)(b)'] },
    tests: ['test/connections/egress.test.ts'],
    queries: [],
  },
  {
    id: 'input-is-validated',
    title: 'Whatever comes in is validated; what is wrong is named and refused',
    clauses: { 'SOC 2': ['PI1.2'], 'ISO 27001': ['A.8.26', 'A.8.28'] },
    tests: ['test/api/protocol.integration.test.ts', 'test/signals/prepare.test.ts', 'test/neurons/validate-neuron.test.ts'],
    queries: [],
  },
  {
    id: 'processing-is-complete',
    title: 'Every accepted signal is decided exactly once, whatever is killed',
    clauses: { 'SOC 2': ['PI1.3', 'PI1.4', 'PI1.5'], 'ISO 27001': ['A.8.14'], GDPR: ['Art. 32(1)(b)'] },
    tests: ['test/cascade/exactly-once.integration.test.ts', 'test/signals/outage.integration.test.ts', 'test/workers/outage.integration.test.ts'],
    queries: ['signals-decided'],
  },
  {
    id: 'failures-are-handled',
    title: 'What could not be decided is set aside with its cause and looked at within 30 days',
    clauses: { 'SOC 2': ['CC7.3', 'CC7.4', 'PI1.4'], 'ISO 27001': ['A.5.24', 'A.5.26'] },
    tests: ['test/cascade/poison.integration.test.ts'],
    queries: ['dead-letters-handled'],
  },
  {
    id: 'health-is-monitored',
    title: 'Components are watched and recovered by themselves',
    clauses: { 'SOC 2': ['A1.1', 'A1.2', 'CC7.1', 'CC7.2'], 'ISO 27001': ['A.8.6', 'A.8.14', 'A.8.16'], GDPR: ['Art. 32(1)(b)', 'Art. 32(1)(c)'] },
    tests: ['test/health/monitor.integration.test.ts', 'test/health/components.test.ts'],
    queries: ['components-recover'],
  },
  {
    id: 'incidents-are-remedied',
    title: 'Incidents are correlated, remedied within an allow-list, and escalated to people',
    clauses: { 'SOC 2': ['CC7.3', 'CC7.4', 'CC7.5'], 'ISO 27001': ['A.5.25', 'A.5.26'] },
    tests: ['test/remediate/remediate.integration.test.ts', 'test/remediate/effects.integration.test.ts'],
    queries: [],
  },
  {
    id: 'changes-are-safe',
    title: 'A new build decides old histories as the old one did; what cannot go on is named before it starts',
    clauses: { 'SOC 2': ['CC8.1'], 'ISO 27001': ['A.8.25', 'A.8.29', 'A.8.32'] },
    tests: ['test/replay/histories.integration.test.ts', 'test/upgrade/open-runs.integration.test.ts', 'test/architecture/house.test.ts'],
    queries: [],
  },
  {
    id: 'supply-chain-is-verified',
    title: 'Tools are pinned and their checksums verified or they are built from source',
    clauses: { 'SOC 2': ['CC9.2', 'CC8.1'], 'ISO 27001': ['A.5.21', 'A.8.19', 'A.8.30'] },
    tests: ['test/deploy/tools.test.ts', 'test/deploy/install.test.ts'],
    queries: [],
  },
  {
    id: 'capacity-is-limited',
    title: 'Quotas and budgets hold: one organisation cannot use up what others need',
    clauses: { 'SOC 2': ['A1.1'], 'ISO 27001': ['A.8.6'] },
    tests: ['test/usage/quotas.integration.test.ts', 'test/budgets/budgets.integration.test.ts'],
    queries: [],
  },
  {
    id: 'statements-are-intact',
    title: 'Use is counted exactly once; statements of closed months never change',
    clauses: { 'SOC 2': ['PI1.3', 'PI1.5'], 'ISO 27001': ['A.5.33'] },
    tests: ['test/usage/metering.integration.test.ts', 'test/usage/statements.integration.test.ts'],
    queries: ['statements-intact'],
  },
  {
    id: 'consents-are-provable',
    title: 'Consents name words, basis, time and source; withdrawal counts at once',
    clauses: { 'SOC 2': ['P2.1', 'P3.2'], 'ISO 27001': ['A.5.34'], GDPR: ['Art. 6(1)', 'Art. 7(1)', 'Art. 7(3)'] },
    tests: ['test/consent/consents.integration.test.ts'],
    queries: ['consents-complete'],
  },
  {
    id: 'data-is-minimised',
    title: 'Keys of deduplication go when their window has passed; ids and metrics hold no personal data',
    clauses: { 'SOC 2': ['C1.2', 'P4.2'], 'ISO 27001': ['A.8.10'], GDPR: ['Art. 5(1)(c)', 'Art. 5(1)(e)', 'Art. 25'] },
    tests: ['test/signals/ingest.integration.test.ts', 'test/schemas/workflow-id.test.ts'],
    queries: ['dedup-window-kept'],
  },
  {
    id: 'documentation-is-current',
    title: 'Every command of the documentation is executed by a test; references are generated',
    clauses: { 'SOC 2': ['CC2.2', 'CC2.3'], 'ISO 27001': ['A.5.37'] },
    tests: ['test/docs/pages.e2e.test.ts', 'test/docs/blocks.test.ts'],
    queries: [],
  },
];

/** Clauses that people and buildings meet, not software. An auditor asks you for them. */
export const LEFT_TO_YOU: Readonly<Record<Framework, readonly string[]>> = {
  'SOC 2': ['CC1.1-CC1.5 control environment', 'CC2.1 information for the controls', 'CC3.1-CC3.4 risk assessment', 'CC5.2-CC5.3 policies', 'CC6.4-CC6.5 physical access and disposal', 'CC6.8 unauthorised software on your machines', 'CC9.1 business disruption', 'A1.3 recovery tests', 'P1.1 notice', 'P5.1-P8.1 answers to people and quality'],
  'ISO 27001': ['A.5.1-A.5.8 policies, roles, contacts', 'A.5.9-A.5.13 assets and classification', 'A.5.19-A.5.20, A.5.22-A.5.23 suppliers and clouds', 'A.5.29-A.5.32 continuity and law', 'A.6.1-A.6.4, A.6.6-A.6.8 people', 'A.7.1-A.7.14 physical', 'A.8.1, A.8.7 devices and malware', 'A.8.13 backups of your databases'],
  'GDPR': ['Art. 12-14 information', 'Art. 24 responsibility', 'Art. 27 representative', 'Art. 28 processors', 'Art. 33-34 notification of a breach', 'Art. 35-36 impact assessment', 'Art. 37-39 data protection officer', 'Art. 44-49 transfers'],
};
