import { isIP } from 'node:net';
import type { LoggedEntry } from '../../database/audit-log.ts';
import type { AuditEntry, OpenedFields } from '../../schemas/audit/entry.ts';

/** One line without its newline. */
export type SiemFormat = (entry: LoggedEntry) => string;

/** A flat JSON object a line: the entry and what is left of its personal values. */
export const jsonLine: SiemFormat = ({ entry, opened }) => {
  const { v: _version, commitments: _commitments, ...rest } = entry;
  return JSON.stringify({ ...rest, ...personalOf(opened) });
};

/**
 * ArcSight Common Event Format, version 0 (Micro Focus, "ArcSight Common Event Format (CEF) Implementation Standard", version 25).
 * @param product version of HAL9.
 */
export function cefLine(product: string): SiemFormat {
  return ({ entry, opened }) => {
    const header = ['CEF:0', 'HAL9', 'HAL9', product, entry.action, nameOf(entry), String(severityOf(entry))].map((field, index) => (index === 0 ? field : inHeader(field)));
    const extension = extensionOf(entry, personalOf(opened)).map(([key, value]) => `${key}=${inExtension(value)}`);
    return `${header.join('|')}|${extension.join(' ')}`;
  };
}

function extensionOf(entry: AuditEntry, personal: Readonly<Record<string, string>>): [string, string][] {
  const { address = '', userAgent = '', userName = '' } = personal;
  const fields: [string, string][] = [
    ['rt', String(Date.parse(entry.at))],
    ['externalId', entry.id],
    ['act', entry.action],
    ['outcome', entry.result],
    ['suid', entry.actor.id],
    ['suser', userName],
    isIP(address) === 6 ? ['c6a2', address] : ['src', isIP(address) === 4 ? address : ''],
    ['c6a2Label', isIP(address) === 6 ? 'Source IPv6 Address' : ''],
    ['requestClientApplication', userAgent],
    ['cn1', String(entry.seq)],
    ['cn1Label', 'sequence'],
    ['cn2', String(entry.risk)],
    ['cn2Label', 'risk'],
    ['cs1', entry.resource.kind],
    ['cs1Label', 'resourceKind'],
    ['cs2', entry.resource.id],
    ['cs2Label', 'resourceId'],
    ['cs3', entry.requestId],
    ['cs3Label', 'requestId'],
    ['cs4', entry.actor.kind],
    ['cs4Label', 'actorKind'],
    ['cs5', entry.orgId],
    ['cs5Label', 'organisation'],
    ['cs6', JSON.stringify({ ...entry.details, ...(entry.impersonatorId === null ? {} : { impersonatorId: entry.impersonatorId }) })],
    ['cs6Label', 'details'],
  ];
  return fields.filter(([, value]) => value !== '');
}

function nameOf({ action, result }: AuditEntry): string {
  return `${action.replaceAll(/[.-]/g, ' ')} ${result}`;
}

/** 0 to 10: what was refused or failed is worth a look, and risk counts. */
function severityOf({ result, risk }: AuditEntry): number {
  return Math.max(Math.ceil(risk / 10), result === 'succeeded' ? 1 : 4);
}

/** In the header a pipe and a backslash are escaped, and a line break has no place. */
function inHeader(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('|', '\\|').replaceAll(/[\r\n]+/g, ' ');
}

/** In the extension an equals sign and a backslash are escaped, and line breaks are written as letters. */
function inExtension(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('=', '\\=').replaceAll('\n', '\\n').replaceAll('\r', '\\r');
}

function personalOf(opened: OpenedFields): Record<string, string> {
  return Object.fromEntries(Object.entries(opened).map(([field, { value }]) => [field, value]));
}
