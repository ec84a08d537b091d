import { canListen, freePort } from '../../platform/telemetry/free-port.ts';
import { listenerOf } from './process-identity.ts';
import { SetupError, systemCode } from './setup-error.ts';

/** Whether something could listen on the port now. @throws {SetupError} where nobody may, or the machine has no such address. */
export async function isFree(port: number, host?: string): Promise<boolean> {
  try {
    return await canListen(port, host);
  } catch (error) {
    const code = systemCode(error);
    if (code === 'EACCES') throw new SetupError(`port ${port} may not be opened by this user`, 'choose one above 1023');
    if (code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND') throw new SetupError(`this machine has no address ${host}`, 'set HAL9_HOST to 127.0.0.1, 0.0.0.0 or an address of its own');
    throw error;
  }
}

/**
 * The port the user asked for.
 * @throws {SetupError} naming who has it and which setting chooses another.
 */
export async function demandPort(port: number, setting: string, host?: string): Promise<number> {
  if (await isFree(port, host)) return port;
  const listener = listenerOf(port);
  const who = listener === undefined ? 'another program' : `process ${listener.pid} (${listener.command})`;
  throw new SetupError(`port ${port} is taken by ${who}`, `stop it, or choose another with ${setting}=NUMBER (${setting}=0 picks a free one and remembers it)`);
}

/** The first of the preferred ports that is free, else any; for ports nobody chose. */
export async function preferPort(preferred: readonly (number | undefined)[]): Promise<number> {
  for (const port of preferred) {
    if (port !== undefined && (await isFree(port))) return port;
  }
  return freePort();
}
