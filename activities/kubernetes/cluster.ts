import { ApplicationFailure } from '@temporalio/activity';
import type { Connections } from '../../platform/connections/connections.ts';
import { AddressRefused, type Egress } from '../../platform/connections/egress.ts';
import { explainFailure } from '../../platform/connections/failure.ts';
import { KubernetesApi, KubernetesRefusal } from '../../platform/connections/kubernetes.ts';
import { HalError } from '../../schemas/errors.ts';
import { ROLLOUT_PROBLEM, type RolloutCause } from '../../schemas/names/rollouts.ts';
import type { Problem } from './activity-contract.ts';

/** Something that trying again will not mend. */
export function problem(code: RolloutCause, message: string): ApplicationFailure {
  const details: Problem = { code, message };
  return ApplicationFailure.create({ type: ROLLOUT_PROBLEM, message, nonRetryable: true, details: [details] });
}

/** Opens clusters by the names of their connections. */
export class Clusters {
  readonly #connections: Pick<Connections, 'open'>;
  readonly #egress: Egress;

  constructor(connections: Pick<Connections, 'open'>, egress: Egress) {
    this.#connections = connections;
    this.#egress = egress;
  }

  /**
   * Does something with a cluster. What it refuses for good becomes a problem; everything else may be tried again.
   * @throws {ApplicationFailure} ROLLOUT_PROBLEM, or ExternalCallFailed (retryable).
   */
  async use<Result>(orgId: string, connection: string, work: (api: KubernetesApi) => Promise<Result>): Promise<Result> {
    let api: KubernetesApi | undefined;
    try {
      const { settings } = await this.#connections.open(orgId, connection, ['kubernetes']);
      api = new KubernetesApi(this.#egress, settings);
      return await work(api);
    } catch (error) {
      throw translated(error, connection);
    } finally {
      await api?.close();
    }
  }
}

function translated(error: unknown, connection: string): unknown {
  if (error instanceof KubernetesRefusal) return refused(error, connection);
  if (error instanceof AddressRefused) return problem('unreachable', `cluster ${connection}: ${explainFailure(error).message}`);
  if (error instanceof HalError && !error.failure.retryable) return problem('unreachable', `cluster ${connection}: ${error.message}`);
  if (error instanceof ApplicationFailure || (error instanceof Error && (error.name === 'CancelledFailure' || error.name === 'AbortError'))) return error;
  const { message, retryable } = explainFailure(error);
  return retryable ? ApplicationFailure.retryable(`cluster ${connection}: ${message}`, 'ExternalCallFailed') : problem('unreachable', `cluster ${connection}: ${message}`);
}

function refused({ status, message }: KubernetesRefusal, connection: string): ApplicationFailure {
  if (status === 401) return problem('unreachable', `cluster ${connection} refuses the token of the connection`);
  if (status === 403) return problem(/exceeded quota/.test(message) ? 'quota-exceeded' : 'missing-permission', message);
  if (status === 404) return problem('not-found', message);
  if (status === 400 || status === 422) return problem('invalid', message);
  // A conflict means that somebody wrote in between: the next attempt reads first.
  return ApplicationFailure.retryable(`cluster ${connection}: ${message}`, 'ExternalCallFailed');
}
