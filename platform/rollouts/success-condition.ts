/** Limits that say the same as a condition of Argo Rollouts, with what they do not say. */
export interface Limits {
  /** Fails above. */
  readonly above?: number;
  /** Fails below. */
  readonly below?: number;
  /** Parts that say what holds without data: HAL9 never decides on none. */
  readonly aboutNothing: readonly string[];
  /** Values at which the condition decides otherwise than the limit. */
  readonly atEdge: readonly number[];
}

const RESULT = String.raw`(?:result(?:\[0\])?|asFloat\(result(?:\[0\])?\)|default\(result(?:\[0\])?,\s*-?[\d.]+\))`;
const COMPARISON = new RegExp(String.raw`^${RESULT}\s*(<=|>=|<|>)\s*(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)$`);
/** Whether there is data, or a number at all. */
const ABOUT_NOTHING = /^!?\s*(?:len\(result\)\s*(?:==|!=|>|>=)\s*\d+|is(?:NaN|Inf)\(result(?:\[0\])?\)|result\s*(?:==|!=)\s*nil)$/;

/**
 * Reads a `successCondition` or `failureCondition` (expressions of expr-lang over `result`) of the form that compares the result with
 * constants. @returns undefined for any other form.
 */
export function limitsOf(condition: string, says: 'success' | 'failure'): Limits | undefined {
  // Of a success all parts must hold, of a failure any: the other connective joins only what is about missing data.
  const [outer, inner] = says === 'success' ? ['&&', '||'] : ['||', '&&'];
  let limits: { above?: number; below?: number } = {};
  const aboutNothing: string[] = [];
  const atEdge: number[] = [];
  for (const part of condition.split(outer)) {
    const atoms = part.split(inner).map((atom) => bare(atom));
    const compared = atoms.filter((atom) => !ABOUT_NOTHING.test(atom));
    aboutNothing.push(...atoms.filter((atom) => ABOUT_NOTHING.test(atom)));
    if (compared.length === 0) continue;
    const [, operator, text] = (compared.length === 1 ? COMPARISON.exec(compared[0] ?? '') : null) ?? [];
    if (operator === undefined || text === undefined) return undefined;
    const side = operator.startsWith('>') === (says === 'failure') ? 'above' : 'below';
    if (limits[side] !== undefined) return undefined;
    const value = Number(text);
    limits = { ...limits, [side]: value };
    if ((says === 'success') !== operator.endsWith('=')) atEdge.push(value);
  }
  return limits.above === undefined && limits.below === undefined ? undefined : { ...limits, aboutNothing, atEdge };
}

/** Without the parentheses around it. */
function bare(atom: string): string {
  const text = atom.trim();
  const opens = text.split('(').length;
  const closes = text.split(')').length;
  if (opens > closes && text.startsWith('(')) return bare(text.slice(1));
  if (closes > opens && text.endsWith(')')) return bare(text.slice(0, -1));
  return opens === closes && text.startsWith('(') && text.endsWith(')') && !text.slice(1, -1).includes('(') ? bare(text.slice(1, -1)) : text;
}
