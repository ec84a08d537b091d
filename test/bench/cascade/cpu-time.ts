import { readdir, readFile } from 'node:fs/promises';

/** Ticks a second of /proc/<pid>/stat (USER_HZ is 100 on every Linux). */
const TICKS = 100;

/**
 * CPU seconds each process has used so far, its children and theirs included, the ended ones only where they were waited for. Linux
 * only; elsewhere empty.
 */
export async function cpuSeconds(processes: readonly { readonly name: string; readonly pid: number | undefined }[]): Promise<Map<string, number>> {
  const table = new Map<number, { parent: number; ticks: number }>();
  for (const entry of await readdir('/proc').catch(() => [])) {
    if (!/^\d+$/.test(entry)) continue;
    const stat = await readFile(`/proc/${entry}/stat`, 'utf8').catch(() => '');
    // The name in parentheses may hold anything; fields are counted behind it.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    if (fields.length < 16) continue;
    const ticks = [11, 12, 13, 14].reduce((sum, field) => sum + Number(fields[field]), 0);
    table.set(Number(entry), { parent: Number(fields[1]), ticks });
  }
  const children = Map.groupBy(table.keys(), (pid) => table.get(pid)?.parent ?? 0);
  const total = (pid: number): number => (table.get(pid)?.ticks ?? 0) + (children.get(pid) ?? []).reduce((sum, child) => sum + total(child), 0);
  return new Map(processes.flatMap(({ name, pid }) => (pid === undefined ? [] : [[name, total(pid) / TICKS]])));
}
