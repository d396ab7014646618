import { type S3Server, startS3 } from '../helpers/s3-server.ts'
import type { Bench } from './bench.ts'
import { type Meter, startMeter } from './meter.ts'
import { prepare } from './worlds.ts'

/** A real S3 server on loopback, and the same behind a proxy that counts. */
export interface Bucket {
  server: S3Server
  meter: Meter
  /** environment with credentials for mlv, dvc and rclone */
  env: Bench['env']
  name: string
  /** makes the bucket's folder `prefix` the remote of a repository; `counted` sends the traffic through the meter */
  connect(repo: string, prefix: string, counted?: 'counted'): void
  stop(): Promise<void>
}

/** @throws when this machine has no S3 server */
export async function openBucket(bench: Bench): Promise<Bucket> {
  const server = await startS3()
  if (!server) throw new Error('needs an S3 server: versitygw on PATH or in ~/go/bin, or MLV_TEST_S3_ENDPOINT')
  const meter = await startMeter(server.endpoint)
  const name = await server.bucket('bench')
  return {
    ...{ server, meter, name },
    env: {
      ...bench.env,
      AWS_ACCESS_KEY_ID: server.accessKeyId,
      AWS_SECRET_ACCESS_KEY: server.secretAccessKey,
      AWS_REGION: server.region,
      AWS_DEFAULT_REGION: server.region,
      RCLONE_CONFIG_S_TYPE: 's3',
      RCLONE_CONFIG_S_PROVIDER: 'Other',
      RCLONE_CONFIG_S_ENDPOINT: server.endpoint,
      RCLONE_CONFIG_S_NO_CHECK_BUCKET: 'true',
      RCLONE_CONFIG_S_ACCESS_KEY_ID: server.accessKeyId,
      RCLONE_CONFIG_S_SECRET_ACCESS_KEY: server.secretAccessKey,
    },
    connect(repo, prefix, counted) {
      const settings = {
        'remotes.bench.url': `s3://${name}/${prefix}`,
        'remotes.bench.endpoint': counted ? meter.endpoint : server.endpoint,
        'remotes.bench.region': server.region,
        'remotes.bench.path_style': 'true',
        'core.remote': 'bench',
      }
      for (const [key, value] of Object.entries(settings)) prepare(bench, repo, bench.mlv('config', 'set', key, value, '--local'))
    },
    async stop() {
      await meter.stop()
      await server.stop()
    },
  }
}
