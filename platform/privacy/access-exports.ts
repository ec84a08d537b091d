import { v7 } from 'uuid';
import { z } from 'zod';
import { AccessExportStore, type AccessExportRecord } from '../../database/access-exports.ts';
import type { Database } from '../../database/database.ts';
import { HalError } from '../../schemas/errors.ts';
import { ACCESS_EXPORT_RECHECK_SIGNAL } from '../../schemas/names/messages.ts';
import { formatRunId } from '../../schemas/names/workflow-id.ts';
import contract from '../../schemas/operations/access-export.ts';
import { actOf } from '../audit/act.ts';
import { isBlobRef, type BlobStore } from '../blobs/blob-store.ts';
import { systemCaller, type Caller } from '../identity/caller.ts';
import { KeyError, type KeyRing } from '../keys/key-ring.ts';
import type { OperationsPort } from '../operations/contract.ts';
import { subjectHashes, type Identities } from './identities.ts';

const PURPOSE = 'access-exports';
const LINK = 'access-export';
/** A link is good for so long, and no longer than what it leads to, seconds. */
const LINK_SECONDS = 24 * 3600;

/** What an export is encrypted to: a public key of age (https://age-encryption.org/v1), or a passphrase the person was told by another way. */
export type ExportRecipient = { readonly ageRecipient: string } | { readonly passphrase: string };

const sealedRequest = z.object({ identities: z.record(z.string(), z.array(z.string())), recipient: z.union([z.object({ ageRecipient: z.string() }), z.object({ passphrase: z.string() })]) });
const linkPayload = z.object({ orgId: z.uuid(), id: z.uuid() });

/** Opens who an export is about. @throws {HalError} Conflict once it is ready. */
export function openExportRequest(keys: KeyRing, orgId: string, { id, sealed }: Pick<AccessExportRecord, 'id' | 'sealed'>): { identities: Identities; recipient: ExportRecipient } {
  if (sealed === null) throw new HalError('Conflict', 'the export is ready, and nobody knows any more who it was about');
  return sealedRequest.parse(JSON.parse(keys.open(orgId, PURPOSE, sealed, id).toString('utf8')));
}

export interface AccessExportParts {
  readonly database: Database;
  readonly keys: KeyRing;
  readonly blobs: Pick<BlobStore, 'get'>;
  readonly operations: Pick<OperationsPort, 'start' | 'signal'>;
  /** Where the API is reached; links begin with it. */
  readonly publicUrl: string;
}

/** Copies of all that is held of a person: asked for, told of, handed out. */
export class AccessExports {
  readonly #store: AccessExportStore;
  readonly #parts: AccessExportParts;

  constructor(parts: AccessExportParts) {
    this.#parts = parts;
    this.#store = new AccessExportStore(parts.database);
  }

  async request(caller: Caller, { identities, verification, recipient, keepDays }: { identities: Identities; verification: string; recipient: ExportRecipient; keepDays: number }): Promise<AccessExportRecord> {
    const { keys } = this.#parts;
    const id = v7();
    const record = await this.#store.insert(
      caller.orgId,
      { id, subjects: subjectHashes(keys, caller.orgId, identities), verification, requestedBy: `${caller.actor.kind}:${caller.actor.id}`, keepDays, sealed: keys.seal(caller.orgId, PURPOSE, JSON.stringify({ identities, recipient }), id) },
      actOf(caller, 'access-export.request', { kind: 'access-export', id }, { kinds: Object.keys(identities).length, keepDays }),
    );
    await this.#start(caller.orgId, id);
    return record;
  }

  /** Latest first. */
  async list(caller: Caller, limit: number, before?: { createdAt: Date; id: string }): Promise<AccessExportRecord[]> {
    return this.#store.list(caller.orgId, limit, before);
  }

  /** @throws {HalError} NotFound. */
  async get(caller: Caller, id: string): Promise<AccessExportRecord> {
    const found = await this.#store.find(caller.orgId, id);
    if (found === undefined) throw new HalError('NotFound', 'no such export');
    return found;
  }

  /** Has it try again at once; starts its run where none is. @throws {HalError} NotFound; Conflict once it is ready. */
  async resume(caller: Caller, id: string): Promise<AccessExportRecord> {
    const record = await this.get(caller, id);
    if (record.readyAt !== null || record.state === 'expired') throw new HalError('Conflict', `the export is ${record.state}`);
    await this.#store.record(actOf(caller, 'access-export.resume', { kind: 'access-export', id }));
    const started = await this.#start(caller.orgId, id);
    if (!started.created) await this.#parts.operations.signal(systemCaller(caller.orgId, 'privacy'), started.runId, ACCESS_EXPORT_RECHECK_SIGNAL, {});
    return record;
  }

  /** A link that anybody may follow until it expires; what it leads to only the person can open. @throws {HalError} NotFound; Conflict when there is nothing to fetch. */
  async link(caller: Caller, id: string): Promise<{ url: string; expiresAt: Date }> {
    await this.get(caller, id);
    const record = await this.#store.handOut(caller.orgId, id, 'link', actOf(caller, 'access-export.link', { kind: 'access-export', id }));
    if (record?.expiresAt == null) throw new HalError('Conflict', 'the export is not ready, or has expired');
    const expiresAt = new Date(Math.min(record.expiresAt.getTime(), Date.now() + LINK_SECONDS * 1000));
    return { url: `${this.#parts.publicUrl}/access-exports/${this.#parts.keys.sign(LINK, { orgId: caller.orgId, id }, expiresAt)}`, expiresAt };
  }

  /** What a link leads to. @throws {HalError} NotFound for a link that is none, has expired, or leads to what has. */
  async follow(token: string): Promise<{ id: string; bytes: Buffer }> {
    const { orgId, id } = this.#opened(token);
    const record = await this.#store.handOut(orgId, id, 'download', actOf(systemCaller(orgId, 'access-export-link'), 'access-export.download', { kind: 'access-export', id }));
    if (record === undefined || !isBlobRef(record.blob)) throw gone();
    return { id, bytes: await this.#parts.blobs.get(orgId, record.blob) };
  }

  #opened(token: string): z.output<typeof linkPayload> {
    try {
      return linkPayload.parse(this.#parts.keys.verify(LINK, token));
    } catch (error) {
      if (error instanceof KeyError || error instanceof z.ZodError || error instanceof SyntaxError) throw gone();
      throw error;
    }
  }

  async #start(orgId: string, id: string) {
    return this.#parts.operations.start(systemCaller(orgId, 'privacy'), { operation: contract.name, input: { exportId: id }, origin: 'automation', uuid: id, again: true });
  }
}

function gone(): HalError {
  return new HalError('NotFound', 'the link has expired, or is none');
}

/** The run of an export. */
export function accessExportRunId(exportId: string): string {
  return formatRunId({ operation: contract.name, uuid: exportId });
}
