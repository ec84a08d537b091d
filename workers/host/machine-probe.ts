import { cpus, loadavg } from 'node:os';
import si from 'systeminformation';
import { readProcFile, TICKS_PER_SECOND } from '../../activities/host/process-table.ts';
import { rounded, Rates, type Probe, type Reading } from './reading.ts';

const SECTOR_BYTES = 512;

/** Processor, pressure, memory, disk and network of this machine. From procfs where that costs less than `systeminformation` (10 microseconds against some milliseconds); elsewhere than on Linux from `systeminformation` alone. */
export function machineProbe(source: string): Probe {
  const rates = new Rates();
  const cores = cpus().length;
  const one = (metric: string, subject: string, value: number | undefined, unit: string, facts?: Reading['facts']): Reading[] =>
    value === undefined ? [] : [{ source, metric, subject, value: rounded(value), unit, ...(facts === undefined ? {} : { facts }) }];

  return {
    name: 'machine',
    intervalMs: 0,
    async read() {
      const at = performance.now();
      const [memory, processor] = await Promise.all([si.mem(), process.platform === 'linux' ? processorOfProc(rates, at, cores) : processorOfLibrary()]);
      return [
        ...one('cpu.load', 'all', processor.load, 'ratio'),
        ...one('cpu.iowait', 'all', processor.iowait, 'ratio'),
        ...one('cpu.steal', 'all', processor.steal, 'ratio'),
        ...one('load.average', '1m', loadavg()[0], 'processes'),
        ...(['cpu', 'memory', 'io'] as const).flatMap((resource) => one(`pressure.${resource}`, 'some', pressure(resource, rates, at), 'ratio')),
        ...one('memory.available', 'all', memory.available, 'bytes', { total: memory.total, ratio: rounded(memory.available / memory.total) }),
        ...one('memory.swap', 'used', memory.swapused, 'bytes'),
        ...one('files.open', 'all', openFiles(), 'handles'),
        ...disks(rates, at).flatMap(({ device, read, written }) => [...one('disk.read', device, read, 'bytes/s'), ...one('disk.written', device, written, 'bytes/s')]),
        ...interfaces(rates, at).flatMap(({ name, received, sent }) => [...one('network.received', name, received, 'bytes/s'), ...one('network.sent', name, sent, 'bytes/s')]),
      ];
    },
  };
}

/** Space of the mounted file systems: a question of milliseconds, so asked every ten seconds. */
export function spaceProbe(source: string): Probe {
  return {
    name: 'space',
    intervalMs: 10_000,
    async read() {
      const mounts = (await si.fsSize()).filter((mount) => mount.size > 0).slice(0, 10);
      return mounts.map((mount) => ({ source, metric: 'disk.used', subject: mount.mount, value: mount.used, unit: 'bytes', facts: { total: mount.size, ratio: rounded(mount.used / mount.size) } }));
    },
  };
}

interface ProcessorReading {
  readonly load: number | undefined;
  readonly iowait: number | undefined;
  readonly steal: number | undefined;
}

/** Shares of all cores since the last reading; fields of proc_stat(5). */
function processorOfProc(rates: Rates, at: number, cores: number): ProcessorReading {
  const line = /^cpu +(.*)$/m.exec(readProcFile('/proc/stat') ?? '')?.[1] ?? '';
  const [user = 0, nice = 0, system = 0, , iowait = 0, irq = 0, softirq = 0, steal = 0] = line.split(' ').map(Number);
  const share = (name: string, ticks: number): number | undefined => {
    const rate = rates.perSecond(name, ticks, at);
    return rate === undefined ? undefined : Math.min(1, rate / TICKS_PER_SECOND / cores);
  };
  return { load: share('busy', user + nice + system + irq + softirq), iowait: share('iowait', iowait), steal: share('steal', steal) };
}

async function processorOfLibrary(): Promise<ProcessorReading> {
  const { currentLoad } = await si.currentLoad();
  return { load: currentLoad / 100, iowait: undefined, steal: undefined };
}

/** Share of time in which some task waited for the resource; pressure stall information, https://docs.kernel.org/accounting/psi.html. */
function pressure(resource: 'cpu' | 'memory' | 'io', rates: Rates, at: number): number | undefined {
  const total = /^some .*total=(\d+)/m.exec(readOptional(`/proc/pressure/${resource}`))?.[1];
  const rate = total === undefined ? undefined : rates.perSecond(`pressure.${resource}`, Number(total), at);
  return rate === undefined ? undefined : Math.min(1, rate / 1_000_000);
}

function openFiles(): number | undefined {
  const [allocated] = readOptional('/proc/sys/fs/file-nr').split(/\s+/);
  return allocated === undefined || allocated === '' ? undefined : Number(allocated);
}

/** Whole disks only; loop devices and memory disks say nothing about the machine. */
function disks(rates: Rates, at: number): { device: string; read: number | undefined; written: number | undefined }[] {
  return readOptional('/proc/diskstats')
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter(([, , name]) => name !== undefined && /^(sd[a-z]+|vd[a-z]+|xvd[a-z]+|nvme\d+n\d+)$/.test(name))
    .map((fields) => {
      const device = fields[2] ?? '';
      return {
        device,
        read: rates.perSecond(`read.${device}`, Number(fields[5]) * SECTOR_BYTES, at),
        written: rates.perSecond(`written.${device}`, Number(fields[9]) * SECTOR_BYTES, at),
      };
    });
}

function interfaces(rates: Rates, at: number): { name: string; received: number | undefined; sent: number | undefined }[] {
  return readOptional('/proc/net/dev')
    .split('\n')
    .slice(2)
    .map((line) => line.trim().split(/[:\s]+/))
    .filter(([name]) => name !== undefined && /^(lo|eth\d+|en\w+|wl\w+)$/.test(name))
    .map((fields) => {
      const name = fields[0] ?? '';
      return { name, received: rates.perSecond(`received.${name}`, Number(fields[1]), at), sent: rates.perSecond(`sent.${name}`, Number(fields[9]), at) };
    });
}

/** A procfs file this kernel or container may lack. */
function readOptional(path: string): string {
  return process.platform === 'linux' ? (readProcFile(path) ?? '') : '';
}
