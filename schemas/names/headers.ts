/** Temporal header that carries the W3C trace context (https://www.w3.org/TR/trace-context/#traceparent-header) as JSON text. */
export const TRACE_HEADER = 'traceparent';

/** Name of the sink through which workflow code hands finished spans to its worker. */
export const TRACE_SINK = 'traces';

/** The execution of a workflow as its code saw it; the worker makes a span of it. */
export interface WorkflowSpan {
  readonly name: string;
  /** Trace context of whoever started the run. */
  readonly parent: string;
  /** 16 hexadecimal digits; the parent of all the run did. */
  readonly spanId: string;
  readonly startMs: number;
  readonly endMs: number;
  readonly failed: boolean;
}

/** Temporal header by which a paused run that is continued as new stays paused. */
export const PAUSE_HEADER = 'hal9-paused';

/** Name of the sink through which a run says how far it is. */
export const PROGRESS_SINK = 'progress';
