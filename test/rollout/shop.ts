import { setTimeout as sleep } from 'node:timers/promises';
import type { ControlPlane } from '../cluster/control-plane.ts';

interface Deployment {
  readonly metadata: { readonly resourceVersion: string; readonly annotations?: Readonly<Record<string, string>> };
  readonly spec: { readonly replicas: number; readonly template: { readonly spec: { readonly containers: readonly { readonly image: string }[] } } };
  readonly status: { readonly availableReplicas?: number };
}
interface EndpointSlices {
  readonly items: readonly { readonly metadata: { readonly labels: Readonly<Record<string, string>> }; readonly endpoints?: null | readonly { readonly conditions: { readonly ready?: boolean }; readonly targetRef?: { readonly name: string } }[] }[];
}

/** A namespace with plain Deployments and Services, as people have them before HAL9. */
export class Shop {
  readonly namespace: string;
  readonly #cluster: ControlPlane;

  private constructor(cluster: ControlPlane, namespace: string) {
    this.#cluster = cluster;
    this.namespace = namespace;
  }

  static async open(cluster: ControlPlane, namespace: string): Promise<Shop> {
    await cluster.call('POST', '/api/v1/namespaces', { metadata: { name: namespace } });
    return new Shop(cluster, namespace);
  }

  path(resource: string, name = ''): string {
    const [group, plural] = resource.includes('/') ? [`/apis/${resource.slice(0, resource.lastIndexOf('/'))}`, resource.slice(resource.lastIndexOf('/') + 1)] : ['/api/v1', resource];
    return `${group}/namespaces/${this.namespace}/${plural}${name === '' ? '' : `/${name}`}`;
  }

  /** A Deployment of three pods that are ready, and the Service in front of it. */
  async sells(name: string, image = `shop/${name}:1`, replicas = 3): Promise<void> {
    const labels = { app: name };
    await this.#cluster.call('POST', this.path('apps/v1/deployments'), { metadata: { name }, spec: { replicas, selector: { matchLabels: labels }, template: { metadata: { labels }, spec: { containers: [{ name: 'main', image }] } } } });
    await this.#cluster.call('POST', this.path('services'), { metadata: { name }, spec: { selector: labels, ports: [{ port: 80 }] } });
    while ((await this.deployment(name)).status.availableReplicas !== replicas || (await this.readyPods(name)).length < replicas) await sleep(50);
  }

  /** The same as a StatefulSet. */
  async keeps(name: string, image = `shop/${name}:1`, replicas = 3): Promise<void> {
    const labels = { app: name };
    await this.#cluster.call('POST', this.path('services'), { metadata: { name }, spec: { clusterIP: 'None', selector: labels, ports: [{ port: 80 }] } });
    await this.#cluster.call('POST', this.path('apps/v1/statefulsets'), { metadata: { name }, spec: { replicas, serviceName: name, selector: { matchLabels: labels }, template: { metadata: { labels }, spec: { containers: [{ name: 'main', image }] } } } });
    while ((await this.readyPods(name)).length < replicas) await sleep(50);
  }

  deployment(name: string): Promise<Deployment> {
    return this.#cluster.call('GET', this.path('apps/v1/deployments', name));
  }

  async image(name: string): Promise<string | undefined> {
    return (await this.deployment(name)).spec.template.spec.containers[0]?.image;
  }

  /** Images of the pods with the labels of a Deployment. */
  async images(name: string): Promise<(string | undefined)[]> {
    const { items } = await this.#cluster.call<{ items: { spec: { containers: { image?: string }[] } }[] }>('GET', `${this.path('pods')}?labelSelector=app%3D${name}`);
    return items.map(({ spec }) => spec.containers[0]?.image);
  }

  async deployments(): Promise<string[]> {
    const { items } = await this.#cluster.call<{ items: { metadata: { name: string } }[] }>('GET', this.path('apps/v1/deployments'));
    return items.map(({ metadata }) => metadata.name);
  }

  /** Names of the ready pods behind a Service. */
  async readyPods(service: string): Promise<string[]> {
    const { items } = await this.#cluster.call<EndpointSlices>('GET', this.path('discovery.k8s.io/v1/endpointslices'));
    return items.filter(({ metadata }) => metadata.labels['kubernetes.io/service-name'] === service).flatMap(({ endpoints }) => (endpoints ?? []).flatMap(({ conditions, targetRef }) => (conditions.ready === true && targetRef !== undefined ? [targetRef.name] : [])));
  }

  /** Looks again and again whether somebody stands behind a Service, until it is told to stop. */
  watch(service: string): { emptied(): Promise<number>; seen: Set<string> } {
    let [watching, empty] = [true, 0];
    const seen = new Set<string>();
    const loop = (async () => {
      while (watching) {
        // Whoever kills the API server knows that nobody can ask it meanwhile.
        const pods = await this.readyPods(service).catch(() => undefined);
        if (pods === undefined) {
          await sleep(100);
          continue;
        }
        if (pods.length === 0) empty += 1;
        for (const pod of pods) seen.add(pod);
      }
    })();
    return {
      seen,
      async emptied() {
        watching = false;
        await loop;
        return empty;
      },
    };
  }
}
