import { compactVerify, decodeProtectedHeader, errors, importJWK } from 'jose';
import { encodeEntry } from '../../schemas/audit/entry.ts';
import { signedCheckpoint } from '../../schemas/audit/log-check.ts';
import { hashLeaf, verifyInclusion } from '../../schemas/audit/merkle.ts';
import { auditOrigin, VerifierKey } from '../../schemas/audit/note.ts';
import { RECEIPT_TYPE, receiptPayload, statementHash, type ErasureStatement } from '../../schemas/privacy/receipt.ts';

/** What is wrong with a receipt; `unreadable`: it is none. */
export type ReceiptProblem = 'unreadable' | 'signature' | 'other-organisation' | 'not-an-end' | 'statement' | 'checkpoint' | 'inclusion';

export type ReceiptVerdict = { readonly ok: true; readonly statement: ErasureStatement; readonly entry: number; readonly checkpoint: number } | { readonly ok: false; readonly problem: ReceiptProblem; readonly detail: string };

/**
 * Checks a receipt without a server: its signature (JWS, EdDSA), that the statement is the one whose hash the audit entry holds, and
 * that the entry is in the log of a checkpoint signed by the same key (RFC 9162).
 * @param key the log's verifier key, `GET /v1/audit/keys`, kept since the installation was set up.
 * @throws {TypeError} when the key is none.
 */
export async function verifyReceipt(receipt: string, key: string): Promise<ReceiptVerdict> {
  const logKey = VerifierKey.parse(key);
  const text = receipt.trim();
  let content: unknown;
  try {
    if (decodeProtectedHeader(text).typ !== RECEIPT_TYPE) return wrong('unreadable', 'the file is no receipt of an erasure');
    const jwk = await importJWK({ kty: 'OKP', crv: 'Ed25519', x: Buffer.from(logKey.publicKey).toString('base64url') }, 'EdDSA');
    const { payload } = await compactVerify(text, jwk, { algorithms: ['EdDSA'] });
    content = JSON.parse(new TextDecoder().decode(payload));
  } catch (error) {
    if (error instanceof errors.JWSSignatureVerificationFailed) return wrong('signature', 'the signature is not right, or of another key');
    if (error instanceof errors.JOSEError || error instanceof TypeError || error instanceof SyntaxError) return wrong('unreadable', 'the file is no receipt of an erasure');
    throw error;
  }
  const parsed = receiptPayload.safeParse(content);
  if (!parsed.success) return wrong('unreadable', `the receipt lacks something: ${parsed.error.issues[0]?.path.join('.') ?? ''}`);
  const { statement, audit } = parsed.data;
  if (logKey.name !== auditOrigin(statement.orgId) || audit.entry.orgId !== statement.orgId) return wrong('other-organisation', 'the key is of another organisation');
  if (audit.entry.action !== 'erasure.complete' || audit.entry.resource.id !== statement.erasureId) return wrong('not-an-end', 'the audit entry is not the end of this erasure');
  if (audit.entry.details['statement'] !== statementHash(statement)) return wrong('statement', 'the audit log holds another statement of this erasure');
  const checkpoint = signedCheckpoint(audit.checkpoint, logKey);
  if (checkpoint === undefined || checkpoint.size !== BigInt(audit.treeSize)) return wrong('checkpoint', 'the checkpoint is not signed by the log');
  const proven = verifyInclusion({ leafIndex: BigInt(audit.entry.seq), treeSize: checkpoint.size, root: checkpoint.root, leafHash: hashLeaf(encodeEntry(audit.entry)), proof: audit.proof.map((hash) => Buffer.from(hash, 'hex')) });
  if (!proven) return wrong('inclusion', 'the entry is not in the log that the checkpoint is of');
  return { ok: true, statement, entry: audit.entry.seq, checkpoint: audit.treeSize };
}

function wrong(problem: ReceiptProblem, detail: string): ReceiptVerdict {
  return { ok: false, problem, detail };
}
