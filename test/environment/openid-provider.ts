import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import Provider, { type ClientMetadata, type Configuration } from 'oidc-provider';

/** A person at the provider: the claims beside `sub`. */
export type Account = Readonly<Record<string, unknown>>;

export interface OpenIdProviderOptions {
  readonly clients: readonly ClientMetadata[];
  /** By the name that is typed on its login page, which is also the `sub`. */
  readonly accounts: Readonly<Record<string, Account>>;
  /** Whether groups and e-mail come with UserInfo only, as with a thin ID token. */
  readonly thin?: boolean;
  readonly configuration?: Partial<Configuration>;
}

export interface OpenIdProvider {
  readonly issuer: string;
  readonly provider: Provider;
  stop(): Promise<void>;
}

/** A real OpenID provider (oidc-provider, certified) on loopback with login and consent pages. */
export async function startOpenIdProvider(options: OpenIdProviderOptions): Promise<OpenIdProvider> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const provider = new Provider(issuer, {
    clients: [...options.clients],
    scopes: ['openid', 'profile', 'email', 'groups', 'offline_access'],
    claims: { openid: ['sub', 'tid', 'hd', '_claim_names', '_claim_sources'], profile: ['name', 'preferred_username'], email: ['email', 'email_verified'], groups: ['groups'] },
    conformIdTokenClaims: options.thin === true,
    pkce: { required: () => true },
    features: { backchannelLogout: { enabled: true } },
    // Its own way to call clients refuses loopback, where HAL9 is in tests.
    fetch: (address, options) => {
      const { dispatcher: _guard, ...rest } = { dispatcher: undefined, ...options };
      return fetch(address, rest);
    },
    findAccount: (_context, id) => {
      const account = options.accounts[id];
      return account === undefined ? undefined : { accountId: id, claims: () => ({ sub: id, ...account }) };
    },
    ...options.configuration,
  });
  const handle = provider.callback();
  server.on('request', (request, response) => void handle(request, response));
  return {
    issuer,
    provider,
    stop: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
}

/** A browser without a window: keeps cookies by origin, fills in the provider's login and consent forms. */
export class Browserless {
  readonly #cookies = new Map<string, Map<string, string>>();

  /** One request, redirects not followed. */
  async request(address: string, init: RequestInit = {}): Promise<Response> {
    const { origin } = new URL(address);
    const jar = this.#cookies.get(origin) ?? new Map<string, string>();
    this.#cookies.set(origin, jar);
    const cookie = [...jar].map(([name, value]) => `${name}=${value}`).join('; ');
    const response = await fetch(address, { ...init, redirect: 'manual', headers: { ...Object.fromEntries(new Headers(init.headers)), ...(cookie === '' ? {} : { cookie }) } });
    for (const set of response.headers.getSetCookie()) {
      const [pair = ''] = set.split(';');
      const equals = pair.indexOf('=');
      const value = pair.slice(equals + 1);
      if (value === '' || /max-age=0(;|$)/i.test(set)) jar.delete(pair.slice(0, equals));
      else jar.set(pair.slice(0, equals), value);
    }
    return response;
  }

  cookie(address: string, name: string): string | undefined {
    return this.#cookies.get(new URL(address).origin)?.get(name);
  }

  /** Signs in at the provider and agrees. @returns where it sends the browser in the end: HAL9's callback, not yet visited. */
  async signIn(authorization: string, userName: string): Promise<URL> {
    const { origin } = new URL(authorization);
    let response = await this.request(authorization);
    for (let step = 0; step < 20; step += 1) {
      const location = response.headers.get('location');
      if (location !== null) {
        const next = new URL(location, origin);
        if (next.origin !== origin) return next;
        response = await this.request(next.href);
        continue;
      }
      const page = await response.text();
      const action = /<form[^>]*action="([^"]+)"/.exec(page)?.[1];
      if (action === undefined) throw new Error(`the provider answered ${response.status}: ${page.slice(0, 500)}`);
      const prompt: Record<string, string> = page.includes('value="login"') ? { prompt: 'login', login: userName, password: 'any' } : { prompt: 'consent' };
      response = await this.request(new URL(action, origin).href, { method: 'POST', body: new URLSearchParams(prompt) });
    }
    throw new Error('the provider never came to an end');
  }
}
