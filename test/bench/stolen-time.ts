import { readFile } from 'node:fs/promises';

/** Ticks since the machine began, of all processors together (proc_stat(5)). */
export interface ProcessorTime {
  /** In which there was work to do. */
  readonly wanted: number;
  /** Of these, in which the hypervisor ran other machines instead. */
  readonly stolen: number;
}

/** @returns undefined where there is no /proc/stat. */
export async function processorTime(): Promise<ProcessorTime | undefined> {
  const text = await readFile('/proc/stat', 'utf8').catch(() => undefined);
  return text === undefined ? undefined : parseProcessorTime(text);
}

export function parseProcessorTime(stat: string): ProcessorTime {
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0] = (/^cpu +(.*)$/m.exec(stat)?.[1] ?? '').split(' ').map(Number);
  return { wanted: user + nice + system + irq + softirq + steal, stolen: steal };
}

/** How much of the processor time this machine had work for went to others, percent: what a number measured meanwhile is worth. */
export function stolenPercent(before: ProcessorTime, after: ProcessorTime): number {
  const wanted = after.wanted - before.wanted;
  return wanted === 0 ? 0 : Math.round((1000 * (after.stolen - before.stolen)) / wanted) / 10;
}
