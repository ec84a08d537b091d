import { parseAllDocuments } from 'yaml';
import { HalError } from '../../schemas/errors.ts';
import { rolloutInputSchema } from '../../schemas/operations/rollout.ts';
import { importArgo } from './argo.ts';
import { importFlagger } from './flagger.ts';
import type { ImportNames, RolloutDraft, SpecDocument, SpecDocuments } from './imported-draft.ts';
import { isObject, type ImportNote } from './spec-reader.ts';

/** One `Rollout` or `Canary`, as an input of HAL9's `rollout`. */
interface ImportedRollout {
  /** As `Rollout shop/web`. */
  readonly source: string;
  readonly format: 'argo-rollouts' | 'flagger';
  readonly input: RolloutDraft;
  /** What must be filled in before it can be started; empty when it can. */
  readonly open: readonly { readonly path: string; readonly message: string }[];
  readonly notes: readonly ImportNote[];
}

export interface RolloutImport {
  readonly rollouts: readonly ImportedRollout[];
  /** Documents that no rollout refers to, as `ConfigMap shop/settings`. */
  readonly ignored: readonly string[];
}

const HELPING = new Set(['AnalysisTemplate', 'ClusterAnalysisTemplate', 'MetricTemplate', 'Deployment', 'StatefulSet']);

/**
 * Turns specs of Argo Rollouts (`argoproj.io/v1alpha1`) and Flagger (`flagger.app/v1beta1`) into inputs of HAL9's `rollout`, one for each, and lists what
 * could not be carried over: every field that was not read is in the notes.
 * @param text YAML of one or more documents: rollouts, the templates of their analysis, and the Deployments they refer to.
 * @throws {HalError} InvalidInput when it is not YAML, or has no rollout.
 */
export function importRollouts(text: string, names: ImportNames): RolloutImport {
  const documents = documentsOf(text);
  const used = new Set<SpecDocument>();
  const all: SpecDocuments = {
    find(kinds, namespace, name) {
      const found = documents.find((document) => kinds.includes(document.kind) && document.name === name && (document.kind === 'ClusterAnalysisTemplate' || document.namespace === namespace));
      if (found !== undefined) used.add(found);
      return found;
    },
  };
  const rollouts = documents.flatMap((document): ImportedRollout[] => {
    const format = formatOf(document);
    if (format === undefined) return [];
    const notes: ImportNote[] = [];
    const input = format === 'argo-rollouts' ? importArgo(document, all, names, notes) : importFlagger(document, all, names, notes);
    const parsed = rolloutInputSchema.safeParse(input);
    const open = parsed.success ? [] : parsed.error.issues.map(({ path, message }) => ({ path: `/${path.map(String).join('/')}`, message }));
    return [{ source: titleOf(document), format, input, open, notes: notes.filter((note, index) => note.kind !== 'todo' || notes.findIndex(({ message }) => message === note.message) === index) }];
  });
  if (rollouts.length === 0) throw new HalError('InvalidInput', 'the documents have no Rollout of argoproj.io and no Canary of flagger.app', { errors: [{ path: '/body/specs', message: 'give the YAML of a Rollout or a Canary' }] });
  return { rollouts, ignored: documents.filter((document) => formatOf(document) === undefined && !(HELPING.has(document.kind) && used.has(document))).map((document) => titleOf(document)) };
}

function formatOf({ kind, apiVersion }: SpecDocument): ImportedRollout['format'] | undefined {
  if (kind === 'Rollout' && apiVersion.startsWith('argoproj.io/')) return 'argo-rollouts';
  return kind === 'Canary' && apiVersion.startsWith('flagger.app/') ? 'flagger' : undefined;
}

function titleOf({ kind, namespace, name }: SpecDocument): string {
  return `${kind} ${kind === 'ClusterAnalysisTemplate' ? '' : `${namespace}/`}${name}`;
}

function documentsOf(text: string): SpecDocument[] {
  const found: SpecDocument[] = [];
  for (const value of valuesOf(text)) {
    // What `kubectl get --output yaml` writes of several.
    const items = isObject(value) && value['kind'] === 'List' && Array.isArray(value['items']) ? (value['items'] as unknown[]) : [value];
    for (const item of items) if (isObject(item)) found.push(documentOf(item));
  }
  return found;
}

function valuesOf(text: string): unknown[] {
  try {
    const documents = parseAllDocuments(text);
    return (Array.isArray(documents) ? documents : []).map((document) => {
      const [broken] = document.errors;
      if (broken !== undefined) throw refused(broken.message.split('\n')[0] ?? broken.message);
      // An alias bomb is a few lines of YAML and gigabytes of value.
      return document.toJS({ maxAliasCount: 100 }) as unknown;
    });
  } catch (error) {
    // Aliases of nothing, or too many; brackets within brackets without end.
    if (error instanceof ReferenceError || error instanceof RangeError) throw refused(error.message);
    throw error;
  }
}

function documentOf(content: Record<string, unknown>): SpecDocument {
  const metadata = isObject(content['metadata']) ? content['metadata'] : {};
  const text = (value: unknown): string => (typeof value === 'string' ? value : '');
  return { apiVersion: text(content['apiVersion']), kind: text(content['kind']), name: text(metadata['name']), namespace: text(metadata['namespace']) || 'default', content };
}

function refused(why: string): HalError {
  return new HalError('InvalidInput', `the documents are not YAML: ${why}`, { errors: [{ path: '/body/specs', message: why }] });
}
