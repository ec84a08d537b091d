import type { HostAction } from '../../schemas/names/remedies.ts';

/** What an action is aimed at, with enough identity that nothing else can be hit. */
export type ActionTarget =
  | { readonly kind: 'process'; readonly pid: number; readonly startTicks: number; readonly name: string }
  | { readonly kind: 'session'; readonly pid: number; readonly backendStart: string; readonly applicationName: string }
  | { readonly kind: 'folder'; readonly folder: string };

export interface ActionRequest {
  readonly incidentId: string;
  readonly cause: string;
  /** Counts the actions of one run from 1: with the run's id the effect key. */
  readonly step: number;
  readonly action: HostAction;
  readonly target: ActionTarget;
  /** Whether a person agreed to it. */
  readonly approved: boolean;
}

export interface ActionAnswer {
  readonly state: 'done' | 'failed';
  /** What was changed, or why nothing was. */
  readonly detail: string;
}

/** The target in words, for people and for the record. */
export function targetText(target: ActionTarget): string {
  switch (target.kind) {
    case 'process':
      return `process ${target.name} (${target.pid})`;
    case 'session':
      return `PostgreSQL session ${target.pid} of ${target.applicationName === '' ? 'an unnamed application' : target.applicationName}`;
    case 'folder':
      return `folder ${target.folder}`;
  }
}
