import { AuditActStore } from '../../database/audit-acts.ts';
import { AuditLogStore, type AuditFilter, type LoggedEntry, type StoredCheckpoint, type StoredInclusion } from '../../database/audit-log.ts';
import type { Database } from '../../database/database.ts';
import { auditOrigin } from '../../schemas/audit/note.ts';
import { consistencyRanges } from '../../schemas/audit/tree.ts';
import { HalError } from '../../schemas/errors.ts';
import type { Caller } from '../identity/caller.ts';
import { actOf } from './act.ts';
import { exportLog, pages } from './export.ts';
import { cefLine, jsonLine } from './siem.ts';

export interface InclusionProof extends StoredInclusion {
  readonly leafIndex: number;
}

export interface ConsistencyProof {
  readonly from: number;
  readonly to: number;
  readonly fromRoot: Uint8Array;
  readonly toRoot: Uint8Array;
  readonly proof: readonly Uint8Array[];
}

export interface ExportRequest {
  readonly format: 'verifiable' | 'jsonl' | 'cef';
  /** Number of the last entry the reader has. */
  readonly after?: number | undefined;
  readonly from?: Date | undefined;
}

/** An organisation's audit log as its readers see it. */
export class AuditTrail {
  readonly #log: AuditLogStore;
  readonly #acts: AuditActStore;
  readonly #version: string;

  /** @param version of HAL9, for CEF. */
  constructor(database: Database, version: string) {
    this.#log = new AuditLogStore(database);
    this.#acts = new AuditActStore(database);
    this.#version = version;
  }

  /** Latest first. @param before entries below this number. */
  async list(caller: Caller, filter: AuditFilter, limit: number, before?: number): Promise<LoggedEntry[]> {
    return this.#log.list(caller.orgId, filter, limit, before);
  }

  /** @throws {HalError} `NotFound`. */
  async get(caller: Caller, seq: number): Promise<{ readonly logged: LoggedEntry; readonly inclusion: InclusionProof | null }> {
    const logged = await this.#log.find(caller.orgId, seq);
    if (logged === undefined) throw noEntry();
    const inclusion = await this.#log.inclusion(caller.orgId, seq);
    return { logged, inclusion: inclusion === undefined ? null : { leafIndex: seq, ...inclusion } };
  }

  /** @throws {HalError} `NotFound` when the entry is not in a tree of that size. */
  async inclusion(caller: Caller, seq: number, size: number | undefined): Promise<InclusionProof> {
    const inclusion = await this.#log.inclusion(caller.orgId, seq, size);
    if (inclusion === undefined) throw noEntry();
    return { leafIndex: seq, ...inclusion };
  }

  /** @throws {HalError} `NotFound` when the log is not that long; `InvalidInput` when it would have shrunk. */
  async consistency(caller: Caller, from: number, to: number | undefined): Promise<ConsistencyProof> {
    const { orgId } = caller;
    const [head, [latest]] = await Promise.all([this.#log.head(orgId), this.#log.checkpoints(orgId, 1)]);
    const size = to ?? latest?.size;
    if (size === undefined || size > Number(head.size)) throw noEntry();
    if (from > size) throw new HalError('InvalidInput', '`from` is larger than `to`', { errors: [{ path: '/query/from', message: `at most ${size}` }] });
    const ranges = consistencyRanges({ start: 0n, end: BigInt(from) }, BigInt(size));
    const [fromRoot, toRoot, ...proof] = await this.#log.roots(orgId, [{ start: 0n, end: BigInt(from) }, { start: 0n, end: BigInt(size) }, ...ranges]);
    if (fromRoot === undefined || toRoot === undefined) throw new Error('no roots');
    return { from, to: size, fromRoot, toRoot, proof };
  }

  /** Latest first. */
  async checkpoints(caller: Caller, limit: number, below?: number): Promise<StoredCheckpoint[]> {
    return this.#log.checkpoints(caller.orgId, limit, below);
  }

  /** Keys to check the log with. @throws {HalError} `NotFound` before the first checkpoint. */
  async keys(caller: Caller): Promise<{ origin: string; log: string; witness: string }> {
    const [latest] = await this.#log.checkpoints(caller.orgId, 1);
    if (latest === undefined) throw new HalError('NotFound', 'the log has no checkpoint yet; there is one a second or two after the first act');
    return { origin: auditOrigin(caller.orgId), log: latest.signer, witness: latest.witness };
  }

  /** Lines, each with its newline. That they were taken is an act itself, written before the first. */
  async export(caller: Caller, { format, after, from }: ExportRequest, signal: AbortSignal): Promise<AsyncGenerator<string>> {
    const start = after !== undefined ? after + 1 : from === undefined ? 0 : await this.#log.firstAt(caller.orgId, from);
    const { size } = await this.#log.head(caller.orgId);
    await this.#acts.record(actOf(caller, 'audit.export', { kind: 'audit-log', id: caller.orgId }, { format, from: start, to: Number(size) }));
    if (format === 'verifiable') return linesOf(exportLog(this.#log, caller.orgId, start, signal));
    const line = format === 'cef' ? cefLine(this.#version) : jsonLine;
    return this.#siem(caller.orgId, start, Number(size), line, signal);
  }

  /** Erases the personal values in the acts of, as or upon a user; the entries stay and stay provable. @returns how many acts. */
  async erasePersonal(caller: Caller, userId: string): Promise<number> {
    return this.#log.erasePersonal(caller.orgId, userId, actOf(caller, 'audit.erase-personal', { kind: 'user', id: userId }));
  }

  async *#siem(orgId: string, start: number, size: number, line: (entry: LoggedEntry) => string, signal: AbortSignal): AsyncGenerator<string> {
    for await (const page of pages(this.#log, orgId, start, size, signal)) yield page.map((entry) => `${line(entry)}\n`).join('');
  }
}

async function* linesOf(values: AsyncIterable<unknown>): AsyncGenerator<string> {
  let part = '';
  for await (const value of values) {
    part += `${JSON.stringify(value)}\n`;
    if (part.length < 65_536) continue;
    yield part;
    part = '';
  }
  yield part;
}

function noEntry(): HalError {
  return new HalError('NotFound', 'the audit log is not that long; new acts get their number within a second');
}
