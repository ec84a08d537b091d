import { randomUUID } from 'node:crypto';
import { hashPassword } from '../../platform/identity/passwords.ts';
import type { TestDatabase } from '../environment/database.ts';

export const PASSWORD = 'correct horse battery staple';

/** A person with a password and a role, in an organisation that can be signed in to by its slug. */
export async function createPerson(test: TestDatabase, orgId: string, options: { userName?: string; role?: string; password?: string; slug?: string } = {}): Promise<{ userId: string; userName: string }> {
  const { userName = `ada-${randomUUID().slice(0, 8)}`, role = 'admin', password = PASSWORD, slug } = options;
  const userId = randomUUID();
  const passwordHash = await hashPassword(password);
  await test.database.withOrg(orgId, async (tx) => {
    await tx.insertInto('users').values({ org_id: orgId, id: userId, user_name: userName, password_hash: passwordHash, email: null, display_name: null, external_id: null }).execute();
    await tx.insertInto('role_bindings').values({ org_id: orgId, id: randomUUID(), user_id: userId, team_id: null, role, provider_id: null }).execute();
  });
  if (slug !== undefined) await test.database.system.updateTable('organisations').set({ slug }).where('org_id', '=', orgId).execute();
  return { userId, userName };
}

/** What a browser keeps between requests, without one. */
export class Visitor {
  readonly #url: string;
  readonly #agent: string;
  readonly cookies = new Map<string, string>();
  csrf: string | undefined;

  constructor(url: string, agent = 'visitor') {
    this.#url = url;
    this.#agent = agent;
  }

  async ask(method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<{ status: number; headers: Headers; body: Record<string, unknown> }> {
    const response = await fetch(this.#url + path, {
      method,
      redirect: 'manual',
      headers: {
        'user-agent': this.#agent,
        cookie: [...this.cookies].map(([name, value]) => `${name}=${value}`).join('; '),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...(this.csrf === undefined ? {} : { 'x-csrf-token': this.csrf }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    for (const cookie of response.headers.getSetCookie()) {
      const [pair = ''] = cookie.split(';');
      const [name = '', value = ''] = pair.split('=');
      if (value === '') this.cookies.delete(name);
      else this.cookies.set(name, value);
    }
    const text = await response.text();
    return { status: response.status, headers: response.headers, body: text.startsWith('{') ? (JSON.parse(text) as Record<string, unknown>) : {} };
  }

  /** Signs in by password and reads the CSRF token. @returns the answer of the sign-in. */
  async signIn(organisation: string, userName: string, password = PASSWORD) {
    const answer = await this.ask('POST', '/v1/sign-in/password', { organisation, userName, password });
    if (answer.body['kind'] === 'session') await this.readToken();
    return answer;
  }

  async readToken(): Promise<void> {
    const session = await this.ask('GET', '/v1/session');
    this.csrf = String(session.body['csrfToken']);
  }
}
