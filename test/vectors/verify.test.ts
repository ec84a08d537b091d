import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { SamlRefusal } from '../../platform/identity/saml-refusal.ts';
import { verifyResponse } from '../../platform/identity/saml-response.ts';
import { verifyVectors } from './verify.ts';

const data = process.env['HAL9_TEST_DATA'];
const present = data !== undefined && existsSync(join(data, 'saml'));
if (!present) console.log('NOT RUN: published vectors; set HAL9_TEST_DATA to the folder that holds saml/, wycheproof/, merkle/ and webhooks/');
const copies = mkdtempSync(join(tmpdir(), 'hal9-vectors-'));
afterAll(() => rmSync(copies, { recursive: true, force: true }));

describe.skipIf(!present)('published vectors', () => {
  const folder = data ?? '';

  it('are all judged right', async () => {
    const outcomes = await verifyVectors(folder);
    for (const outcome of Object.values(outcomes)) {
      expect(outcome.wrong).toEqual([]);
      expect(outcome.right).toBe(outcome.total);
      expect(outcome.total).toBeGreaterThan(0);
    }
  });

  it('are called wrong when they ask for the opposite', async () => {
    cpSync(join(folder, 'saml'), join(copies, 'saml'), { recursive: true });
    cpSync(join(folder, 'webhooks'), join(copies, 'webhooks'), { recursive: true });
    const swap = (file: string, change: (text: string) => string): void => {
      const path = join(copies, file);
      const text = readFileSync(path, 'utf8');
      rmSync(path, { force: true });
      writeFileSync(path, change(text));
    };
    swap('saml/cases.json', (text) => text.replaceAll('"accept"', '"swap"').replaceAll('"reject"', '"accept"').replaceAll('"swap"', '"reject"'));
    swap('webhooks/vectors.json', (text) => text.replace('"valid": true', '"valid": false'));
    const { saml, webhooks, merkle } = await verifyVectors(copies);
    expect(saml.right).toBe(0);
    expect(saml.wrong).toHaveLength(saml.total);
    expect(webhooks.wrong).toHaveLength(1);
    expect(merkle.total).toBe(0);
  });

  it('of SAML that are invalid are refused whatever is demanded, valid ones in any line ending', async () => {
    const certificates = [readFileSync(join(folder, 'saml/idp-certificate.pem'), 'utf8')];
    const combinations = [true, false].flatMap((wantResponseSigned) => [true, false].map((wantAssertionsSigned) => ({ wantResponseSigned, wantAssertionsSigned })));
    for (const file of readdirSync(join(folder, 'saml/invalid'))) {
      const xml = readFileSync(join(folder, 'saml/invalid', file), 'utf8');
      for (const wanted of combinations) await expect(verifyResponse(xml, { certificates, allowSha1: true, ...wanted }), file).rejects.toBeInstanceOf(SamlRefusal);
    }
    const both = readFileSync(join(folder, 'saml/valid/response.root-signed.assertion-signed.xml'), 'utf8');
    for (const end of ['\r\n', '\r']) {
      const signed = await verifyResponse(both.replaceAll('\n', end), { certificates, allowSha1: true, wantResponseSigned: true, wantAssertionsSigned: true });
      expect(signed).toMatchObject({ responseSigned: true, assertionSigned: true, encrypted: false });
    }
  });
});
