import { resolve } from 'node:path';
import { resolvePythonTool } from '../../deploy/local/python-tool.ts';
import { SetupError } from '../../deploy/local/setup-error.ts';

const VERSION = '4.32.5';

/** @returns path of the executable; undefined when there is no way to get it: the caller says {@link SCHEMATHESIS_MISSING} and, under CI, fails. */
export async function findSchemathesis(): Promise<string | undefined> {
  try {
    return await resolvePythonTool({ name: 'schemathesis', version: VERSION, setting: 'HAL9_SCHEMATHESIS', requirements: resolve(import.meta.dirname, '../api/schemathesis/requirements.txt') }, process.env);
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    process.stderr.write(`${error.message}\n`);
    return undefined;
  }
}

export const SCHEMATHESIS_MISSING = `NOT RUN: Schemathesis against the API; get it with \`pip install schemathesis==${VERSION}\`, or set HAL9_SCHEMATHESIS to its executable`;
