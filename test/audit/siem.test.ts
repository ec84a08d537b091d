import { describe, expect, it } from 'vitest';
import type { LoggedEntry } from '../../database/audit-log.ts';
import { cefLine, jsonLine } from '../../platform/audit/siem.ts';
import { commitTo } from '../../schemas/audit/entry.ts';

const ORG = '11111111-1111-4111-8111-111111111111';
const salt = Buffer.alloc(32, 1).toString('hex');
const logged = (change: Partial<LoggedEntry['entry']> = {}, opened: LoggedEntry['opened'] = {}): LoggedEntry => ({
  entry: {
    v: 1, orgId: ORG, seq: 7, id: '22222222-2222-4222-8222-222222222222', at: '2026-01-02T03:04:05.678Z', action: 'api-key.create', result: 'succeeded',
    actor: { kind: 'user', id: 'u1' }, impersonatorId: null, resource: { kind: 'api-key', id: 'k1' }, requestId: 'r1', risk: 0, details: {},
    commitments: { address: commitTo('address', Buffer.from(salt, 'hex'), '192.0.2.1') }, ...change,
  },
  leafHash: Buffer.alloc(32),
  opened,
});

/** Reads a line as the specification says, so that what was escaped comes back. */
function parseCef(line: string): { header: string[]; extension: Record<string, string> } {
  const header: string[] = [];
  let rest = line;
  for (let field = 0; field < 7; field++) {
    const end = /^(?:[^\\|]|\\.)*/.exec(rest)?.[0].length ?? 0;
    header.push(rest.slice(0, end).replaceAll(/\\(.)/g, '$1'));
    rest = rest.slice(end + 1);
  }
  const extension: Record<string, string> = {};
  for (const [, key = '', value = ''] of rest.matchAll(/(\w+)=((?:[^\\=]|\\.)*?)(?= \w+=|$)/g)) {
    extension[key] = value.replaceAll(/\\(.)/g, (_, letter: string) => (letter === 'n' ? '\n' : letter === 'r' ? '\r' : letter));
  }
  return { header, extension };
}

describe('SIEM lines', () => {
  it('are CEF that reads back what was written', () => {
    const opened = { address: { salt, value: '192.0.2.1' }, userAgent: { salt, value: 'a=b\\c|d\ne f=\r' }, userName: { salt, value: 'ann=x' } };
    const { header, extension } = parseCef(cefLine('1.2|3\\4')(logged({ action: 'odd|action\\x', details: { note: 'k=v\n' }, impersonatorId: 'boss' }, opened)));
    expect(header).toEqual(['CEF:0', 'HAL9', 'HAL9', '1.2|3\\4', 'odd|action\\x', 'odd|action\\x succeeded', '1']);
    expect(extension).toMatchObject({ rt: '1767323045678', suser: 'ann=x', src: '192.0.2.1', requestClientApplication: 'a=b\\c|d\ne f=\r', cn1: '7', cs2: 'k1', outcome: 'succeeded' });
    expect(JSON.parse(extension['cs6'] ?? '')).toEqual({ note: 'k=v\n', impersonatorId: 'boss' });
    expect(cefLine('1')(logged())).not.toContain('\n');
  });

  it('rank refusals and risk, and tell IPv6 from IPv4', () => {
    const severity = (change: Partial<LoggedEntry['entry']>) => cefLine('1')(logged(change)).split('|')[6];
    expect([severity({}), severity({ result: 'refused' }), severity({ risk: 55 }), severity({ risk: 100, result: 'failed' })]).toEqual(['1', '4', '6', '10']);
    const line = cefLine('1')(logged({}, { address: { salt, value: '2001:db8::1' } }));
    expect(line).toContain('c6a2=2001:db8::1 c6a2Label=Source IPv6 Address');
    expect(line).not.toContain('src=');
  });

  it('are JSON without what only proofs need', () => {
    const line: unknown = JSON.parse(jsonLine(logged({}, { address: { salt, value: '192.0.2.1' } })));
    expect(line).toMatchObject({ seq: 7, action: 'api-key.create', address: '192.0.2.1' });
    expect(line).not.toHaveProperty('commitments');
  });
});
