import { context, SpanKind, trace } from '@opentelemetry/api';
import type { PhaseListener } from '../../neurons/layer.ts';
import type { Layer } from '../../schemas/names/layers.ts';

/** A stretch of work of an evaluation thread. Times are milliseconds since the epoch. */
interface Stretch {
  readonly startMs: number;
  readonly endMs: number;
  /** Signals, or readings of states. */
  readonly items: number;
}

/** The evaluation of one layer, and within it what its neurons of each kind took. */
export interface LayerSpan extends Stretch {
  readonly layer: Layer;
  readonly kinds: readonly (Stretch & { readonly kind: Parameters<PhaseListener>[0] })[];
}

const now = (): number => performance.timeOrigin + performance.now();

/** Keeps what a job did, at most four spans a layer however many signals there were. Threads have no tracer: the process behind them makes the spans. */
export class EvaluationLog {
  readonly spans: LayerSpan[] = [];

  /** Runs the evaluation of a layer, and notes its parts. */
  async layer<T>(layer: Layer, items: number, work: (onPhase: PhaseListener) => Promise<T>): Promise<T> {
    const startMs = now();
    const kinds: LayerSpan['kinds'][number][] = [];
    let from = startMs;
    const result = await work((kind, count) => {
      const endMs = now();
      if (count > 0) kinds.push({ kind, startMs: from, endMs, items: count });
      from = endMs;
    });
    this.spans.push({ layer, startMs, endMs: now(), items, kinds });
    return result;
  }
}

/** Whether the calling code belongs to a span that is recorded. */
export function isTraced(): boolean {
  return trace.getActiveSpan()?.isRecording() === true;
}

/** Makes spans of what a thread did, children of the active one. */
export function recordEvaluation(layers: readonly LayerSpan[]): void {
  const tracer = trace.getTracer('hal9-neurons');
  const parent = context.active();
  for (const { layer, startMs, endMs, items, kinds } of layers) {
    const span = tracer.startSpan(`evaluate ${layer}`, { kind: SpanKind.INTERNAL, startTime: startMs, attributes: { 'hal9.layer': layer, 'hal9.signals': items } }, parent);
    for (const part of kinds) {
      const attributes = { 'hal9.layer': layer, 'hal9.neuron_kind': part.kind, 'hal9.items': part.items };
      tracer.startSpan(`${layer} ${part.kind}`, { kind: SpanKind.INTERNAL, startTime: part.startMs, attributes }, trace.setSpan(parent, span)).end(part.endMs);
    }
    span.end(endMs);
  }
}
