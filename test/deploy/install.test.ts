import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { whyStale } from '../../deploy/local/install.js';
import { removeFolder, temporaryFolder } from './launched.ts';

const lockSchema = z.object({ packages: z.record(z.string(), z.object({ version: z.string().optional(), optionalDependencies: z.record(z.string(), z.string()).optional() })) });

describe('whyStale', () => {
  let folder: string;
  beforeEach(() => {
    folder = temporaryFolder();
    mkdirSync(join(folder, 'node_modules'));
  });
  afterEach(() => removeFolder(folder));

  const write = (path: string, packages: Record<string, unknown>): void => writeFileSync(join(folder, path), JSON.stringify({ packages }));
  const wanted = { '': { name: 'x' }, 'node_modules/a': { version: '1.0.0' }, 'node_modules/t': { version: '1.0.0', dev: true }, 'node_modules/o': { version: '1.0.0', optional: true } };
  const check = (installed: Record<string, unknown> | undefined, development = true): string | undefined => {
    write('package-lock.json', wanted);
    if (installed !== undefined) write('node_modules/.package-lock.json', installed);
    return whyStale(folder, { development });
  };

  it('asks for an install where none was finished', () => {
    expect(check(undefined)).toBe('there are none yet');
  });

  it('asks for none when all is as locked, whatever is left out for other platforms', () => {
    expect(check({ 'node_modules/a': { version: '1.0.0' }, 'node_modules/t': { version: '1.0.0' } })).toBeUndefined();
  });

  it('names what differs', () => {
    expect(check({ 'node_modules/a': { version: '0.9.0' }, 'node_modules/t': { version: '1.0.0' } })).toBe('a is 0.9.0 instead of 1.0.0');
    expect(check({ 'node_modules/t': { version: '1.0.0' } })).toBe('a is missing');
  });

  it('wants development packages for development only', () => {
    expect(check({ 'node_modules/a': { version: '1.0.0' } }, true)).toBe('t is missing');
    expect(check({ 'node_modules/a': { version: '1.0.0' } }, false)).toBeUndefined();
  });
});

describe('package-lock.json', () => {
  it('holds the packages of every platform, without which `npm ci` refuses it', () => {
    const { packages } = lockSchema.parse(JSON.parse(readFileSync(join(import.meta.dirname, '../../package-lock.json'), 'utf8')));
    const missing = Object.entries(packages).flatMap(([path, { optionalDependencies = {} }]) =>
      Object.keys(optionalDependencies).filter((name) => {
        const parents = path.split('/node_modules/').map((_, index, parts) => parts.slice(0, index + 1).join('/node_modules/'));
        return !['node_modules', ...parents.map((parent) => `${parent}/node_modules`)].some((folder) => packages[`${folder}/${name}`] !== undefined);
      }),
    );
    expect(missing).toEqual([]);
  });
});
