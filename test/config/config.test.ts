import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { generatedFiles } from '../../deploy/local/generate-docs.ts';
import { ConfigError, loadConfig } from '../../platform/config/config.ts';
import { secretSettings, settingsReference } from '../../platform/config/reference.ts';

const ROOT = join(import.meta.dirname, '../..');
const key = (): string => randomBytes(32).toString('base64');

function refusal(env: Record<string, string>): string {
  try {
    loadConfig(env);
  } catch (error) {
    if (error instanceof ConfigError) return error.message;
    throw error;
  }
  throw new Error('was accepted');
}

describe('loadConfig', () => {
  it('needs nothing', () => {
    expect(loadConfig({})).toMatchObject({ HAL9_PORT: 8090, HAL9_DATA: '.hal9', HAL9_CORS_ORIGINS: [], HAL9_ALLOW_PRIVATE_ADDRESSES: false, HAL9_CORE_WORKERS: 1 });
  });

  it('takes an empty variable for an unset one', () => {
    expect(loadConfig({ HAL9_PORT: '', DATABASE_URL: '' })).toMatchObject({ HAL9_PORT: 8090, DATABASE_URL: undefined });
  });

  it('reads numbers, flags and lists', () => {
    const config = loadConfig({ HAL9_PORT: '0', HAL9_ALLOW_PRIVATE_ADDRESSES: 'true', HAL9_CORS_ORIGINS: 'https://a.example, http://localhost:3000' });
    expect(config).toMatchObject({ HAL9_PORT: 0, HAL9_ALLOW_PRIVATE_ADDRESSES: true, HAL9_CORS_ORIGINS: ['https://a.example', 'http://localhost:3000'] });
  });

  it.each([
    [{ HAL9_PORT: 'eighty' }, 'HAL9_PORT: expected a number'],
    [{ HAL9_PORT: '65536' }, 'HAL9_PORT'],
    [{ HAL9_TLS_CERT: '/c.pem' }, 'HAL9_TLS_KEY: is needed, because HAL9_TLS_CERT is set'],
    [{ HAL9_TLS_KEY: '/k.pem' }, 'HAL9_TLS_CERT: is needed, because HAL9_TLS_KEY is set'],
    [{ TEMPORAL_TLS_CERT: '/c.pem' }, 'TEMPORAL_TLS_KEY: is needed'],
    [{ DATABASE_URL: 'mysql://db/hal9' }, 'DATABASE_URL: expected postgres://'],
    [{ TEMPORAL_ADDRESS: 'http://temporal:7233' }, 'TEMPORAL_ADDRESS: expected host:port'],
    [{ HAL9_PUBLIC_URL: 'hal9.example' }, 'HAL9_PUBLIC_URL: expected an address'],
    [{ HAL9_CORS_ORIGINS: '*' }, 'HAL9_CORS_ORIGINS: expected origins'],
    [{ HAL9_CORS_ORIGINS: 'https://a.example/path' }, 'HAL9_CORS_ORIGINS'],
    [{ HAL9_COLLECTOR_SCRAPE: 'http://api/metrics' }, 'HAL9_COLLECTOR_SCRAPE: expected name='],
    [{ HAL9_MASTER_KEYS: 'k1:short' }, 'HAL9_MASTER_KEYS: expected id:key'],
    [{ HAL9_HOST: 'http://0.0.0.0' }, 'HAL9_HOST: expected a host name'],
    [{ HAL9_LOG_LEVEL: 'loud' }, 'HAL9_LOG_LEVEL'],
  ])('refuses %j', (env, message) => {
    expect(refusal(env)).toContain(message);
  });

  it('refuses a key ring with one id twice', () => {
    expect(refusal({ HAL9_MASTER_KEYS: `a:${key()},a:${key()}` })).toContain('an id appears twice');
    expect(loadConfig({ HAL9_MASTER_KEYS: `a:${key()},b:${key()}` }).HAL9_MASTER_KEYS).toMatch(/^a:/);
  });

  it('names every wrong setting at once and repeats no value', () => {
    const message = refusal({ HAL9_PORT: 'hunter2', HAL9_LANES: '0', HAL9_LOG_LEVEL: 'hunter3' });
    expect(message).toContain('HAL9_PORT');
    expect(message).toContain('HAL9_LANES');
    expect(message).not.toMatch(/hunter/);
    const second = refusal({ DATABASE_URL: 'hunter2', HAL9_MASTER_KEYS: 'hunter3', TEMPORAL_ADDRESS: 'hunter4' });
    expect(second).toContain('DATABASE_URL');
    expect(second).not.toMatch(/hunter/);
  });
});

describe('the reference', () => {
  it.each([...generatedFiles()])('%s is what the schema says; run `npm run generate`', async (path, content) => {
    expect(await readFile(join(ROOT, path), 'utf8')).toBe(content);
  });

  it('describes every setting in a sentence', () => {
    const terse = settingsReference().filter(({ description }) => !/^\S.{8,}[.:)]/.test(description));
    expect(terse).toEqual([]);
  });

  it('marks what holds credentials as secret', () => {
    const suspicious = settingsReference().filter(({ name }) => /(KEYS?|PASSWORD|TOKEN|SECRET)$|^DATABASE_.*URL$|POSTGRES_URL$/.test(name) && !name.endsWith('TLS_KEY'));
    expect(secretSettings()).toEqual(expect.arrayContaining(suspicious.map(({ name }) => name)));
    expect(suspicious.length).toBeGreaterThan(4);
  });

  it('gives presets that the schema accepts', () => {
    const presets = Object.fromEntries(settingsReference().flatMap(({ name, preset }) => (preset === undefined ? [] : [[name, preset]])));
    expect(loadConfig(presets)).toEqual(loadConfig({}));
  });
});
