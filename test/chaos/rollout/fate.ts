/** What becomes of a rollout besides the killing. */
export interface Fate {
  readonly image: string;
  readonly strategy: { readonly kind: 'rolling' } | { readonly kind: 'canary'; readonly steps: readonly object[] } | { readonly kind: 'blue-green'; readonly soakSeconds: number; readonly scaleDownDelaySeconds: number };
  /** Whether its pods get ready; those of an image tagged `missing` do not. */
  readonly starts: boolean;
  readonly aborted: boolean;
}

/** A rollout of a random kind; a fifth never starts, a fifth of the others is aborted. */
export function randomFate(random: () => number, index: number): Fate {
  const starts = random() >= 0.2;
  const kind = Math.floor(random() * 3);
  const strategy: Fate['strategy'] =
    kind === 0 ? { kind: 'rolling' } : kind === 1 ? { kind: 'canary', steps: [{ weight: 30, soakSeconds: 1 }, { weight: 70, soakSeconds: 1 }] } : { kind: 'blue-green', soakSeconds: 1, scaleDownDelaySeconds: 0 };
  return { image: `shop/web:${starts ? 'good' : 'missing'}-${String(index)}`, strategy, starts, aborted: starts && random() < 0.2 };
}
