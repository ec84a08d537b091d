import type { z } from 'zod';

/** Settings that are checked for what their type does not say. */
interface Settings {
  readonly DATABASE_URL?: string | undefined;
  readonly DATABASE_APP_URL?: string | undefined;
  readonly DATABASE_SYSTEM_URL?: string | undefined;
  readonly HAL9_AGENT_POSTGRES_URL?: string | undefined;
  readonly TEMPORAL_ADDRESS?: string | undefined;
  readonly TEMPORAL_TLS_CERT?: string | undefined;
  readonly TEMPORAL_TLS_KEY?: string | undefined;
  readonly TEMPORAL_UI_URL?: string | undefined;
  readonly HAL9_PUBLIC_URL?: string | undefined;
  readonly HAL9_COLLECTOR_URL?: string | undefined;
  readonly HAL9_OTLP_URL?: string | undefined;
  readonly HAL9_TLS_CERT?: string | undefined;
  readonly HAL9_TLS_KEY?: string | undefined;
  readonly HAL9_MAIL_URL?: string | undefined;
  readonly HAL9_MAIL_FROM?: string | undefined;
  readonly HAL9_CORS_ORIGINS: readonly string[];
  readonly HAL9_COLLECTOR_SCRAPE: readonly string[];
  readonly HAL9_MASTER_KEYS?: string | undefined;
  readonly HAL9_HOST: string;
}

type Name = keyof Settings;

const PAIRS: readonly (readonly [Name, Name])[] = [
  ['HAL9_TLS_CERT', 'HAL9_TLS_KEY'],
  ['TEMPORAL_TLS_CERT', 'TEMPORAL_TLS_KEY'],
  ['HAL9_MAIL_URL', 'HAL9_MAIL_FROM'],
];
const POSTGRES_URLS: readonly Name[] = ['DATABASE_URL', 'DATABASE_APP_URL', 'DATABASE_SYSTEM_URL', 'HAL9_AGENT_POSTGRES_URL'];
const HTTP_URLS: readonly Name[] = ['TEMPORAL_UI_URL', 'HAL9_PUBLIC_URL', 'HAL9_COLLECTOR_URL', 'HAL9_OTLP_URL'];

/** Checks what one setting alone does not show: pairs, addresses, key rings. Messages never repeat a value. */
export function checkTogether(settings: Settings, context: z.RefinementCtx<Settings>): void {
  const refuse = (name: Name, message: string): void => context.addIssue({ code: 'custom', path: [name], message });
  for (const [one, other] of PAIRS) {
    if (settings[one] !== undefined && settings[other] === undefined) refuse(other, `is needed, because ${one} is set`);
    if (settings[other] !== undefined && settings[one] === undefined) refuse(one, `is needed, because ${other} is set`);
  }
  for (const name of POSTGRES_URLS) {
    if (!isUrl(settings[name], ['postgres:', 'postgresql:'])) refuse(name, 'expected postgres://user:password@host:port/database');
  }
  for (const name of HTTP_URLS) {
    if (!isUrl(settings[name], ['http:', 'https:'])) refuse(name, 'expected an address that starts with http:// or https://');
  }
  if (!isUrl(settings.HAL9_MAIL_URL, ['smtp:', 'smtps:'])) refuse('HAL9_MAIL_URL', 'expected smtp://user:password@host:port or smtps://user:password@host:port');
  if (settings.TEMPORAL_ADDRESS !== undefined && !/^(\[[0-9a-fA-F:]+\]|[^\s:/]+):\d{1,5}$/.test(settings.TEMPORAL_ADDRESS)) {
    refuse('TEMPORAL_ADDRESS', 'expected host:port, without a scheme');
  }
  if (settings.HAL9_CORS_ORIGINS.some((origin) => !isOrigin(origin))) refuse('HAL9_CORS_ORIGINS', 'expected origins as https://app.example.com, without a path; * is not allowed');
  if (settings.HAL9_COLLECTOR_SCRAPE.some((entry) => !/^[a-z0-9-]+=https?:\/\/\S+$/.test(entry))) refuse('HAL9_COLLECTOR_SCRAPE', 'expected name=http://host:port/metrics, comma-separated');
  if (settings.HAL9_MASTER_KEYS !== undefined) checkKeyRing(settings.HAL9_MASTER_KEYS, (message) => refuse('HAL9_MASTER_KEYS', message));
  if (/[\s/]/.test(settings.HAL9_HOST)) refuse('HAL9_HOST', 'expected a host name or an IP address alone');
}

function checkKeyRing(ring: string, refuse: (message: string) => void): void {
  const keys = ring.split(',').map((entry) => entry.trim().split(':'));
  const ids = keys.map(([id]) => id);
  if (keys.some(([id = '', encoded = '', ...rest]) => rest.length > 0 || !/^[A-Za-z0-9-]{1,32}$/.test(id) || Buffer.from(encoded, 'base64').length !== 32)) {
    refuse('expected id:key, comma-separated; an id has 1 to 32 letters, digits or dashes, a key is 32 bytes in base64 (openssl rand -base64 32)');
  } else if (new Set(ids).size !== ids.length) {
    refuse('an id appears twice');
  }
}

function isUrl(value: unknown, protocols: readonly string[]): boolean {
  return value === undefined || (typeof value === 'string' && URL.canParse(value) && protocols.includes(new URL(value).protocol));
}

function isOrigin(text: string): boolean {
  return URL.canParse(text) && new URL(text).origin === text;
}
