import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { Admin } from '@platformatic/kafka';
import { endProcess, hasEnded, spawnOwned, tail } from '../../deploy/local/child-process.ts';
import { cacheFolder } from '../../deploy/local/cache-folder.js';
import { makeCertificates } from './certificates.ts';
import { freePort } from '../../platform/telemetry/free-port.ts';

const run = promisify(execFile);

const VERSION = '4.1.2';
const PLUGIN = 'org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies';
const START_MS = 120_000;

export const KAFKA_MISSING = `NOT RUN: Kafka; install Java 17 or newer and Maven (\`apt-get install openjdk-17-jre-headless maven\`), or set HAL9_KAFKA to a folder with the libraries of Kafka ${VERSION}`;

/**
 * Kafka's broker, in this order: HAL9_KAFKA, the cache, the libraries on Maven Central copied into the cache (43 MB). It is never installed.
 * @returns the folder of its libraries; undefined when there is no way to get it: the caller says {@link KAFKA_MISSING} and, under CI, fails.
 */
export async function findKafka(): Promise<string | undefined> {
  const set = process.env['HAL9_KAFKA'];
  if (set !== undefined) return existsSync(join(set, `kafka_2.13-${VERSION}.jar`)) ? set : undefined;
  const folder = join(cacheFolder(process.env), 'tools', `kafka-${VERSION}`);
  return existsSync(folder) || (await obtain(folder)) ? folder : undefined;
}

async function obtain(folder: string): Promise<boolean> {
  await mkdir(dirname(folder), { recursive: true });
  const staging = await mkdtemp(`${folder}-new-`);
  try {
    const project = `<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion><groupId>hal9</groupId><artifactId>kafka</artifactId><version>1</version>
      <dependencies><dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>${VERSION}</version></dependency></dependencies></project>`;
    await writeFile(join(staging, 'pom.xml'), project);
    await run('mvn', ['-B', '-q', `-Dmaven.repo.local=${join(staging, 'repository')}`, PLUGIN, '-DincludeScope=runtime', `-DoutputDirectory=${join(staging, 'lib')}`], { cwd: staging });
    await run('java', ['-version']);
    await rename(join(staging, 'lib'), folder);
    return true;
  } catch (error) {
    // Another test process may have put it there meanwhile.
    if (existsSync(folder)) return true;
    process.stderr.write(`Kafka cannot be had: ${error instanceof Error ? error.message.split('\n')[0] : String(error)}\n`);
    return false;
  } finally {
    await rm(staging, { recursive: true, force: true });
  }
}

export interface Kafka {
  /** In the clear, without a password: `127.0.0.1:PORT`. */
  readonly plain: string;
  /** With TLS and SCRAM-SHA-512, user `hal9`, password {@link Kafka.password}. */
  readonly secure: string;
  readonly password: string;
  /** PEM of the authority that signed the broker's certificate. */
  readonly ca: string;
  readonly otherCa: string;
  /** As a crash does; what is on disk stays. */
  kill(): Promise<void>;
  /** Starts it again on the same ports with the same data. */
  start(): Promise<void>;
  stop(): Promise<void>;
}

/** A real broker of one node (KRaft) on loopback, about 4 s and 400 MB. Its data lies in `folder`. */
export async function startKafka(libraries: string, folder: string): Promise<Kafka> {
  const [plain, secure, controller] = [await freePort(), await freePort(), await freePort()];
  const certificates = makeCertificates(folder);
  const password = 'not-a-secret';
  const config = join(folder, 'server.properties');
  const pem = async (path: string): Promise<string> => (await readFile(path, 'utf8')).trim().replaceAll('\n', ' \\\n');
  const settings = {
    'process.roles': 'broker,controller',
    'node.id': '1',
    'controller.quorum.voters': `1@127.0.0.1:${controller}`,
    listeners: `PLAIN://127.0.0.1:${plain},SECURE://127.0.0.1:${secure},CONTROLLER://127.0.0.1:${controller}`,
    'advertised.listeners': `PLAIN://127.0.0.1:${plain},SECURE://127.0.0.1:${secure}`,
    'listener.security.protocol.map': 'PLAIN:PLAINTEXT,SECURE:SASL_SSL,CONTROLLER:PLAINTEXT',
    'controller.listener.names': 'CONTROLLER',
    'inter.broker.listener.name': 'PLAIN',
    'listener.name.secure.sasl.enabled.mechanisms': 'SCRAM-SHA-512',
    'listener.name.secure.scram-sha-512.sasl.jaas.config': 'org.apache.kafka.common.security.scram.ScramLoginModule required;',
    'listener.name.secure.ssl.keystore.type': 'PEM',
    'listener.name.secure.ssl.keystore.certificate.chain': await pem(certificates.server.cert),
    'listener.name.secure.ssl.keystore.key': await pem(certificates.server.key),
    'log.dirs': join(folder, 'data'),
    'offsets.topic.replication.factor': '1',
    'offsets.topic.num.partitions': '1',
    'transaction.state.log.replication.factor': '1',
    'transaction.state.log.min.isr': '1',
    'share.coordinator.state.topic.replication.factor': '1',
    'group.initial.rebalance.delay.ms': '0',
    'auto.create.topics.enable': 'false',
    // One that was killed may come back at once.
    'broker.session.timeout.ms': '1000',
    'broker.heartbeat.interval.ms': '200',
    // So that what was confirmed outlives a SIGKILL as it outlives one in production, where replicas have it.
    'log.flush.interval.messages': '1',
  };
  await writeFile(config, Object.entries(settings).map(([name, value]) => `${name}=${value}\n`).join(''));
  const java = (main: string, ...args: string[]): string[] => ['-Xms64m', '-Xmx320m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1', '-Djava.awt.headless=true', '-cp', join(libraries, '*'), main, ...args];
  await run('java', java('kafka.tools.StorageTool', 'format', '--cluster-id', 'aGFsOS1rYWZrYS10ZXN0cw', '--config', config, '--add-scram', `SCRAM-SHA-512=[name=hal9,password=${password}]`), { cwd: folder });
  let child = await launch();

  async function launch() {
    const started = spawnOwned('java', java('kafka.Kafka', config), { deathSignal: 'KILL', cwd: folder, env: { PATH: process.env['PATH'] } });
    const lastLine = tail(started);
    const end = Date.now() + START_MS;
    while (!hasEnded(started) && Date.now() < end) {
      const admin = new Admin({ clientId: 'ready', bootstrapBrokers: [`127.0.0.1:${plain}`], retries: 0, connectTimeout: 1000, requestTimeout: 1000 });
      const answered = await admin.metadata({ topics: [] }).then(({ brokers }) => brokers.size > 0, () => false);
      await admin.close();
      if (answered) return started;
      await sleep(200);
    }
    await endProcess(started, 'SIGKILL', 5000);
    throw new Error(`Kafka does not start: ${lastLine()}`);
  }

  return {
    plain: `127.0.0.1:${plain}`,
    secure: `127.0.0.1:${secure}`,
    password,
    ca: await readFile(certificates.ca, 'utf8'),
    otherCa: await readFile(certificates.otherCa, 'utf8'),
    kill: () => endProcess(child, 'SIGKILL', 5000),
    async start() {
      child = await launch();
    },
    stop: () => endProcess(child, 'SIGKILL', 5000),
  };
}
