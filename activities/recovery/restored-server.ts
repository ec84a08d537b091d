/** PostgreSQL on data that were restored, reached by this process alone. Implemented where child processes are owned: `deploy/local/restored-server.ts`. */
export interface RestoredServer {
  /** Major version whose data it can serve. */
  readonly major: string;
  /** Copies of the WAL that it makes beside the data: 1 where its account cannot read the backups. */
  readonly walCopies: number;
  /** Where scratch databases are laid out, absolute. */
  readonly root: string;
  /**
   * Lays a base backup out with what it takes to replay WAL.
   * @param folder of the drill; the data are in its folder `data` once they are whole.
   */
  layOut(folder: string, from: { readonly backups: string; readonly base: string; readonly firstSegment: string; readonly at: string | undefined }, signal: AbortSignal): Promise<void>;
  /**
   * Serves the data of the folder, replayed as far as they are to be, until the work is done.
   * @param work gets the address of the owner of HAL9's schema.
   * @throws {HalError} BackupDamaged when PostgreSQL cannot replay them; InvalidInput when WAL ends before the moment.
   */
  serve<Answer>(folder: string, signal: AbortSignal, work: (url: string) => Promise<Answer>): Promise<Answer>;
  /** Frees what lies outside of the folder of a drill that will be removed. */
  forget(folder: string): Promise<void>;
}
