import type { OperationRow } from '../clients/typescript/index.ts';

/** A command of the terminal for an operation of the API: `hal9 <group> <verb>`. */
export interface CommandName {
  readonly group: string;
  readonly verb: string;
}

/** Groups that people call otherwise than the resource is tagged. */
const GROUPS: Readonly<Record<string, string>> = { 'api-keys': 'keys', workflows: 'operations', 'second-factors': 'factors', 'service-tokens': 'tokens' };

/**
 * Names by operationId. The verb is the operationId without the resource's own words: `listApiKeys` of "API keys" is `keys list`,
 * `listTeamMembers` of "Teams" is `teams list-members`. Names are unique: where two would be equal, each keeps all its words.
 */
export function commandNames(operations: Readonly<Record<string, OperationRow>>): ReadonlyMap<string, CommandName> {
  const ids = Object.keys(operations);
  const short = new Map(ids.map((id) => [id, shortName(id, operations[id]?.tag ?? '')]));
  const uses = new Map<string, number>();
  for (const { group, verb } of short.values()) uses.set(`${group} ${verb}`, (uses.get(`${group} ${verb}`) ?? 0) + 1);
  return new Map(
    [...short].map(([id, name]) => [id, (uses.get(`${name.group} ${name.verb}`) ?? 0) > 1 ? { group: name.group, verb: words(id).join('-') } : name]),
  );
}

function shortName(id: string, tag: string): CommandName {
  const kebab = tag.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-');
  const resource = kebab.split('-').filter((word) => word !== '');
  const [verb = id, ...rest] = words(id);
  return { group: GROUPS[kebab] ?? kebab, verb: [verb, ...without(rest, resource)].join('-') };
}

/** Drops the resource's words, singular or plural, where they stand together. */
function without(from: readonly string[], resource: readonly string[]): readonly string[] {
  const at = from.findIndex((_, start) => resource.every((word, offset) => isSame(from[start + offset] ?? '', word)));
  return at === -1 || resource.length === 0 ? from : [...from.slice(0, at), ...from.slice(at + resource.length)];
}

function isSame(a: string, b: string): boolean {
  const singular = (word: string): string => word.replace(/ies$/, 'y').replace(/s$/, '');
  return singular(a) === singular(b);
}

function words(id: string): string[] {
  return id.replaceAll(/([a-z0-9])([A-Z])/g, '$1 $2').toLowerCase().split(' ');
}
