import type { Command } from 'commander';
import { Hal9Client } from '../clients/typescript/index.ts';
import { UsageError } from './exit-code.ts';
import { Profiles } from './profiles.ts';
import { Terminal } from './terminal.ts';

export interface Session {
  readonly client: Hal9Client;
  readonly terminal: Terminal;
  readonly url: string;
}

/** Options that every command takes. */
export interface GlobalOptions {
  readonly json?: boolean;
  readonly url?: string;
  readonly profile?: string;
  readonly timeout?: number;
}

export function terminalOf(command: Command): Terminal {
  return new Terminal(command.optsWithGlobals<GlobalOptions>().json === true);
}

/**
 * Who asks whom: `--url` and `HAL9_URL` before the profile's address, `HAL9_API_KEY` before the profile's key. The key of a profile is
 * only sent to the address it was kept for.
 */
export async function openSession(command: Command): Promise<Session> {
  const options = command.optsWithGlobals<GlobalOptions>();
  const terminal = terminalOf(command);
  const profiles = await Profiles.load(process.env);
  const name = options.profile ?? process.env['HAL9_PROFILE'] ?? profiles.current;
  const profile = name === null ? undefined : profiles.get(name);
  const url = options.url ?? (options.profile === undefined ? process.env['HAL9_URL'] : undefined) ?? profile?.url;
  if (url === undefined) throw new UsageError('which HAL9? Set HAL9_URL and HAL9_API_KEY, give --url, or run `hal9 login`');
  if (!URL.canParse(url)) throw new UsageError(`${url} is no address`);
  const kept = profile !== undefined && new URL(profile.url).origin === new URL(url).origin ? profile.apiKey : undefined;
  const credential = (options.profile === undefined ? process.env['HAL9_API_KEY'] : undefined) ?? kept;
  return {
    terminal,
    url,
    client: new Hal9Client({
      url,
      ...(credential === undefined ? {} : { credential }),
      ...(options.timeout === undefined ? {} : { timeoutMs: options.timeout * 1000 }),
      onRetry: ({ waitMs, reason }) => terminal.note(`${reason}; again in ${(waitMs / 1000).toFixed(1)} s`),
    }),
  };
}
