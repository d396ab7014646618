import { rmSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { mapBounded } from '../../src/base/concurrency.ts'
import { listing } from '../helpers/listing.ts'
import { makeRepo, type Repo } from '../helpers/repo.ts'
import { findS3, type S3Server, startS3 } from '../helpers/s3-server.ts'

describe.skipIf(!findS3())('a push to a bucket', () => {
  let server: S3Server
  beforeAll(async () => {
    server = (await startS3())!
  })
  afterAll(async () => server?.stop())

  async function makeWorld(): Promise<{ repo: Repo; url: string }> {
    const url = `s3://${await server.bucket(`faults-${Math.random().toString(36).slice(2, 8)}`)}`
    const env = { AWS_ACCESS_KEY_ID: server.accessKeyId, AWS_SECRET_ACCESS_KEY: server.secretAccessKey }
    const repo = await makeRepo({ 'data/a': 'a', 'data/sub/b': 'b' }, { init: true, env })
    const options = ['--local', '--endpoint', server.endpoint, '--region', server.region, '--path-style']
    await repo.mlv('remote', 'add', 'origin', `${url}/0`, ...options)
    await repo.mlv('add', 'data')
    await repo.commit()
    return { repo, url }
  }

  it('killed before or after any upload is finished by the next one', async () => {
    const { repo, url } = await makeWorld()
    const before = listing(repo.path('data'))
    const faults = ['blob: write', 'blob: written'].flatMap((point) => [1, 2, 3].map((n) => `kill:${n}@${point}`))
    const killed = await mapBounded(faults, 2, async (fault) => {
      const copy = await repo.copy()
      const own = `${url}/${fault.replaceAll(/\W/g, '-')}`
      copy.write('.git/mlv/config', copy.read('.git/mlv/config').replace(`${url}/0`, own))
      const { exitCode } = await copy.mlvWith({ env: { MLV_FAULT: fault } }, 'push')
      expect(await copy.mlv('push')).toMatchObject({ exitCode: 0, stderr: '' })
      for (const path of ['data', '.git/mlv/store', '.git/mlv/state']) rmSync(copy.path(path), { recursive: true })
      expect(await copy.mlv('pull')).toMatchObject({ exitCode: 0, stderr: '' })
      expect(listing(copy.path('data'))).toEqual(before)
      copy.cleanup()
      return exitCode === -1
    })
    // mlv.json, a pack and an index.
    expect(killed).toEqual(faults.map(() => true))
  }, 300_000)
})
