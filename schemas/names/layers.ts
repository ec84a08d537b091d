/** The layers of neurons, strategic on top. Signals enter at L2, escalate upwards, and are delegated downwards. */
export const LAYERS = ['L2', 'L3', 'L4'] as const;
export type Layer = (typeof LAYERS)[number];
