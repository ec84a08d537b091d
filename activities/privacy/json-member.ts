/** What is at a dotted path of a value; arrays on the way are gone through. Empty where nothing is. */
export function membersAt(value: unknown, path: string): unknown[] {
  let nodes: unknown[] = [value];
  for (const name of path.split('.')) {
    nodes = nodes.flatMap((node) => (Array.isArray(node) ? node : [node])).flatMap((node: unknown) => (typeof node === 'object' && node !== null && Object.hasOwn(node, name) ? [Reflect.get(node, name)] : []));
  }
  return nodes.flatMap((node) => (Array.isArray(node) ? node : [node]));
}

/** As {@link membersAt}, of a JSON text, as texts; none where it is no JSON. */
export function textsIn(json: string, path: string): string[] {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch (error) {
    if (error instanceof SyntaxError) return [];
    throw error;
  }
  return membersAt(value, path).flatMap((node) => (typeof node === 'string' || typeof node === 'number' ? [String(node)] : []));
}
