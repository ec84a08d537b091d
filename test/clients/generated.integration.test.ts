import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { OPERATIONS } from '../../clients/typescript/index.ts';
import { documentApi } from '../../deploy/local/generate-api-reference.ts';
import { generatedClientFiles } from '../../deploy/local/generate-clients.ts';

const ROOT = join(import.meta.dirname, '../..');

describe('what clients are made of', () => {
  it('is what `npm run generate` makes of the routes as they are', async () => {
    const document = await documentApi();
    for (const [path, content] of await generatedClientFiles(document)) {
      expect((await readFile(join(ROOT, path), 'utf8')) === content, `${path} is stale: run \`npm run generate\``).toBe(true);
    }
    const ids = Object.values(document.paths).flatMap((methods) => Object.values(methods).map((operation) => String(operation['operationId'])));
    expect(Object.keys(OPERATIONS).sort()).toEqual(ids.sort());
  });
});
