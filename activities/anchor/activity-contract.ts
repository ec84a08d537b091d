/** Served by `core`. The organisation is that of the run. */
export interface AnchorActivities {
  /** Anchors one batch of a stream and waits until it is in a block. @returns `hashes` of the batch; null when nothing was left. */
  anchorBatch(stream: string): Promise<{ readonly hashes: number | null }>;
}
