import type { ConnectionSettings } from '../../schemas/rest/connections.ts';

/** What may be shown of settings, and the names of the secrets that are set. Built from what is allowed, not from what is not. */
export interface RedactedSettings {
  readonly settings: Readonly<Record<string, unknown>>;
  readonly secrets: readonly string[];
}

export function redact(settings: ConnectionSettings): RedactedSettings {
  switch (settings.kind) {
    case 'smtp': {
      const { host, port, tls, username, from, to } = settings;
      return { settings: { kind: settings.kind, host, port, tls, username, from, to }, secrets: settings.password === undefined ? [] : ['password'] };
    }
    case 'slack':
      return { settings: { kind: settings.kind, origin: new URL(settings.url).origin }, secrets: ['url'] };
    case 'pagerduty':
      return { settings: { kind: settings.kind, baseUrl: bareUrl(settings.baseUrl) }, secrets: ['routingKey'] };
    case 'webhook':
      return { settings: { kind: settings.kind, origin: new URL(settings.url).origin }, secrets: ['url', ...headerNames(settings.headers), ...(settings.secret === undefined ? [] : ['secret'])] };
    case 'llm': {
      const { provider, baseUrl } = settings;
      return { settings: { kind: settings.kind, provider, ...(baseUrl === undefined ? {} : { baseUrl: bareUrl(baseUrl) }) }, secrets: ['apiKey'] };
    }
    case 'amqp': {
      const { host, port, tls, username, vhost } = settings;
      return { settings: { kind: settings.kind, host, port, tls, username, vhost }, secrets: ['password'] };
    }
    case 'kafka': {
      const { brokers, tls, ca, mechanism, username } = settings;
      return { settings: { kind: settings.kind, brokers, tls, ...(ca === undefined ? {} : { ca }), ...(username === undefined ? {} : { mechanism, username }) }, secrets: settings.password === undefined ? [] : ['password'] };
    }
    case 'website': {
      const { username, password, totpSeed } = settings;
      return { settings: { kind: settings.kind, origins: settings.origins }, secrets: Object.entries({ username, password, totpSeed }).filter(([, value]) => value !== undefined).map(([name]) => name) };
    }
    case 'ipfs':
      return { settings: { kind: settings.kind, url: bareUrl(settings.url) }, secrets: headerNames(settings.headers) };
    case 'pinning':
      return { settings: { kind: settings.kind, url: bareUrl(settings.url), gateway: bareUrl(settings.gateway) }, secrets: ['token'] };
    case 'kubernetes': {
      const { server, ca } = settings;
      return { settings: { kind: settings.kind, server: bareUrl(server), ...(ca === undefined ? {} : { ca }) }, secrets: ['token'] };
    }
    case 'http':
      return { settings: { kind: settings.kind, baseUrl: bareUrl(settings.baseUrl) }, secrets: headerNames(settings.headers) };
  }
}

function headerNames(headers: Readonly<Record<string, string>>): string[] {
  return Object.keys(headers).map((name) => `headers.${name}`);
}

/** Without user, password, query and fragment, where keys hide. */
function bareUrl(text: string): string {
  const url = new URL(text);
  return url.origin + url.pathname;
}
