import { chmod, mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, isAbsolute, join } from 'node:path';
import { UsageError } from './exit-code.ts';

/** An installation and how to sign in to it. */
export interface Profile {
  readonly url: string;
  readonly apiKey: string;
}

interface ProfileFile {
  readonly current: string | null;
  readonly profiles: Readonly<Record<string, Profile>>;
}

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

/** Profiles in one file that only its owner may read: `$HAL9_CONFIG`, or `hal9/config.json` of the user's configuration folder. */
export class Profiles {
  readonly path: string;
  readonly #file: ProfileFile;

  private constructor(path: string, file: ProfileFile) {
    this.path = path;
    this.#file = file;
  }

  static async load(env: NodeJS.ProcessEnv): Promise<Profiles> {
    const path = env['HAL9_CONFIG'] ?? join(isAbsolute(env['XDG_CONFIG_HOME'] ?? '') ? String(env['XDG_CONFIG_HOME']) : join(env['HOME'] ?? homedir(), '.config'), 'hal9', 'config.json');
    let text: string;
    try {
      text = await readFile(path, 'utf8');
    } catch (error) {
      if (!(error instanceof Error) || !('code' in error) || error.code !== 'ENOENT') throw new UsageError(`${path} cannot be read: ${String(error)}`);
      return new Profiles(path, { current: null, profiles: {} });
    }
    return new Profiles(path, parse(text, path));
  }

  get current(): string | null {
    return this.#file.current;
  }

  get names(): readonly string[] {
    return Object.keys(this.#file.profiles);
  }

  /** @throws {UsageError} when there is none of the name. */
  get(name: string): Profile {
    const profile = Object.hasOwn(this.#file.profiles, name) ? this.#file.profiles[name] : undefined;
    if (profile === undefined) throw new UsageError(`there is no profile ${name} in ${this.path}; \`hal9 login --profile ${name}\` makes it`);
    return profile;
  }

  /** Keeps the profile and makes it the current one. */
  async put(name: string, profile: Profile): Promise<void> {
    if (!NAME.test(name)) throw new UsageError(`${JSON.stringify(name)} is no name of a profile: letters, digits, dot, dash, underscore`);
    await this.#write({ current: name, profiles: { ...this.#file.profiles, [name]: profile } });
  }

  async use(name: string): Promise<void> {
    this.get(name);
    await this.#write({ ...this.#file, current: name });
  }

  async remove(name: string): Promise<void> {
    this.get(name);
    const { [name]: _, ...profiles } = this.#file.profiles;
    await this.#write({ current: this.#file.current === name ? null : this.#file.current, profiles });
  }

  /** Aside, then renamed: a full disk must not cost the profiles that were there. */
  async #write(file: ProfileFile): Promise<void> {
    await mkdir(dirname(this.path), { recursive: true, mode: 0o700 });
    const draft = `${this.path}.${process.pid}`;
    await writeFile(draft, `${JSON.stringify(file, null, 2)}\n`, { mode: 0o600 });
    await chmod(draft, 0o600);
    await rename(draft, this.path);
  }
}

function parse(text: string, path: string): ProfileFile {
  const wrong = new UsageError(`${path} is no configuration of hal9; mend or remove it`);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw wrong;
  }
  if (typeof value !== 'object' || value === null || !('profiles' in value) || typeof value.profiles !== 'object' || value.profiles === null) throw wrong;
  const profiles: Record<string, Profile> = {};
  for (const [name, profile] of Object.entries(value.profiles)) {
    if (!isProfile(profile)) throw wrong;
    profiles[name] = profile;
  }
  return { current: 'current' in value && typeof value.current === 'string' ? value.current : null, profiles };
}

function isProfile(value: unknown): value is Profile {
  return typeof value === 'object' && value !== null && 'url' in value && typeof value.url === 'string' && 'apiKey' in value && typeof value.apiKey === 'string';
}
