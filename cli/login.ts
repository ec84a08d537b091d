import { Command } from 'commander';
import { Hal9Client } from '../clients/typescript/index.ts';
import { UsageError } from './exit-code.ts';
import { Profiles } from './profiles.ts';
import { terminalOf, type GlobalOptions } from './session.ts';
import { readSecret } from './terminal.ts';

/** `hal9 login`, `logout` and `profiles`. */
export function addLoginCommands(program: Command): void {
  program.addCommand(loginCommand());
  const logout = new Command('logout').description('Forget a profile').argument('[profile]', 'default: the current one');
  logout.action(async (name: string | undefined) => {
    const profiles = await Profiles.load(process.env);
    const chosen = name ?? profiles.current;
    if (chosen === null) throw new UsageError('nobody is logged in');
    await profiles.remove(chosen);
    terminalOf(logout).show({ forgotten: chosen });
  });
  program.addCommand(logout);
  const group = program.command('profiles').description('Installations this terminal knows');
  const list = new Command('list').description('List them; keys are not shown');
  list.action(async () => {
    const profiles = await Profiles.load(process.env);
    terminalOf(list).show({ items: profiles.names.map((name) => ({ name, url: profiles.get(name).url, current: name === profiles.current })), nextCursor: null });
  });
  const use = new Command('use').description('Make one the current').argument('<profile>');
  use.action(async (name: string) => {
    await (await Profiles.load(process.env)).use(name);
    terminalOf(use).show({ current: name });
  });
  group.addCommand(list);
  group.addCommand(use);
}

function loginCommand(): Command {
  const command = new Command('login').description('Keep an API key for an installation. The key is asked for, or read from stdin or HAL9_API_KEY, never from the command line');
  command.action(async () => {
    const { url = process.env['HAL9_URL'], profile = 'default' } = command.optsWithGlobals<GlobalOptions>();
    if (url === undefined || !URL.canParse(url)) throw new UsageError('which HAL9? Give --url, or set HAL9_URL');
    const apiKey = process.env['HAL9_API_KEY'] ?? (await readSecret(`API key for ${url}: `));
    if (apiKey === '') throw new UsageError('no API key was given');
    // The catalogue is readable for every key that can do anything; a wrong key fails here and not in a script at night.
    const client = new Hal9Client({ url, credential: apiKey, retries: 1 });
    const { items } = await client.call('listWorkflows', { params: {} });
    const profiles = await Profiles.load(process.env);
    await profiles.put(profile, { url, apiKey });
    terminalOf(command).show({ profile, url, operations: items.length, file: profiles.path });
  });
  return command;
}
