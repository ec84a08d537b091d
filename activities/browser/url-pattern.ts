import { pattern } from '../../neurons/cel-environment.ts';

/** Whether an address fits a glob: `*` is anything but a slash, `**` anything. Without either it must be equal. */
export function urlMatches(url: string, glob: string): boolean {
  const source = glob.replace(/[.+?^${}()|[\]\\]/g, '\\$&').replace(/\*+/g, (stars) => (stars.length > 1 ? '.*' : '[^/]*'));
  return pattern(source).matcher(url).matches();
}

/** Whether a host fits a pattern: itself, or with a leading `*.` any name below. */
export function hostMatches(host: string, pattern: string): boolean {
  const name = host.toLowerCase();
  const wanted = pattern.toLowerCase();
  return wanted.startsWith('*.') ? name.endsWith(wanted.slice(1)) : wanted === '*' || name === wanted;
}

/** An address as it may be kept: queries and fragments carry tokens and names. */
export function withoutQuery(url: string): string {
  return url.replace(/[?#].*$/s, '').slice(0, 2000);
}
